// Rows of a source's attention, out of what compact.py makes of its patches; the formulas are attention.py's.
// Nothing of the page in here.

// What compact.py's bytes hold, window by window. told: corners (of B windows), count (N patches), directions (D),
// symmetric, mean.
function unpacked({ corners, count, directions, symmetric, mean }, bytes) {
  const windows = corners.length, size = count * directions, codes = 4 * windows * (directions + count);
  return corners.map((_, window) => {
    const scale = new Float32Array(bytes, 4 * window * directions, directions), from = codes + window * size;
    const offset = new Float32Array(bytes, 4 * (windows * directions + window * count), count);
    const left = new Float32Array(new Int8Array(bytes, from, size)).map((code, at) => code * scale[at % directions]);
    const right = new Float32Array(new Int8Array(bytes, symmetric ? from : from + windows * size, size));
    const room = { values: new Float32Array(count), similarity: new Float32Array(count) };
    return { count, directions, symmetric, mean: mean[window] ?? 0, left, right, offset, ...room };
  });
}

// Fills the window's values, (N,): for a VFM S, A with masked entries as 0, or W, whose sum is 1; for CLIP its own
// attention. The VFM's S is in its similarity. scopes: of its patches. Returns how many of them are attended to.
function attend(window, patch, { beta, gamma, stage }, scopes) {
  if (window.patch !== patch) product(window, patch); // beta, gamma and stage change nothing of it
  const { similarity, values, mean, count } = window;
  if (!window.symmetric) return count;
  if (stage === "cosine") values.set(similarity);
  const own = scopes?.[patch] ?? -1, threshold = beta * mean;
  let attended = 0, sum = 0;
  const highest = Math.max((similarity[patch] - threshold) * gamma, 0); // a patch is most like itself
  for (let j = 0; j < count; j++) {
    const score = (similarity[j] - threshold) * gamma;
    const masked = j !== patch && (score < 0 || (own >= 0 && scopes[j] !== own)); // it always attends to itself
    attended += !masked;
    if (stage === "normalised") values[j] = masked ? 0 : Math.max(score, 0);
    else if (stage === "softmax") sum += values[j] = masked ? 0 : Math.exp(score - highest);
  }
  if (stage === "softmax") for (let j = 0; j < count; j++) values[j] /= sum;
  return attended;
}

// The VFM's S, or CLIP's attention, of one patch.
function product(window, patch) {
  const { left, right, offset, mean, similarity, values, symmetric, count, directions } = window;
  const out = symmetric ? similarity : values, from = patch * directions;
  let total = 0;
  for (let j = 0, at = 0; j < count; j++) {
    let sum = symmetric ? mean + offset[patch] + offset[j] : 0;
    for (let k = 0; k < directions; k++) sum += left[from + k] * right[at++];
    total += out[j] = symmetric ? Math.min(Math.max(sum, -1), 1) : Math.max(sum, 0); // what rounding leaves beyond
  }
  if (symmetric) out[patch] = 1;
  else for (let j = 0; j < count; j++) out[j] *= offset[patch] / total;
  window.patch = patch;
}

// The map that all windows of a source are laid on: its shape in cells, which begin at the padding of the first window,
// `split` along the side of a patch; and for each window which of its patches lies under each cell, -1 for none.
function cellsOf({ grid, padded, before, window, corners }) {
  const pitch = [0, 1].map((axis) => padded[axis] / grid[axis]), alone = corners.length === 1;
  const split = corners.every((corner) => corner.every((start, axis) => start % pitch[axis] === 0)) ? 1 : 2;
  const shape = [0, 1].map((axis) => Math.ceil(((Math.max(...corners.map((corner) => corner[axis])) + padded[axis]) * split) / pitch[axis]));
  const along = (axis, start) => Array.from({ length: shape[axis] }, (_, cell) => {
    const at = ((cell + 0.5) * pitch[axis]) / split - start, inside = at - before[axis];
    return alone || (inside >= 0 && inside < window[axis]) ? Math.floor(at / pitch[axis]) : -1;
  });
  const under = corners.map(([top, left]) => {
    const columns = along(1, left);
    return Int32Array.from(along(0, top).flatMap((row) => columns.map((column) => (row < 0 || column < 0 ? -1 : row * grid[1] + column))));
  });
  return { shape, split, under, map: new Float32Array(shape[0] * shape[1]), laid: new Uint8Array(shape[0] * shape[1]) };
}

// Fills the source's map with the mean of the windows `held`, as readout.window_maps: of shares each window gives 0 where
// it is not, of other values nothing; NaN where none is.
function join({ map, laid, under, packed }, held, shares) {
  map.fill(0);
  laid.fill(0);
  for (const window of held) {
    const patches = under[window], { values } = packed[window];
    for (let cell = 0; cell < map.length; cell++) if (patches[cell] >= 0) (map[cell] += values[patches[cell]]), laid[cell]++;
  }
  for (let cell = 0; cell < map.length; cell++) map[cell] /= shares ? held.length : laid[cell];
}
