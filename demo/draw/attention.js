// Look inside: what the patch under the pointer attends to, on the picture, for each source. attend.js computes it from
// files that are fetched once a picture; a click pins a seed, of which the server then draws the exact maps. `element`,
// `props`, `trigger` and `watch` are gradio's; the value is told by answers/live.py, how it is shown by the event "shown".
const { ramp: hex, colours } = JSON.parse(element.querySelector(".live").dataset.drawn);
const RAMP = Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
const gradient = Array.from({ length: 9 }, (_, at) => `rgb(${RAMP.slice(Math.round((at * 255) / 8) * 3).slice(0, 3)})`);
element.style.setProperty("--ramp", `linear-gradient(to right, ${gradient})`);
const FOLLOWED_WITHIN = 3000; // milliseconds
const STEPS = { ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowRight: [1, 0] };
const TOLD_AFTER = 250; // milliseconds without another seed before the server is asked
const find = (name) => element.querySelector(name);
const panes = find(".panes"), line = find(".where");
let field = null; // the value
let seeds = { picture: null, points: [] };
let pointer = null; // (x, y) of the picture's own pixels
let how = { stage: "softmax", scale: "own", grid: false, beta: 1.2, gamma: 3 };
let built = { told: null, parts: [] }; // the panes, and what they are of
let frame = 0, asking = 0;
let steering = null; // beta and gamma as they stand on the page, until the server has followed

async function read() {
  const text = props.value;
  if (!text) return;
  const told = JSON.parse(text);
  const root = window.gradio_config.root + (window.gradio_config.api_prefix ?? "");
  const kept = new Map(field?.sources.map((source) => [source.path, source]));
  told.sources = await Promise.all(told.sources.map(async (source) => {
    if (!source.path || kept.get(source.path)?.packed) return { ...kept.get(source.path), ...source };
    const answer = await fetch(`${root}/file=${source.path}`);
    return answer.ok ? { ...source, ...cellsOf(source), packed: unpacked(source, await answer.arrayBuffer()) } : source;
  }));
  if (props.value !== text) return; // another has come meanwhile
  if (seeds.picture !== told.picture) (seeds = { picture: told.picture, points: told.seeds }), (pointer = null);
  const { beta, gamma, stage, scale } = told;
  field = told;
  how = { ...how, stage, scale };
  if (!steering || performance.now() > steering.until || (beta === steering.beta && gamma === steering.gamma)) {
    how = { ...how, beta, gamma };
    steering = null;
  }
  build();
}

const svg = (name, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

// One pane a source: the picture, the heat, the marks; below them the scale, what is told, and the histogram. They stay
// while the sources do.
function build() {
  const [height, width] = field.size, image = document.querySelector("#overlay img")?.src ?? "";
  const told = JSON.stringify([image, field.windows, field.sources.map(({ name, grid, shape }) => [name, grid, shape])]);
  if (told !== built.told) {
    panes.style.setProperty("--ratio", width / height);
    built = { told, parts: field.sources.map((source) => paneOf(source, image)) };
    panes.replaceChildren(...built.parts.map(({ pane }) => pane));
  }
  field.sources.forEach((source, place) => Object.assign(source, built.parts[place]));
  mark();
  paint();
}

function paneOf(source, image) {
  const [height, width] = field.size, { shape: [rows, columns] = source.grid, split = 1 } = source;
  const pane = find("template").content.firstElementChild.cloneNode(true);
  const part = (name) => pane.querySelector(name), heat = part(".heat"), share = (value) => `${100 * value}%`;
  if (image) part("img").src = image;
  const { padded, grid, before: [top, left], scaled: [high, wide] } = source;
  const [tall, broad] = [rows, columns].map((cells, axis) => (cells * padded[axis]) / grid[axis] / split);
  Object.assign(heat, { width: columns, height: rows });
  Object.assign(heat.style, { width: share(broad / wide), height: share(tall / high), left: share(-left / wide), top: share(-top / high) });
  const windows = field.windows.map(([x0, y0, x1, y1]) => svg("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, class: "window" }));
  part("svg").setAttribute("viewBox", `0 0 ${width} ${height}`);
  part("svg").append(...windows, svg("path", { class: "grid", d: lines(source) }), svg("rect", { class: "patch" }), svg("g", { class: "seeds" }));
  part(".name").textContent = source.name;
  part(".chart").hidden = !source.pairs;
  return { pane, part, pen: heat.getContext("2d"), drawn: new ImageData(columns, rows) };
}

// The patches of a source under a point, one of each window that holds it, as WindowLayout.patches_at.
function patchesAt({ grid, padded, before, scaled, window, corners }, at) {
  const scaledAt = [1, 0].map((side, axis) => ((Math.floor(at[side]) + 0.5) * scaled[axis]) / field.size[axis]);
  return corners.flatMap((corner, place) => {
    const inside = scaledAt.map((value, axis) => value - corner[axis]);
    if (!inside.every((value, axis) => value >= 0 && value < window[axis])) return [];
    const [row, column] = inside.map((value, axis) =>
      Math.min(Math.floor(((value + before[axis]) * grid[axis]) / padded[axis]), grid[axis] - 1));
    return [{ window: place, corner, row, column, patch: row * grid[1] + column }];
  });
}

// Where a row or column of patches of a window begins, in pixels of the picture. axis: 0 is down.
const edge = ({ grid, padded, before, scaled }, axis, cell, corner = [0, 0]) =>
  (((cell * padded[axis]) / grid[axis] - before[axis] + corner[axis]) * field.size[axis]) / scaled[axis];

// The borders of the patches of the window at the picture's upper left.
function lines(source) {
  const [height, width] = source.window.map((side, axis) => (side * field.size[axis]) / source.scaled[axis]), ends = [height, width];
  const within = (axis) => [...Array(source.grid[axis]).keys()].map((cell) => edge(source, axis, cell)).filter((at) => at > 0 && at < ends[axis]);
  return within(0).map((y) => `M0 ${y}H${width}`).concat(within(1).map((x) => `M${x} 0V${height}`)).join("");
}

// A text that changes with every frame. A new text node would wake what watches the page for new elements (names.js).
const say = (place, text) => (place.firstChild ? (place.firstChild.data = text) : (place.textContent = text));
const last = () => seeds.points.at(-1) ?? [field.size[1] / 2, field.size[0] / 2];
const paintSoon = () => (frame ||= requestAnimationFrame(paint));

function paint() {
  frame = 0;
  if (!field || !panes.offsetParent) return;
  const { color, accentColor } = getComputedStyle(panes); // read before anything is written: styles are computed once
  const at = pointer ?? last();
  for (const source of field.sources) {
    source.at = patchesAt(source, at);
    if (!source.packed) continue;
    source.attended = 0;
    for (const { window, patch } of source.at) source.attended += attend(source.packed[window], patch, how, source.scopes?.[window]);
    join(source, source.at.map(({ window }) => window), isShare(source));
  }
  const ready = field.sources.filter((source) => source.packed), ends = scales(ready);
  for (const source of ready) heat(source, ends.get(source));
  for (const source of ready.filter(({ pairs }) => pairs)) chart(source, color, accentColor);
  for (const source of field.sources) outline(source);
  tell(at);
}

// The values at the ends of each source's colours.
function scales(ready) {
  const own = new Map(ready.map((source) => {
    source.times = how.scale === "uniform" && isShare(source) ? source.count : 1;
    let low = Infinity, high = -Infinity;
    for (const value of source.map) { // there may be none in it
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return [source, [low * source.times, high * source.times]];
  }));
  if (how.scale === "own") return own;
  for (const kind of [true, false]) { // shares and similarities have no scale in common
    const alike = ready.filter((source) => isShare(source) === kind);
    const common = [Math.min(...alike.map((one) => own.get(one)[0])), Math.max(...alike.map((one) => own.get(one)[1]))];
    for (const source of alike) own.set(source, common);
  }
  return own;
}

const isShare = (source) => !source.symmetric || how.stage === "softmax";

function heat({ map, drawn, pen, times, part }, [low, high]) {
  const { data } = drawn, scale = (255 * times) / Math.max(high - low, 1e-12), shift = (255 * low) / Math.max(high - low, 1e-12);
  for (let j = 0, to = 0; j < map.length; j++, to += 4) {
    const there = !Number.isNaN(map[j]), level = there ? Math.round(map[j] * scale - shift) : 0, from = 3 * level;
    data[to] = RAMP[from];
    data[to + 1] = RAMP[from + 1];
    data[to + 2] = RAMP[from + 2];
    data[to + 3] = there ? 120 + (level >> 1) : 160; // little attention lets the picture through
  }
  pen.putImageData(drawn, 0, 0);
  say(part(".low"), number(low));
  say(part(".high"), number(high) + (times > 1 ? " × uniform" : ""));
}

const number = (value) => String(Number(value.toPrecision(3)));

// The patch in the first window that holds it, and that window's patches.
function outline({ part, at: [{ row, column, corner }], ...source }) {
  const [[x, right], [y, bottom]] = [[1, column], [0, row]].map(([axis, cell]) => [cell, cell + 1].map((one) => edge(source, axis, one, corner)));
  const [down, across] = corner.map((start, axis) => (start * field.size[axis]) / source.scaled[axis]);
  part(".grid").setAttribute("transform", `translate(${across} ${down})`);
  const box = { x, y, width: right - x, height: bottom - y };
  for (const [key, value] of Object.entries(box)) part(".patch").setAttribute(key, value);
}

// Fig. 4 of the paper: the similarities of all pairs, grey, and of the patch with all others; the mean, and beta times it.
// Of windows, the first that holds the patch.
function chart({ part, at: [{ window }], corners, packed, ...source }, ink, accent) {
  const canvas = part(".chart"), pen = canvas.getContext("2d"), { width, height } = canvas;
  const { similarity, mean, count } = packed[window], pairs = source.pairs[window], bins = pairs.length;
  const row = new Float32Array(bins);
  for (const value of similarity) row[Math.min(Math.floor(((value + 1) * bins) / 2), bins - 1)] += 1 / count;
  const total = pairs.reduce((sum, one) => sum + one, 0), all = pairs.map((one) => one / total);
  const first = Math.min(...[all, row].map((counts) => counts.findIndex((one) => one > 0)));
  const top = 1.5 * Math.max(...all), base = height - 1;
  const across = (bin) => ((bin - first) * width) / (bins - first), of = (value) => across(((value + 1) * bins) / 2);
  const up = (share) => base - Math.min(share / top, 1) * (base - 2);
  pen.clearRect(0, 0, width, height);
  Object.assign(pen, { fillStyle: ink, globalAlpha: 0.12 });
  pen.fillRect(0, 0, Math.max(of(how.beta * mean), 0), height); // masked
  pen.globalAlpha = 0.35;
  for (let bin = first; bin < bins; bin++) pen.fillRect(across(bin), up(all[bin]), across(1 + first), base - up(all[bin]));
  pen.globalAlpha = 1;
  pen.strokeStyle = accent;
  pen.lineWidth = 2.5;
  pen.beginPath();
  for (let bin = first; bin < bins; bin++) pen.lineTo(across(bin), up(row[bin])), pen.lineTo(across(bin + 1), up(row[bin]));
  pen.stroke();
  Object.assign(pen, { strokeStyle: ink, lineWidth: 1.5 });
  for (const [value, dash] of [[mean, []], [how.beta * mean, [4, 4]]]) {
    pen.setLineDash(dash);
    pen.beginPath();
    pen.moveTo(of(value), 0);
    pen.lineTo(of(value), height);
    pen.stroke();
  }
  pen.setLineDash([]);
  const least = (2 * first) / bins - 1, shown = (value) => number(how.stage === "cosine" ? value : (value - how.beta * mean) * how.gamma);
  say(part(".from"), shown(least));
  const within = corners.length > 1 ? `, in window ${window + 1}` : "";
  say(part(".what"), (how.stage === "cosine" ? "similarity" : "A = γ (similarity − β · mean)") + within);
  say(part(".to"), shown(1));
}

// The class at a point, where a result is drawn.
function classAt([x, y]) {
  const scene = document.getElementById("drawn")?.scene;
  if (!scene || scene.picture !== field.picture) return "";
  const [height, width] = field.size;
  return scene.names[scene.labels[Math.floor((y * scene.height) / height) * scene.width + Math.floor((x * scene.width) / width)]];
}

function tell(spot) {
  const place = (point) => `(${Math.floor(point[0])}, ${Math.floor(point[1])})${classAt(point) && ` ${classAt(point)}`}`;
  const pinned = seeds.points.map((point, number) => `${number + 1}: ${place(point)}`).join(", ");
  const start = "Click the picture to choose a patch; until then the one in the middle is shown.";
  const room = seeds.points.length < field.most ? "" : " The next click moves the last one.";
  const told = [pinned ? `Seeds at (x, y) ${pinned}.${room}` : start, pointer ? `Under the pointer: ${place(spot)}.` : ""];
  say(line, told.join(" "));
  for (const source of field.sources) say(source.part(".told"), where(source) + found(source));
}

// What is attended to from the point that is looked at.
function found({ packed, symmetric, attended, count, at, rough }) {
  const percent = (share) => `${number(100 * share)} %`, all = at.length * count;
  if (!packed) return "too many patches to follow the pointer: click, and see the maps below";
  const less = rough ? ", roughly: click, and see the maps below" : "";
  if (symmetric) return `attends to ${attended} of ${all} patches, ${percent(attended / all)}${less}`;
  const kept = at.reduce((sum, { window, patch }) => sum + packed[window].offset[patch] / at.length, 0);
  return `${percent(1 - kept)} goes to the class token${less}`;
}

// The windows that hold the point, which are set off from the others.
function where({ part, at, corners }) {
  const held = at.map(({ window }) => window);
  part("svg").querySelectorAll(".window").forEach((window, place) => window.classList.toggle("holding", held.includes(place)));
  const named = `in window${held.length > 1 ? "s" : ""} ${held.map((place) => place + 1).join(", ")} of ${corners.length}: `;
  return corners.length > 1 ? named : "";
}

// The seeds' rings and numbers, of one size on the screen.
function mark() {
  for (const { part } of field.sources) {
    const unit = field.size[1] / (part("svg").clientWidth || 400);
    part(".seeds").replaceChildren(...seeds.points.flatMap(([x, y], number) => {
      const colour = colours[number % colours.length], ring = { cx: x, cy: y, r: 9 * unit, fill: "none" };
      const right = x < field.size[1] - 26 * unit, below = y < 26 * unit;
      const text = svg("text", { x: x + (right ? 14 : -14) * unit, y: y + (below ? 22 : -10) * unit, fill: colour, "font-size": 15 * unit, "text-anchor": "middle" });
      text.textContent = number + 1;
      return [svg("circle", { ...ring, stroke: "black", "stroke-width": 4 * unit }), svg("circle", { ...ring, stroke: colour, "stroke-width": 2 * unit }), text];
    }));
  }
}

function place(points, spoken = true) {
  seeds = { ...seeds, points };
  element.closest("#inside-live").dataset.seeds = JSON.stringify(seeds);
  spoken ? line.setAttribute("role", "status") : line.removeAttribute("role"); // read out
  mark();
  paintSoon();
  clearTimeout(asking);
  asking = setTimeout(() => trigger("click"), TOLD_AFTER);
}

// Another section has chosen a seed.
document.addEventListener("seeds", ({ detail }) => {
  if (!field || detail?.picture !== seeds.picture) return;
  seeds = detail;
  element.closest("#inside-live").dataset.seeds = JSON.stringify(seeds);
  mark();
  paintSoon();
});

const pinned = (at) => place([...seeds.points.slice(0, field.most - 1), at]);

// The last seed goes to the middle of a neighbouring patch, unless it would leave the picture.
function move([across, down], patches) {
  const source = field.sources[field.own], [{ row, column, corner }] = patchesAt(source, last());
  const at = [[1, column + across * patches], [0, row + down * patches]].map(([axis, cell]) => edge(source, axis, cell + 0.5, corner));
  pointer = null;
  if (at.every((value, side) => value >= 0 && value < field.size[1 - side])) place([...seeds.points.slice(0, -1), at]);
}

const WAYS = {
  left: () => move([-1, 0], 1), up: () => move([0, -1], 1), down: () => move([0, 1], 1), right: () => move([1, 0], 1),
  undo: () => place(seeds.points.slice(0, -1)), clear: () => place([]),
};

// The point of the picture under the pointer.
function under(event) {
  const stack = event.target.closest?.(".stack");
  if (!stack || !field) return null;
  const box = stack.getBoundingClientRect(), [height, width] = field.size;
  const at = [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
  return at.map((value, side) => Math.min(Math.max(value, 0), field.size[1 - side] - 1));
}

element.addEventListener("pointermove", (event) => {
  pointer = event.pointerType === "mouse" ? under(event) : null;
  line.removeAttribute("role");
  paintSoon();
});
element.addEventListener("pointerleave", () => ((pointer = null), paintSoon()));
element.addEventListener("click", (event) => {
  const at = under(event), way = WAYS[event.target.closest?.("button")?.dataset.way];
  if (!field) return;
  if (at) pinned(at), panes.focus({ preventScroll: true });
  else way?.();
});
element.addEventListener("keydown", (event) => {
  const step = STEPS[event.key], inPanes = event.target === panes;
  if (!field || event.altKey || event.ctrlKey || event.metaKey) return;
  if (step) move(step, event.shiftKey ? 4 : 1);
  else if (inPanes && event.key === "Enter") pinned(pointer ?? last());
  else if (inPanes && ["Delete", "Backspace"].includes(event.key)) WAYS.undo();
  else return;
  event.preventDefault(); // the page would scroll
});
document.addEventListener("shown", ({ detail }) => {
  const { beta, gamma } = how;
  how = { ...how, ...detail };
  // The server does not follow what comes back to where it was, so this ends by itself, too.
  if (how.beta !== beta || how.gamma !== gamma) steering = { beta: how.beta, gamma: how.gamma, until: performance.now() + FOLLOWED_WITHIN };
  panes.classList.toggle("with-grid", how.grid);
  paintSoon();
});
document.addEventListener("drawn", () => field && build());
new ResizeObserver(() => field && (mark(), paintSoon())).observe(panes);
watch("value", read);
read();
