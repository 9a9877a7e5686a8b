// What is done to a whole layer at once, each as one step.

import { morph } from "./offthread.js";
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
