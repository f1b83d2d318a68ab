// What a link says beyond the question: classes that are hidden, and which tab is open. legend.js keeps the former.
(linked) => {
  const { view, hidden } = JSON.parse(linked || null) ?? {};
  if (!view) return;
  const shown = (window.view ??= { hidden: new Set() });
  for (const name of hidden) shown.hidden.add(name);
  document.dispatchEvent(new Event("hidden"));
  for (const tab of new Set([view.split("/")[0], view])) {
    document.querySelector(`button[role="tab"][data-tab-id="${CSS.escape(tab)}"]`)?.click();
  }
}
