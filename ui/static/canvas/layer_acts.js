// What is done to a whole layer at once, each as one step.

import { morph } from "./offthread.js";
import { encode } from "./png.js";
import { layerFrom } from "./reading.js";
import { grown, intersection } from "./rects.js";
import { coverFlat } from "./shapes.js";

const NAMES = { grow: "Grow the mask", shrink: "Shrink the mask", feather: "Feather the mask" };
const FAR = 2; // times the radius: as far as a feather reaches

const turn = (before, bytes, k) => (bytes[k] = 255 - (before?.[k] ?? 0));
const put = (before, bytes, k, value) => (bytes[k] = value);

/** Invert, grow, shrink or feather the mask, by `radius` pixels. */
export function changeMask(painting, name, radius) {
  return painting.inTurn(async () => {
    const { mask } = painting;
    if (name === "invert")
      return painting.change("mask", "Invert the mask", (edit) => coverFlat(edit, turn, [], mask.bounds, true));
    const area = intersection(grown(mask.painted, radius * FAR), mask.bounds);
    if (!area) return false;
    const values = await morph(name, mask.flat(area), area.width, area.height, radius);
    return painting.change("mask", NAMES[name], (edit) => coverFlat(edit, put, values, area, true));
  });
}

/** Take everything off a layer. */
export function clear(painting, name) {
  const wipe = (edit) => {
    const area = edit.layer.painted;
    for (const [x, y] of edit.layer.touched(area)) {
      if (edit.layer.tiles.has(`${x},${y}`)) edit.tile(x, y).bytes.fill(0);
    }
    return area;
  };
  return painting.inTurn(() => painting.change(name, `Clear the ${name}`, wipe));
}

const add = (before, bytes, k, value) => (bytes[k] = Math.max(before?.[k] ?? 0, value));
const takeOff = (before, bytes, k, value) => (bytes[k] = Math.min(before?.[k] ?? 0, 255 - value));

/**
 * Add a picture in grey of the painting's size to the mask, or take it off; with `of`, the file of a picture, only to
 * that one. Rejects with a sentence for another size or picture.
 */
export function addMask(painting, blob, title, { erasing = false, of = null } = {}) {
  return painting.inTurn(async () => {
    const { width, height, mask, picture } = painting;
    if (of && of !== picture?.blob) throw new Error(`Another picture lies here now: ${title} was for the one before.`);
    const values = (await layerFrom(blob, { width, height, channels: 1 })).flat(mask.bounds);
    return painting.change("mask", title, (edit) => coverFlat(edit, erasing ? takeOff : add, values, mask.bounds));
  });
}

/** The mask as a PNG, or null where nothing is painted. */
export const maskFile = ({ mask }) => (mask.empty ? null : encode(mask));
