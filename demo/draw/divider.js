// The line between two results is moved by keys as it is by the pointer: gradio's slider hears of a mouse that pulls it.
const box = document.getElementById("compare-slider");
const STEPS = { ArrowLeft: -0.02, ArrowRight: 0.02, ArrowDown: -0.02, ArrowUp: 0.02, PageDown: -0.2, PageUp: 0.2, Home: -2, End: 2 };

let sent = null; // where keys have sent the line, which may not be there yet

const fire = (on, type, clientX, clientY) =>
  on.dispatchEvent(new MouseEvent(type, { clientX, clientY, view: window, bubbles: true, cancelable: true }));

// Where the line and the picture are on the screen. The line: where gradio has put it, as what is drawn of it lies beside
// that. The picture: it is contained in its box, which may be wider.
function places() {
  const divider = box.querySelector("[data-testid=slider]"), image = box.querySelector("img");
  if (!divider || !image?.naturalWidth) return null;
  const around = divider.parentElement, { left, top, height } = around.getBoundingClientRect(), room = image.getBoundingClientRect();
  const along = new DOMMatrix(getComputedStyle(divider).transform).m41;
  const width = Math.min(room.width, (room.height * image.naturalWidth) / image.naturalHeight), from = room.left + (room.width - width) / 2;
  return { picture: { left: from, right: from + width, width }, x: left + around.clientLeft + along, y: top + height / 2 };
}

function tell() {
  const divider = box.querySelector("[data-testid=slider]"), found = places();
  if (!divider || !found) return;
  const share = Math.round(((found.x - found.picture.left) / found.picture.width) * 100);
  const told = { role: "slider", tabindex: 0, "aria-label": "The line between left and right" };
  Object.assign(told, { "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.min(100, Math.max(0, share)) });
  for (const [name, value] of Object.entries(told)) {
    if (divider.getAttribute(name) !== String(value)) divider.setAttribute(name, value);
  }
}

box.addEventListener("keydown", (event) => {
  const step = STEPS[event.key], found = places();
  if (!step || !found || !event.target.matches("[data-testid=slider]")) return;
  event.preventDefault(); // the page would scroll
  const { picture, x, y } = found;
  const to = Math.min(Math.max((sent ?? x) + step * picture.width, picture.left), picture.right);
  sent = to;
  fire(event.target, "mousedown", x, y);
  fire(window, "mousemove", to, y);
  fire(window, "mouseup", to, y);
  requestAnimationFrame(tell);
});
for (const type of ["focusin", "pointerup"]) {
  box.addEventListener(type, () => ((sent = null), requestAnimationFrame(tell)));
}
box.addEventListener("load", tell, true); // before, a picture has no shape
new MutationObserver(tell).observe(box, { childList: true, subtree: true, attributes: true, attributeFilter: ["style"] });
tell();
