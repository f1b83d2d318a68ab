// Pictures in galleries are named by their captions, where gradio only counts them ("Thumbnail 1 of 10"), and the line
// below the result is read out when it changes. Runs once, when the page has opened.
() => {
  function name() {
    for (const button of document.querySelectorAll('button[aria-label^="Thumbnail "]')) {
      const caption = button.querySelector(".caption-label")?.textContent.trim();
      if (caption) button.setAttribute("aria-label", caption);
    }
    document.getElementById("status")?.setAttribute("role", "status");
  }
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  name();
  document.body.dataset.opened = "true";
}
