// Pictures in galleries are named by their captions, where gradio only counts them ("Thumbnail 1 of 10"), and the lines
// that tell of results are read out when they change. Runs once, when the page has opened.
() => {
  const LINES = ["status", "estimate", "notes", "copied", "inside-where", "inside-note", "inside-copied"];
  LINES.push("compare-line", "compare-note", "compare-copied", "compare-progress");
  function name() {
    for (const button of document.querySelectorAll('button[aria-label^="Thumbnail "]')) {
      const caption = button.querySelector(".caption-label")?.textContent.trim();
      if (caption) button.setAttribute("aria-label", caption);
    }
    for (const id of LINES) document.getElementById(id)?.setAttribute("role", "status");
  }
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  name();
  document.body.dataset.opened = "true";
}
