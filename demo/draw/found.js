// The chips of the words that were found: pressing one takes its word out. `element` and `trigger` are gradio's.
element.addEventListener("click", (event) => {
  const chip = event.target.closest?.(".chip");
  if (chip) trigger("click", { name: chip.dataset.name });
});
