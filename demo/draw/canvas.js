// Draws the result over its picture: the same pixels as `Drawing.draw`, without asking the server. `props` and `watch`
// are gradio's. The value is made by layers.py. Others tell by events of the document what has changed: "look" (look.js),
// "hidden" and "alone" (legend.js), "point" (point.js); "drawn" tells them of a new result.
const view = (window.view ??= { hidden: new Set() }); // what the scripts share
const FADE = 220; // milliseconds
const READABLE = 16; // pixels of the screen that a name is high, with its frame
const still = matchMedia("(prefers-reduced-motion: reduce)");
const overlay = document.getElementById("overlay");
let coming = null; // read, and waiting for its picture
let scene = null; // on the page
let frame = 0;

// `decode` would wait for the next frame, which a page that is covered or busy may not paint.
function picture(address) {
  const image = new Image();
  return new Promise((resolve, reject) => Object.assign(image, { onload: () => resolve(image), onerror: reject, src: address }));
}

function pixels(image, width = image.naturalWidth, height = image.naturalHeight) {
  const pen = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d", { willReadFrequently: true });
  pen.drawImage(image, 0, 0, width, height);
  return new Uint32Array(pen.getImageData(0, 0, width, height).data.buffer);
}

async function read() {
  const told = props.value;
  if (!told) return;
  const next = JSON.parse(told);
  const [labels, scores, plates] = await Promise.all([next.labels, next.scores, next.plates].map(picture));
  if (props.value !== told) return; // another result has come meanwhile
  const [height, width] = next.size_hw;
  const map = pixels(labels);
  const mask = next.colours.length > 256 ? 0xffff : 0xff;
  const classes = next.names.length; // a label past them is a line of a class that is hatched
  coming = Object.assign(next, {
    width, height, plates,
    labels: new Uint16Array(map).map((value) => (value & mask) % classes), // `from` with a function is 40 times slower
    scores: { width: scores.naturalWidth, height: scores.naturalHeight, values: pixels(scores) },
    tints: next.colours.map((colour) => parseInt(colour.slice(1), 16)),
  });
  coming.codes = coded(coming.labels, width, height);
  if (coming.tints.length > classes) map.forEach((value, i) => (coming.codes[i] += 2 * ((value & mask) - coming.labels[i])));
  show();
}

// Twice a pixel's label, and 1 more on a border: beside a pixel of another label.
function coded(labels, width, height) {
  const codes = labels.map((label) => 2 * label);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (x + 1 < width && labels[i] !== labels[i + 1]) (codes[i] |= 1), (codes[i + 1] |= 1);
      if (y + 1 < height && labels[i] !== labels[i + width]) (codes[i] |= 1), (codes[i + width] |= 1);
    }
  }
  return codes;
}

// Once its picture is there, which gradio brings by itself.
function show() {
  const image = overlay.querySelector("img");
  const before = document.getElementById("drawn");
  if (!before) coming ??= scene; // gradio has put another image in the place of the one that was drawn on
  if (!coming || !image?.src.includes(coming.picture) || !image.complete || !image.naturalWidth) return;
  before?.removeAttribute("id");
  scene = Object.assign(coming, { base: pixels(image, coming.width, coming.height) });
  coming = null;
  const canvas = Object.assign(document.createElement("canvas"), { id: "drawn", width: scene.width, height: scene.height });
  canvas.setAttribute("aria-hidden", "true"); // the picture below has the words for it
  Object.assign(canvas, { scene, take });
  canvas.dataset.result = scene.result;
  image.parentElement.append(canvas);
  paint();
  if (before) replace(before, canvas);
  document.dispatchEvent(new Event("drawn"));
}

function replace(before, canvas) {
  if (still.matches || !before.isConnected) return before.remove();
  canvas.animate({ opacity: [0, 1] }, FADE).finished.finally(() => before.remove());
}

function paint() {
  frame = 0;
  const canvas = document.getElementById("drawn");
  if (!scene || !canvas) return;
  const { width, height, codes, base } = scene;
  const { share, even, odd } = tables();
  const drawn = new ImageData(width, height);
  const out = new Uint32Array(drawn.data.buffer);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i], under = base[i], rest = share[code];
    // Red and blue in one number, 16 bits each; green by itself.
    const redBlue = ((Math.imul(under & 0xff00ff, rest) + even[code]) >>> 8) & 0xff00ff;
    out[i] = 0xff000000 | redBlue | ((Math.imul((under >>> 8) & 255, rest) + odd[code]) & 0xff00);
  }
  const pen = canvas.getContext("2d");
  pen.putImageData(drawn, 0, 0);
  if (view.look?.names ?? true) lay(pen);
  ring(pen);
  canvas.dataset.look = JSON.stringify([view.look, [...view.hidden], view.point]); // what it was drawn from
}

// For every code, in 256ths: how much of the picture is left, and what the class adds, rounded as in `overlay`.
function tables() {
  const { opacity = 0.6, outlines = true } = view.look ?? {};
  const count = scene.tints.length, alone = view.alone ?? null;
  const grey = document.body.classList.contains("dark") ? 0 : 255;
  const share = new Int32Array(2 * count), even = new Int32Array(2 * count), odd = new Int32Array(2 * count);
  for (let code = 0; code < 2 * count; code++) {
    const label = (code >> 1) % scene.names.length, tint = scene.tints[code >> 1];
    let weight = Math.round(opacity * 256);
    if (code & 1 && outlines) weight = 256;
    if (view.hidden.has(scene.names[label])) weight = 0;
    const veil = alone !== null && alone !== label ? 216 : 0;
    const part = (channel) => {
      const added = ((tint >> channel) & 255) * weight + 128;
      return veil ? Math.round((added * (256 - veil)) / 256 + grey * veil) : added;
    };
    share[code] = veil ? Math.round(((256 - weight) * (256 - veil)) / 256) : 256 - weight;
    even[code] = (part(0) << 16) | part(16);
    odd[code] = part(8);
  }
  return { share, even, odd };
}

// The names, as `lay` does: one that would cover an earlier one is left out. Larger where they could not be read.
function lay(pen) {
  const taken = [], { canvas } = pen;
  const shown = Math.min(canvas.clientWidth / scene.width, canvas.clientHeight / scene.height) || 1;
  let top = 0;
  for (const { label, box: told, corner, size } of scene.places) {
    const at = top, larger = Math.max(1, READABLE / (shown * (told[3] - told[1])));
    const box = larger > 1 ? grown(told, larger) : told;
    top += size[1];
    if (view.hidden.has(scene.names[label]) || (view.alone ?? label) !== label) continue;
    if (taken.some((b) => box[0] < b[2] && b[0] < box[2] && box[1] < b[3] && b[1] < box[3])) continue;
    taken.push(box);
    const [x, y] = corner.map((side, axis) => box[axis] + (side - told[axis]) * larger);
    pen.drawImage(scene.plates, 0, at, ...size, x, y, size[0] * larger, size[1] * larger);
  }
}

function grown([left, top, right, bottom], larger) {
  const width = (right - left) * larger, height = (bottom - top) * larger;
  const x = Math.max(1, Math.min((left + right - width) / 2, scene.width - width - 2));
  const y = Math.max(1, Math.min((top + bottom - height) / 2, scene.height - height - 2));
  return [x, y, x + width, y + height];
}

// Around the point last clicked, seen on light and on dark.
function ring(pen) {
  const point = view.point;
  if (point?.picture !== scene.picture) return;
  const size = Math.max(4, Math.max(scene.width, scene.height) / 90);
  for (const [radius, colour, line] of [[size + 1.5, "black", 2], [size, "white", 2], [size * 0.25, "white", 0]]) {
    pen.beginPath();
    pen.arc(point.x * scene.width, point.y * scene.height, radius, 0, 7);
    Object.assign(pen, { strokeStyle: colour, fillStyle: colour, lineWidth: line });
    line ? pen.stroke() : pen.fill();
  }
}

// What is shown, as a file.
function take() {
  this.toBlob((file) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: "overlay.png" });
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

for (const event of ["look", "hidden", "alone", "point"]) {
  document.addEventListener(event, () => (frame ||= requestAnimationFrame(paint)));
}
new ResizeObserver(() => (frame ||= requestAnimationFrame(paint))).observe(overlay);
overlay.addEventListener("load", show, true);
watch("value", read);
read();
