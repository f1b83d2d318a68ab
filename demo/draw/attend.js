// One row of a source's attention, out of what compact.py makes of its patches; the formulas are attention.py's.
// Nothing of the page in here.

// What compact.py's bytes hold. told: count (N patches), directions (D), symmetric, mean.
function unpacked(told, bytes) {
  const { count, directions, symmetric } = told, codes = 4 * (directions + count), size = count * directions;
  const scale = new Float32Array(bytes, 0, directions), offset = new Float32Array(bytes, 4 * directions, count);
  const left = Float32Array.from(new Int8Array(bytes, codes, size), (code, at) => code * scale[at % directions]);
  const right = Float32Array.from(new Int8Array(bytes, symmetric ? codes : codes + size, size));
  return { ...told, left, right, offset, values: new Float32Array(count), similarity: new Float32Array(count) };
}

// Fills source.values, (N,): for a VFM S, A with masked entries as 0, or W, whose sum is 1; for CLIP its own attention.
// The VFM's S is in source.similarity. Returns how many patches are attended to.
function attend(source, patch, { beta, gamma, stage }) {
  product(source, patch);
  const { similarity, values, mean, count, scopes } = source;
  if (!source.symmetric) {
    const share = source.offset[patch] / values.reduce((total, one) => total + one, 0);
    for (let j = 0; j < count; j++) values[j] *= share;
    return count;
  }
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

function product({ left, right, offset, mean, similarity, values, symmetric, count, directions }, patch) {
  const out = symmetric ? similarity : values, from = patch * directions;
  for (let j = 0, at = 0; j < count; j++) {
    let sum = symmetric ? mean + offset[patch] + offset[j] : 0;
    for (let k = 0; k < directions; k++) sum += left[from + k] * right[at++];
    out[j] = symmetric ? Math.min(Math.max(sum, -1), 1) : Math.max(sum, 0); // what rounding leaves beyond
  }
  if (symmetric) out[patch] = 1;
}
