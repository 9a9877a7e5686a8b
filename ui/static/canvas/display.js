// A layer as it is drawn: a sheet for each tile, brought up to date where it changed and when it is in sight.

import { SIDE } from "./layer.js";
import { union } from "./rects.js";

const VEIL = [228, 62, 118]; // the mask's colour: found in few pictures, and far from the page's own green
const STRENGTH = 0.58;

/** The mask's values as colours, red first in memory as ImageData has it. */
const VEILS = new Uint32Array(256);
{
  const bytes = new Uint8ClampedArray(VEILS.buffer);
  for (let value = 0; value < 256; value++) bytes.set([...VEIL, value * STRENGTH], value * 4);
}

export class Display {
  #layer;
  #sheets = new Map(); // key -> {sheet, stale}

  constructor(layer) {
    this.#layer = layer;
  }

  /** Within `area` the layer is another. */
  spoil(area) {
    for (const [x, y, part] of this.#layer.touched(area)) {
      const kept = this.#sheets.get(`${x},${y}`);
      if (kept) kept.stale = union(kept.stale, part);
    }
  }

  /** Draw what is within `area`; `of` gives the place on the screen of a place in the picture, in whole pixels. */
  draw(pen, area, of) {
    for (const [x, y] of this.#layer.touched(area)) {
      const key = `${x},${y}`;
      const bytes = this.#layer.tiles.get(key);
      if (!bytes) {
        this.#sheets.delete(key);
        continue;
      }
      const sheet = this.#fresh(key, bytes);
      const to = of(this.#layer.areaOf(key));
      if (to) pen.drawImage(sheet, to.left, to.top, to.width, to.height);
    }
  }

  #fresh(key, bytes) {
    const kept = this.#sheets.get(key) ?? {
      sheet: new OffscreenCanvas(SIDE, SIDE),
      stale: { left: 0, top: 0, width: SIDE, height: SIDE },
    };
    this.#sheets.set(key, kept);
    if (kept.stale) {
      const pen = kept.sheet.getContext("2d", { willReadFrequently: true }); // in main memory, where the bytes are
      pen.putImageData(this.#image(bytes, kept.stale), kept.stale.left, kept.stale.top);
      kept.stale = null;
    }
    return kept.sheet;
  }

  #image(bytes, { left, top, width, height }) {
    const image = new ImageData(width, height);
    const to = new Uint32Array(image.data.buffer);
    const from = this.#layer.channels === 4 ? new Uint32Array(bytes.buffer) : bytes;
    for (let row = 0, k = 0; row < height; row++) {
      let at = (top + row) * SIDE + left;
      if (from === bytes) for (const end = at + width; at < end; at++, k++) to[k] = VEILS[from[at]];
      else to.set(from.subarray(at, at + width), row * width);
    }
    return image;
  }
}
