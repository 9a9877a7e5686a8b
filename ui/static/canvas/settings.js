// What the hand holds: tool, layer, size and colour. Kept with the painting.

export const SIZES = [1, 2000]; // of brushes, in pixels of the picture
const NAMES = ["tool", "layer", "erasing", "size", "hardness", "pressure", "colour", "other", "by", "reach"];

export class Settings extends EventTarget {
  tool = "brush"; // brush, rectangle, lasso, fill, box, hand, dropper
  layer = "mask";
  erasing = false;
  size = 64; // pixels of the picture
  hardness = 0.8;
  pressure = true;
  colour = [214, 69, 48];
  other = [255, 255, 255];
  by = 8; // pixels that grow, shrink and feather go
  reach = 128; // pixels that an arrow adds to the box

  set(values) {
    Object.assign(this, values);
    this.size = Math.max(SIZES[0], Math.min(SIZES[1], Math.round(this.size)));
    this.dispatchEvent(new Event("change"));
  }

  get() {
    return Object.fromEntries(NAMES.map((name) => [name, this[name]]));
  }

  /** A little larger or smaller; more where it is large already. */
  resize(way) {
    const step = Math.max(1, Math.round(this.size * 0.12));
    this.set({ size: this.size + way * step });
  }

  /** Painting and erasing change places on the mask, the two colours on the sketch. */
  exchange() {
    if (this.layer === "mask") this.set({ erasing: !this.erasing });
    else this.set({ colour: this.other, other: this.colour });
  }
}

export const hex = (colour) =>
  `#${colour
    .slice(0, 3)
    .map((part) => part.toString(16).padStart(2, "0"))
    .join("")}`;
export const unhex = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
