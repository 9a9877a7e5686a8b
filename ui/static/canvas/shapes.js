// Rectangle, lasso and fill: areas that are covered at once.

import { SIDE } from "./layer.js";
import { grow } from "./morphology.js";
import { rect, union } from "./rects.js";

const PAINTED = 128; // from here on a pixel counts as painted

/** Cover what lies within `points` [{x, y}]. The area that changed. */
export function fillPolygon(edit, ink, points) {
  const area = around(points);
  const sheet = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true });
  let changed = null;
  for (const [x, y, part] of edit.layer.touched(area)) {
    sheet.setTransform(1, 0, 0, 1, 0, 0);
    sheet.clearRect(0, 0, SIDE, SIDE);
    sheet.setTransform(1, 0, 0, 1, -x * SIDE, -y * SIDE);
    sheet.beginPath();
    for (const point of points) sheet.lineTo(point.x, point.y);
    sheet.fill();
    const { data } = sheet.getImageData(part.left, part.top, part.width, part.height);
    cover(edit.tile(x, y), ink, part, (k) => data[k * 4 + 3]);
    changed = union(changed, { ...part, left: part.left + x * SIDE, top: part.top + y * SIDE });
  }
  return changed;
}

/** The smallest rectangle around points. One by one: a long lasso has more of them than a call takes arguments. */
function around(points) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { x, y } of points) {
    [left, top] = [Math.min(left, x), Math.min(top, y)];
    [right, bottom] = [Math.max(right, x), Math.max(bottom, y)];
  }
  return rect(Math.floor(left), Math.floor(top), Math.ceil(right), Math.ceil(bottom));
}

/** Cover the painted, or the bare, region around a point. The area that changed. */
export function fillRegion(edit, ink, { x, y }) {
  const { layer } = edit;
  const { width, height } = layer;
  const [column, row] = [Math.floor(x), Math.floor(y)];
  if (column < 0 || row < 0 || column >= width || row >= height) return null;
  const region = flood(layer.flat(layer.bounds), width, height, column, row);
  // One pixel further: what lies half on the region's edge would stay as a fine line around it.
  return coverFlat(edit, ink, grow(region, width, height, 1), layer.bounds);
}

/** Cover by an array over `area`, row after row; where nothing is covered only if `everywhere`. */
export function coverFlat(edit, ink, coverage, area, everywhere = false) {
  for (const [x, y, part] of edit.layer.touched(area)) {
    const start = (y * SIDE + part.top - area.top) * area.width + x * SIDE + part.left - area.left;
    const at = (k) => coverage[start + Math.floor(k / part.width) * area.width + (k % part.width)];
    cover(edit.tile(x, y), ink, part, at, everywhere);
  }
  return area;
}

function cover({ bytes, before }, ink, part, coverage, everywhere = false) {
  let k = 0;
  for (let row = part.top; row < part.top + part.height; row++) {
    for (let at = row * SIDE + part.left, end = at + part.width; at < end; at++, k++) {
      const now = coverage(k);
      if (now || everywhere) ink(before, bytes, at, now);
    }
  }
}

/** The pixels connected to one by a side that are painted, or not, as it is: 255 there. Row by row, with a stack. */
function flood(values, width, height, column, row) {
  const region = new Uint8Array(values.length);
  const painted = values[row * width + column] >= PAINTED;
  const open = (k) => region[k] === 0 && values[k] >= PAINTED === painted;
  const stack = [row * width + column];
  while (stack.length) {
    const seed = stack.pop();
    if (!open(seed)) continue;
    const line = Math.floor(seed / width) * width;
    let [left, right] = [seed, seed + 1];
    while (left > line && open(left - 1)) left--;
    while (right < line + width && open(right)) right++;
    region.fill(255, left, right);
    for (const step of [-width, width]) {
      if (line + step < 0 || line + step >= width * height) continue;
      for (let k = left; k < right; k++)
        if (open(k + step) && (k === left || !open(k + step - 1))) stack.push(k + step);
    }
  }
  return region;
}
