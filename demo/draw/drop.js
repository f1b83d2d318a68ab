// A file that is dropped on the words is handed to the button for files of words. Runs once, when the page has opened.
() => {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files") && event.target.closest?.("#words");
  document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault()); // or it could not be dropped
  document.addEventListener("drop", (event) => {
    const input = document.querySelector("#words-drop input[type=file], input[type=file]:has(+ #words-drop)");
    if (!hasFiles(event) || !input) return;
    event.preventDefault(); // the browser would open the file in place of the page
    const first = new DataTransfer();
    first.items.add(event.dataTransfer.files[0]);
    input.files = first.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
}
