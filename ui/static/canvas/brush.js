// Brush and eraser: how much of a pixel a stroke covers, and what that does to the layer.

import { SIDE } from "./layer.js";
import { rect, union } from "./rects.js";

const CLOSEST = 0.08; // of the radius: what is nearer than that to the last point changes nothing one sees
const TABLE = 65536; // entries from the middle of a disc to its edge
const LEAST_PRESSURE = 0.15; // of the size, where the pen hardly touches

/** An ink is (before, bytes, pixel, coverage): what `coverage` of 255 makes of a pixel that was as in `before`. */
export function maskInk(erasing) {
  if (erasing) return (before, bytes, k, cover) => (bytes[k] = Math.min(before?.[k] ?? 0, 255 - cover));
  return (before, bytes, k, cover) => (bytes[k] = Math.max(before?.[k] ?? 0, cover));
}

/** Porter and Duff's "over" and "out", with colours that are not multiplied by their opacity. */
export function sketchInk([red, green, blue], erasing) {
  const colour = [red, green, blue];
  return (before, bytes, k, cover) => {
    const at = k * 4;
    const below = before ? before[at + 3] / 255 : 0;
    const share = cover / 255;
    const rest = below * (1 - share);
    const alpha = erasing ? rest : share + rest;
    const opacity = Math.round(alpha * 255);
    bytes[at + 3] = opacity;
    for (let c = 0; c < 3; c++) {
      const old = before?.[at + c] ?? 0;
      bytes[at + c] = opacity === 0 ? 0 : erasing ? old : Math.round((colour[c] * share + old * rest) / alpha);
    }
  };
}

/** How wide the pen's line is, as a share of the size. */
export function widthOf(pressure) {
  return LEAST_PRESSURE + (1 - LEAST_PRESSURE) * pressure;
}

/** A stroke covers a pixel as much as the part of it that covers it most: crossing itself does not darken it. */
export class Stroke {
  #edit;
  #ink;
  #size;
  #hardness;
  #cover = new Map(); // tile -> Uint8Array
  #table = { radius: -1, values: new Uint8Array(TABLE) }; // coverage by the square of the distance
  #last = null;
  #held = null; // a point too near to the last one to be drawn yet

  /** @param edit an `Edit`  @param size in pixels across  @param hardness 0 to 1, the share that is full */
  constructor(edit, { ink, size, hardness }) {
    this.#edit = edit;
    this.#ink = ink;
    this.#size = size;
    this.#hardness = hardness;
  }

  /** Draw on to a point {x, y, width}, width being a share of the size. The area that changed, or null. */
  to(point) {
    const there = { x: point.x, y: point.y, radius: Math.max(0.5, (this.#size * point.width) / 2) };
    const from = this.#last ?? there;
    if (this.#last && Math.hypot(there.x - from.x, there.y - from.y) < CLOSEST * there.radius) {
      this.#held = there;
      return null;
    }
    this.#held = null;
    this.#last = there;
    return this.#segment(from, there);
  }

  /** Draw what was held back. The area that changed, or null. */
  end() {
    return this.#held && this.#segment(this.#last, this.#held);
  }

  #segment(from, to) {
    const reach = Math.max(from.radius, to.radius) + 1;
    const area = rect(
      Math.floor(Math.min(from.x, to.x) - reach),
      Math.floor(Math.min(from.y, to.y) - reach),
      Math.ceil(Math.max(from.x, to.x) + reach),
      Math.ceil(Math.max(from.y, to.y) + reach),
    );
    let changed = null;
    for (const [x, y, part] of this.#edit.layer.touched(area)) {
      const moved = ({ x: px, y: py, radius }) => ({ x: px - x * SIDE, y: py - y * SIDE, radius });
      this.#capsule(this.#edit.tile(x, y), this.#coverOf(x, y), part, moved(from), moved(to));
      changed = union(changed, { ...part, left: part.left + x * SIDE, top: part.top + y * SIDE });
    }
    return changed;
  }

  #coverOf(x, y) {
    const key = `${x},${y}`;
    if (!this.#cover.has(key)) this.#cover.set(key, new Uint8Array(SIDE * SIDE));
    return this.#cover.get(key);
  }

  /** A line between two discs: every pixel by its distance from the nearest point of the line, at its middle. */
  #capsule({ bytes, before }, cover, part, from, to) {
    const ink = this.#ink;
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const inverse = 1 / (dx * dx + dy * dy || 1);
    const farthest = (Math.max(from.radius, to.radius) + 0.5) ** 2;
    const even = from.radius === to.radius;
    const table = even ? this.#tableOf(from.radius) : null;
    const places = TABLE / farthest;
    for (let row = part.top; row < part.top + part.height; row++) {
      const py = row + 0.5 - from.y;
      for (let k = row * SIDE + part.left, end = k + part.width; k < end; k++) {
        const old = cover[k];
        if (old === 255) continue;
        const px = k - row * SIDE + 0.5 - from.x;
        let along = (px * dx + py * dy) * inverse;
        along = along < 0 ? 0 : along > 1 ? 1 : along;
        const [ox, oy] = [px - along * dx, py - along * dy];
        const squared = ox * ox + oy * oy;
        if (squared >= farthest) continue;
        const radius = from.radius + along * (to.radius - from.radius);
        const now = even ? table[(squared * places) | 0] : this.#coverage(Math.sqrt(squared), radius);
        if (now <= old) continue;
        cover[k] = now;
        ink(before, bytes, k, now);
      }
    }
  }

  /** At a distance from the middle of a disc: full inside, and a soft edge that is at least a pixel wide. */
  #coverage(distance, radius) {
    const edge = Math.max(1, radius * (1 - this.#hardness));
    const share = Math.min(1, Math.max(0, (radius + 0.5 - distance) / edge));
    return Math.round(255 * share * share * (3 - 2 * share));
  }

  #tableOf(radius) {
    if (this.#table.radius !== radius) {
      const step = (radius + 0.5) ** 2 / TABLE;
      for (let k = 0; k < TABLE; k++) this.#table.values[k] = this.#coverage(Math.sqrt((k + 0.5) * step), radius);
      this.#table.radius = radius;
    }
    return this.#table.values;
  }
}
