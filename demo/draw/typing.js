// Words are segmented while they are typed, once the keys have rested. Runs once, when the page has opened.
() => {
  const REST = 500; // milliseconds
  const inWords = (then) => (event) => event.target.closest?.("#words") && then(event);
  let timer;
  function typed(event) {
    clearTimeout(timer);
    if (!event.isComposing) timer = setTimeout(() => document.getElementById("typed")?.click(), REST);
  }
  const rest = () => clearTimeout(timer);
  document.addEventListener("input", inWords(typed));
  document.addEventListener("compositionend", inWords(typed));
  document.addEventListener("focusout", inWords(rest)); // which segments at once, as Enter does
  document.addEventListener("keydown", inWords((event) => event.key === "Enter" && !event.shiftKey && rest()));
}
