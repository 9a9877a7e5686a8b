// What is done to a whole mask: grow, shrink, feather, on an array of bytes, row after row.

/** Every pixel becomes the largest within `radius`: squares and crosses by turns, which makes an octagon. */
export function grow(values, width, height, radius) {
  let [from, to] = [values, new Uint8Array(values.length)];
  for (let step = 0; step < radius; step++) {
    const corners = step % 2 === 1;
    for (let y = 0; y < height; y++) {
      const [up, down] = [y > 0 ? -width : 0, y < height - 1 ? width : 0];
      for (let x = 0; x < width; x++) {
        const k = y * width + x;
        if (from[k] === 255) {
          to[k] = 255;
          continue;
        }
        const [back, on] = [x > 0 ? -1 : 0, x < width - 1 ? 1 : 0];
        let most = Math.max(from[k], from[k + up], from[k + down], from[k + back], from[k + on]);
        if (corners) {
          const across = Math.max(from[k + up + back], from[k + up + on]);
          most = Math.max(most, across, from[k + down + back], from[k + down + on]);
        }
        to[k] = most;
      }
    }
    [from, to] = [to, step === 0 ? new Uint8Array(values.length) : from];
  }
  return from;
}

export function inverted(values) {
  return values.map((value) => 255 - value);
}

export function shrink(values, width, height, radius) {
  return inverted(grow(inverted(values), width, height, radius));
}

/** Three running means, one after the other, come close to a Gaussian whose sigma is `radius` / 2 (Wells 1986). */
export function feather(values, width, height, radius) {
  const half = Math.max(1, Math.round(radius / 2));
  let now = new Float32Array(values);
  for (let pass = 0; pass < 3; pass++) now = meanDown(meanAcross(now, width, height, half), width, height, half);
  const out = new Uint8Array(now.length);
  for (let k = 0; k < out.length; k++) out[k] = Math.round(now[k]);
  return out;
}

/** The mean of each value and `half` on either side of it in its row, which beyond its ends goes on with its last. */
function meanAcross(values, width, height, half) {
  const out = new Float32Array(values.length);
  const count = 2 * half + 1;
  for (let start = 0; start < values.length; start += width) {
    const last = start + width - 1;
    let sum = values[start] * half;
    for (let k = start; k <= start + half; k++) sum += values[k > last ? last : k];
    for (let k = start; k <= last; k++) {
      out[k] = sum / count;
      const [on, off] = [k + half + 1, k - half];
      sum += values[on > last ? last : on] - values[off < start ? start : off];
    }
  }
  return out;
}

/** The same along columns; all columns of a row together, as they lie in memory. */
function meanDown(values, width, height, half) {
  const out = new Float32Array(values.length);
  const count = 2 * half + 1;
  const sums = new Float64Array(width);
  const row = (y) => Math.min(height - 1, Math.max(0, y)) * width;
  for (let y = -half; y <= half; y++) for (let x = 0, k = row(y); x < width; x++, k++) sums[x] += values[k];
  for (let y = 0, k = 0; y < height; y++) {
    const [on, off] = [row(y + half + 1), row(y - half)];
    for (let x = 0; x < width; x++, k++) {
      out[k] = sums[x] / count;
      sums[x] += values[on + x] - values[off + x];
    }
  }
  return out;
}
