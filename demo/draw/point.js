// The class and its score under the pointer; a click, or Enter, pins a point, whose five best classes the server gives
// as bars, which are shown at the point as well. Arrow keys move the point. `element`, `trigger`, `watch`: gradio's.
const view = (window.view ??= { hidden: new Set() });
const overlay = document.getElementById("overlay");
const holder = element.closest("#top");
const tip = Object.assign(document.createElement("div"), { id: "tip" });
const card = Object.assign(document.createElement("div"), { id: "card" });
card.setAttribute("role", "status"); // read out
const STEPS = { ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowRight: [1, 0] };
let keyed = null; // where the arrow keys are, as shares of the picture

const drawn = () => document.getElementById("drawn");

// Where the picture lies in its box, which it fills in one direction only.
function area(canvas) {
  const box = canvas.getBoundingClientRect();
  const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
  const width = canvas.width * scale, height = canvas.height * scale;
  return { left: box.left + (box.width - width) / 2, top: box.top + (box.height - height) / 2, width, height };
}

function under(event) {
  const canvas = drawn();
  if (!canvas || !event.target.closest?.(".image-frame")) return null;
  const { left, top, width, height } = area(canvas);
  const at = { x: (event.clientX - left) / width, y: (event.clientY - top) / height };
  return at.x >= 0 && at.x < 1 && at.y >= 0 && at.y < 1 ? at : null;
}

function told({ x, y }) {
  const { labels, names, colours, scores, width, height } = drawn().scene;
  const label = labels[Math.floor(y * height) * width + Math.floor(x * width)];
  const score = scores.values[Math.floor(y * scores.height) * scores.width + Math.floor(x * scores.width)] & 255;
  const hundredths = Math.round(score / 2.55);
  return { colour: colours[label], text: `${names[label]} ${hundredths < 1 ? "< 1" : hundredths} %` };
}

// Beside a point, and never out of the box.
function place(box, { x, y }) {
  const room = overlay.querySelector(".image-container");
  if (box.parentElement !== room) room.append(box);
  const { left, top, width, height } = area(drawn()), outer = room.getBoundingClientRect();
  const across = left + x * width - outer.left, down = top + y * height - outer.top;
  const beyond = across + 14 + box.offsetWidth > outer.width, below = down + 14 + box.offsetHeight > outer.height;
  box.style.left = `${Math.max(2, beyond ? across - 14 - box.offsetWidth : across + 14)}px`;
  box.style.top = `${Math.max(2, below ? down - 14 - box.offsetHeight : down + 14)}px`;
}

function point(at) {
  const { colour, text } = told(at);
  tip.style.borderLeftColor = colour;
  tip.textContent = text;
  place(tip, at);
}

function pin(at) {
  const { picture, width, height } = drawn().scene;
  const [x, y] = [(Math.floor(at.x * width) + 0.5) / width, (Math.floor(at.y * height) + 0.5) / height];
  view.point = { x, y, picture };
  keyed = { x, y };
  card.replaceChildren();
  tip.remove();
  card.textContent = told(at).text;
  place(card, at);
  document.dispatchEvent(new Event("point"));
  holder.dataset.point = JSON.stringify(view.point);
  trigger("click");
}

function unpin() {
  view.point = null;
  card.remove();
  document.dispatchEvent(new Event("point"));
  holder.dataset.point = "null";
  trigger("click");
}

// The bars have come, or the result is another one.
function refresh() {
  const pinned = view.point && drawn()?.scene.picture === view.point.picture;
  if (!pinned) return card.remove();
  if (element.querySelector(".bars")) card.innerHTML = element.innerHTML; // escaped by the server
  place(card, view.point);
}

function name() {
  const button = overlay.querySelector("button:has(.image-frame)");
  button?.setAttribute("aria-label", "The result. Arrow keys read the class and its score, Enter gives the scores there.");
  refresh();
}

overlay.addEventListener("pointermove", (event) => {
  const at = event.pointerType === "mouse" && !card.contains(event.target) ? under(event) : null;
  tip.removeAttribute("role");
  at ? point(at) : tip.remove();
});
overlay.addEventListener("pointerleave", () => tip.remove());
overlay.addEventListener("click", (event) => {
  const pressed = drawn() && event.target.closest?.("button:has(.image-frame)"); // by Enter, where there is no detail
  const at = event.detail ? under(event) : pressed && (keyed ?? { x: 0.5, y: 0.5 });
  if (at) pin(at);
});
overlay.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && view.point) return unpin();
  const step = STEPS[event.key];
  if (!step || !drawn() || !event.target.matches("button:has(.image-frame)")) return;
  event.preventDefault(); // the page would scroll
  const { width, height } = drawn().scene;
  const long = Math.max(width, height) / (event.shiftKey ? 200 : 40);
  const within = (value) => Math.min(Math.max(value, 0), 0.9999);
  keyed ??= { x: 0.5, y: 0.5 };
  keyed = { x: within(keyed.x + (step[0] * long) / width), y: within(keyed.y + (step[1] * long) / height) };
  tip.setAttribute("role", "status"); // read out: with the arrow keys alone
  point(keyed);
});
document.addEventListener("drawn", name);
new ResizeObserver(refresh).observe(overlay); // in full screen, too
watch("value", refresh);
