// A layer's pixels: bytes in tiles, of which only those exist that something was painted on.
//
// Bytes and not a browser's canvas: what was undone is then the same to the bit, and nothing depends on how a graphics
// card rounds. The mask has one byte a pixel (255 is repainted), the sketch four (red, green, blue, alpha).

import { intersection, rect, union } from "./rects.js";
import { pack, unpack } from "./offthread.js";

const KEY = /^\d+,\d+$/;

export const SIDE = 512; // of a tile, in pixels

export class Layer {
  tiles = new Map(); // "x,y" in tiles -> Uint8Array, which is never written to but by an `Edit` under way
  wet = new Set(); // the keys of those that one is writing to

  constructor({ width, height, channels }) {
    Object.assign(this, { width, height, channels });
  }

  get empty() {
    return this.tiles.size === 0;
  }

  get bounds() {
    return rect(0, 0, this.width, this.height);
  }

  blank() {
    return new Uint8Array(SIDE * SIDE * this.channels);
  }

  /** Which tiles `area` touches: [x, y, the part of it in the tile, in the tile's own pixels]. */
  *touched(area) {
    const inside = intersection(area, this.bounds);
    if (!inside) return;
    const { left, top } = inside;
    const [right, bottom] = [left + inside.width, top + inside.height];
    for (let y = Math.floor(top / SIDE); y * SIDE < bottom; y++) {
      for (let x = Math.floor(left / SIDE); x * SIDE < right; x++) {
        const from = [Math.max(0, left - x * SIDE), Math.max(0, top - y * SIDE)];
        yield [x, y, rect(...from, Math.min(SIDE, right - x * SIDE), Math.min(SIDE, bottom - y * SIDE))];
      }
    }
  }

  /** The rectangle around all tiles that exist, or null. */
  get painted() {
    let all = null;
    for (const key of this.tiles.keys()) all = union(all, this.areaOf(key));
    return intersection(all, this.bounds);
  }

  areaOf(key) {
    const [x, y] = key.split(",").map(Number);
    return rect(x * SIDE, y * SIDE, (x + 1) * SIDE, (y + 1) * SIDE);
  }

  /** The opacity (or the mask) within `area`, in one array, row after row. */
  flat(area) {
    const out = new Uint8Array(area.width * area.height);
    const { channels } = this;
    for (const [x, y, part] of this.touched(area)) {
      const bytes = this.tiles.get(`${x},${y}`);
      if (!bytes) continue;
      for (let row = part.top; row < part.top + part.height; row++) {
        let to = (y * SIDE + row - area.top) * area.width + x * SIDE + part.left - area.left;
        const from = row * SIDE + part.left;
        if (channels === 1) out.set(bytes.subarray(from, from + part.width), to);
        else for (let k = from; k < from + part.width; k++) out[to++] = bytes[k * 4 + 3];
      }
    }
    return out;
  }

  /** Rows `from` to `to`, as an encoder wants them: each begins with the byte that names no filter. */
  rows(from, to) {
    const stride = this.width * this.channels;
    const out = new Uint8Array((to - from) * (stride + 1));
    for (const [x, y, part] of this.touched(rect(0, from, this.width, to))) {
      const bytes = this.tiles.get(`${x},${y}`);
      if (!bytes) continue;
      for (let row = part.top; row < part.top + part.height; row++) {
        const start = row * SIDE * this.channels;
        const line = bytes.subarray(start, start + part.width * this.channels);
        out.set(line, (y * SIDE + row - from) * (stride + 1) + 1 + x * SIDE * this.channels);
      }
    }
    return out;
  }

  colourAt(x, y) {
    const bytes = this.tiles.get(`${Math.floor(x / SIDE)},${Math.floor(y / SIDE)}`);
    if (!bytes || this.channels !== 4) return null;
    const at = ((y % SIDE) * SIDE + (x % SIDE)) * 4;
    return bytes[at + 3] ? [...bytes.subarray(at, at + 4)] : null;
  }

  /** This layer as it is now, whatever is painted on it afterwards. */
  frozen() {
    const made = new Layer(this);
    for (const [key, bytes] of this.tiles) made.tiles.set(key, this.wet.has(key) ? bytes.slice() : bytes);
    return made;
  }

  /** Another layer of this kind, in which what is here stands at (`left`, `top`). */
  moved(left, top, width, height) {
    if (!left && !top && width === this.width && height === this.height) return this.frozen();
    const made = new Layer({ width, height, channels: this.channels });
    const { channels } = this;
    for (const [key, bytes] of this.tiles) {
      const area = this.areaOf(key);
      const there = { ...area, left: area.left + left, top: area.top + top };
      for (const [x, y, part] of made.touched(there)) {
        const name = `${x},${y}`;
        const to = made.tiles.get(name) ?? made.blank();
        made.tiles.set(name, to);
        for (let row = part.top; row < part.top + part.height; row++) {
          const from = ((y * SIDE + row - there.top) * SIDE + x * SIDE + part.left - there.left) * channels;
          to.set(bytes.subarray(from, from + part.width * channels), (row * SIDE + part.left) * channels);
        }
      }
    }
    made.prune(made.tiles.keys());
    return made;
  }

  /** Forget those tiles in which nothing is. */
  prune(keys) {
    for (const key of [...keys]) {
      const bytes = this.tiles.get(key);
      if (bytes && new Uint32Array(bytes.buffer).every((word) => word === 0)) this.tiles.delete(key);
    }
  }

  /** The tiles made small: [[key, bytes]]. */
  packed() {
    return Promise.all([...this.tiles].map(async ([key, bytes]) => [key, await pack(bytes)]));
  }

  /**
   * Take tiles in that were packed, or were kept in a hurry as they are: { raw }. Rejects where one is damaged; with
   * `lost`, a function, that is told of it instead, and the tile is left out.
   */
  async fill(packed, lost = null) {
    for (const [key, kept] of packed) {
      try {
        const bytes = kept.raw ?? (await unpack(kept));
        if (bytes.length !== SIDE * SIDE * this.channels || !KEY.test(key)) throw new Error("A tile is damaged.");
        this.tiles.set(key, bytes);
      } catch (error) {
        if (!lost) throw error;
        lost(key);
      }
    }
    return this;
  }
}

/** A change being made to a layer. It knows what was there before, and in the end what differs. */
export class Edit {
  before = new Map(); // key -> bytes, or null where there was no tile
  #layer;

  constructor(layer) {
    this.#layer = layer;
  }

  get layer() {
    return this.#layer;
  }

  /** The bytes of a tile, to be written to, and as they were. */
  tile(x, y) {
    const key = `${x},${y}`;
    const { tiles } = this.#layer;
    if (!this.before.has(key)) {
      const bytes = tiles.get(key) ?? null;
      this.before.set(key, bytes);
      tiles.set(key, bytes?.slice() ?? this.#layer.blank());
      this.#layer.wet.add(key);
    }
    return { bytes: tiles.get(key), before: this.before.get(key) };
  }

  /** Put everything back. The area that has to be drawn anew. */
  rollback() {
    let area = null;
    for (const [key, bytes] of this.before) {
      if (bytes) this.#layer.tiles.set(key, bytes);
      else this.#layer.tiles.delete(key);
      area = union(area, this.#layer.areaOf(key));
    }
    this.#layer.wet.clear();
    return area;
  }

  /** What differs, for `toggle`; empty where nothing does. */
  finish() {
    const deltas = differences(this.before, this.#layer);
    this.#layer.wet.clear();
    this.#layer.prune(this.before.keys());
    return deltas;
  }
}

/** What differs between tiles as they were, or null where there was none, and those of the same keys in `layer`. */
function differences(before, layer) {
  const deltas = [];
  for (const [key, bytes] of before) {
    const now = layer.tiles.get(key);
    if (bytes === now) continue;
    const delta = difference(bytes ?? layer.blank(), now ?? layer.blank(), layer.channels);
    if (delta) deltas.push({ key, ...delta });
  }
  return deltas;
}

/** What turns one layer into another of the same size, for `toggle`. */
export function differencesOf(one, other) {
  const keys = new Set([...one.tiles.keys(), ...other.tiles.keys()]);
  return differences(new Map([...keys].map((key) => [key, one.tiles.get(key) ?? null])), other);
}

/** The smallest rectangle in which two tiles differ, in words of four bytes, and there one XOR the other. */
function difference(one, other, channels) {
  const across = (SIDE * channels) / 4;
  const [a, b] = [new Uint32Array(one.buffer), new Uint32Array(other.buffer)];
  let [left, right, top, bottom] = [across, 0, -1, 0];
  for (let row = 0, at = 0; row < SIDE; row++, at += across) {
    let first = 0;
    while (first < across && a[at + first] === b[at + first]) first++;
    if (first === across) continue;
    let last = across - 1;
    while (a[at + last] === b[at + last]) last--;
    if (top < 0) top = row;
    bottom = row + 1;
    left = Math.min(left, first);
    right = Math.max(right, last + 1);
  }
  if (top < 0) return null;
  const words = new Uint32Array((right - left) * (bottom - top));
  for (let row = top, to = 0; row < bottom; row++) {
    for (let k = row * across + left; k < row * across + right; k++) words[to++] = a[k] ^ b[k];
  }
  return { left, top, width: right - left, height: bottom - top, words };
}

/** Whether a delta with its words, which came out of the database, can be one of a layer's tiles. */
export function isWhole({ key, left, top, width, height, words }, channels) {
  const across = (SIDE * channels) / 4;
  const whole = [left, top, width, height].every((value) => Number.isInteger(value) && value >= 0);
  return KEY.test(key) && whole && left + width <= across && top + height <= SIDE && words.length === width * height;
}

/** Turn a tile from one side of a delta to the other, whichever it is on. The area that differs, in pixels. */
export function toggle(layer, { key, left, top, width, height, words }) {
  const bytes = layer.tiles.get(key)?.slice() ?? layer.blank();
  layer.tiles.set(key, bytes);
  const across = (SIDE * layer.channels) / 4;
  const tile = new Uint32Array(bytes.buffer);
  for (let row = 0, from = 0; row < height; row++) {
    const start = (top + row) * across + left;
    for (let k = start; k < start + width; k++) tile[k] ^= words[from++];
  }
  layer.prune([key]);
  const pixels = 4 / layer.channels; // in a word
  const area = layer.areaOf(key);
  return { left: area.left + left * pixels, top: area.top + top, width: width * pixels, height };
}
