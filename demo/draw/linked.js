// What a link says beyond the question: classes that are hidden, and which tab is open. legend.js keeps the former.
(linked) => {
  const { view, hidden } = JSON.parse(linked || null) ?? {};
  if (!view) return;
  const shown = (window.view ??= { hidden: new Set() });
  for (const name of hidden) shown.hidden.add(name);
  document.dispatchEvent(new Event("hidden"));
  const MOST_FRAMES = 600; // until a tab is there: gradio makes the sections of a tab when it opens
  async function open() {
    for (const tab of new Set([view.split("/")[0], view])) {
      const find = () => document.querySelector(`button[role="tab"][data-tab-id="${CSS.escape(tab)}"]`);
      for (let frames = 0; !find() && frames < MOST_FRAMES; frames++) await new Promise(requestAnimationFrame);
      find()?.click();
    }
  }
  // In a tab that is closed gradio shows no picture on which the result could be drawn.
  if (view === "segment") return;
  if (document.getElementById("drawn")) open();
  else document.addEventListener("drawn", open, { once: true });
}
