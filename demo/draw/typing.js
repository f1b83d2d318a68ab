// Words are segmented while they are typed, once the keys have rested. Runs once, when the page has opened.
() => {
  const REST = 500; // milliseconds
  const box = document.getElementById("words");
  let timer;
  function typed(event) {
    clearTimeout(timer);
    if (!event.isComposing) timer = setTimeout(() => document.getElementById("typed")?.click(), REST);
  }
  box?.addEventListener("input", typed);
  box?.addEventListener("compositionend", typed);
  box?.addEventListener("focusout", () => clearTimeout(timer)); // which segments at once, as Enter does
  box?.addEventListener("keydown", (event) => event.key === "Enter" && !event.shiftKey && clearTimeout(timer));
}
