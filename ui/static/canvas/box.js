// The box: the area that is generated. Its geometry, and its frame on the canvas.

import { element } from "../elements.js";

export const GRID = 8; // pixels; sizes and places are multiples of it
const LEAST = 64;
const MOST = 16384;
const SIDES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];

const near = (value) => Math.round(value / GRID) * GRID;
const above = (value) => Math.ceil(value / GRID) * GRID;
const below = (value) => Math.floor(value / GRID) * GRID;
const size = (value) => Math.max(LEAST, Math.min(MOST, value));
const place = (value) => Math.max(-MOST, Math.min(MOST, value));

export function snapped({ left, top, width, height }) {
  return { left: place(near(left)), top: place(near(top)), width: size(near(width)), height: size(near(height)) };
}

/** The largest box within a picture, in its middle; where the picture is too small, the smallest around it. */
export function within(width, height) {
  const [across, down] = [width, height].map((side) => size(below(side)));
  return { left: near((width - across) / 2), top: near((height - down) / 2), width: across, height: down };
}

/** Around the middle of a picture, at least so large. */
export function around(width, height, across, down) {
  const [wide, high] = [size(above(across)), size(above(down))];
  return { left: 0 - near((wide - width) / 2), top: 0 - near((high - height) / 2), width: wide, height: high };
}

/** The smallest box of a ratio around a whole picture. */
export function ofRatio(width, height, across, down) {
  return around(width, height, Math.max(width, (height * across) / down), Math.max(height, (width * down) / across));
}

/** `box` reaching further by so many pixels. A side that stays is rounded inwards: no sliver appears beyond it. */
export function extended(box, { left = 0, top = 0, right = 0, bottom = 0 }) {
  const [x, across] = stretched(box.left, box.width, left, right);
  const [y, down] = stretched(box.top, box.height, top, bottom);
  return { left: x, top: y, width: across, height: down };
}

function stretched(start, length, before, after) {
  const from = place(before ? below(start - before) : above(start));
  const to = after ? above(start + length + after) : below(start + length);
  const across = size(to - from);
  return [before && to - across > from ? to - across : from, across]; // no longer than may be: the other side stays
}

/** `box` with the named sides moved by (x, y); the others stay. */
export function resized(box, sides, x, y) {
  let { left, top } = box;
  let [right, bottom] = [left + box.width, top + box.height];
  const start = (from, to) => place(Math.max(to - MOST, Math.min(from, to - LEAST)));
  const end = (from, to) => Math.min(from + MOST, Math.max(to, from + LEAST));
  if (sides.includes("w")) left = start(near(left + x), right);
  if (sides.includes("e")) right = end(left, near(right + x));
  if (sides.includes("n")) top = start(near(top + y), bottom);
  if (sides.includes("s")) bottom = end(top, near(bottom + y));
  return { left, top, width: right - left, height: bottom - top };
}

/** `box` somewhere else. */
export function shifted(box, x, y) {
  return { ...box, left: place(near(box.left + x)), top: place(near(box.top + y)) };
}

export class BoxFrame {
  #root;
  #label = element("button", { type: "button", className: "grip" });
  #painting;
  #view;
  #drag = null;

  constructor(root, painting, view) {
    [this.#root, this.#painting, this.#view] = [root, painting, view];
    root.append(this.#label, ...SIDES.map((side) => element("span", { className: `handle ${side}`, data: { side } })));
    root.addEventListener("pointerdown", (event) => this.#down(event));
    root.addEventListener("pointermove", (event) => this.#move(event));
    root.addEventListener("pointerup", () => this.#up());
    root.addEventListener("pointercancel", () => this.cancel());
    this.#label.addEventListener("keydown", (event) => this.#key(event));
    for (const [source, name] of [
      [painting, "box"],
      [painting, "whole"],
      [view, "moved"],
    ]) {
      source.addEventListener(name, () => this.render());
    }
  }

  render() {
    const { box } = this.#painting;
    this.#root.hidden = !box;
    if (!box) return;
    const { left, top, width, height } = this.#view.place(box);
    Object.assign(this.#root.style, { translate: `${left}px ${top}px`, width: `${width}px`, height: `${height}px` });
    const words = `${box.width} × ${box.height}`;
    if (this.#label.textContent === words) return;
    this.#label.textContent = words;
    const keys = "Arrow keys move it, with Shift they resize it, Delete takes it away";
    this.#label.setAttribute("aria-label", `Box, ${words} at ${box.left}, ${box.top}. ${keys}`);
    this.#label.title = `The area that is generated. ${keys}.`;
  }

  #down(event) {
    if (event.button !== 0 || !this.#painting.box) return;
    event.stopPropagation();
    this.#root.setPointerCapture(event.pointerId);
    const sides = event.target.dataset.side ?? "";
    this.#drag = { box: this.#painting.box, sides, x: event.clientX, y: event.clientY };
  }

  #move(event) {
    if (!this.#drag) return;
    event.stopPropagation();
    const { box, sides, x, y } = this.#drag;
    const across = (event.clientX - x) / this.#view.scale;
    const down = (event.clientY - y) / this.#view.scale;
    this.#painting.moveBox(sides ? resized(box, sides, across, down) : shifted(box, across, down));
  }

  #up() {
    if (this.#drag) this.#painting.placeBox(this.#painting.box, this.#drag.box);
    this.#drag = null;
  }

  /** Back to where it was. Whether it was being moved. */
  cancel() {
    if (!this.#drag) return false;
    this.#painting.moveBox(this.#drag.box);
    this.#drag = null;
    return true;
  }

  #key(event) {
    const { box } = this.#painting;
    const steps = { ArrowLeft: [-GRID, 0], ArrowRight: [GRID, 0], ArrowUp: [0, -GRID], ArrowDown: [0, GRID] };
    const step = steps[event.key];
    if (event.key === "Delete" || event.key === "Backspace") this.#painting.placeBox(null);
    else if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.shiftKey) this.#painting.placeBox(resized(box, "se", ...step));
    else this.#painting.placeBox(shifted(box, ...step));
    event.preventDefault();
    event.stopPropagation();
  }
}
