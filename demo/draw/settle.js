// Runs after everything that draws the result. What was changed of its look meanwhile, or drawn late from an earlier
// result, is drawn again: `wanted` is what the page asks for, `drawn` what the picture was drawn from.
(shown, opacity, outlines, names, hidden, point, drawn) => {
  const off = JSON.parse(hidden) ?? [];
  for (const chip of document.querySelectorAll("#legend .chip")) {
    chip.setAttribute("aria-pressed", String(!off.includes(chip.dataset.name)));
  }
  const result = JSON.parse(shown)?.result;
  const wanted = JSON.stringify([result, opacity, outlines, names, off, JSON.parse(point)]);
  const differ = `${wanted} ${drawn}`;
  if (!result || wanted === JSON.stringify(JSON.parse(drawn)) || differ === window.settled) return;
  window.settled = differ; // asked for once: where the server cannot draw it, it says so
  document.querySelector("#redraw")?.click();
}
