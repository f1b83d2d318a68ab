// Arrow keys on the picture, or on the pad below it, press the pad's buttons. `element` is gradio's.
const WAYS = { ArrowLeft: "left", ArrowUp: "up", ArrowDown: "down", ArrowRight: "right" };

function step(event) {
  const way = WAYS[event.key];
  if (!way || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault(); // the page would scroll
  document.querySelector(`#inside-${way}`)?.click();
}

for (const id of ["inside-picture", "inside-pad"]) {
  document.getElementById(id)?.addEventListener("keydown", step);
}
const picture = document.getElementById("inside-picture");
if (picture) {
  picture.tabIndex = 0;
  picture.setAttribute("role", "group");
  picture.setAttribute("aria-label", "The picture. Arrow keys move the last chosen patch.");
  picture.addEventListener("click", () => picture.focus({ preventScroll: true }));
}
