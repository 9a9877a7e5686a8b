// What a press of the pointer begins, by the tool that is held.

import { BrushAct, fillAt, LassoAct, RectangleAct } from "./acts.js";

const ERASER = 5; // the button of a pen's other end

/** A press that is done as soon as it began. */
const still = { add() {}, frame: () => false, end() {}, cancel() {} };

const bound = (act) => ({ frame: () => act.frame(), end: () => act.end(), cancel: () => act.cancel() });

export class Presses {
  #painting;
  #settings;
  #ring;
  #lastPoint = null; // where the last stroke ended

  #select;

  /** @param select(tool, point) lets a tool of an extension select a part of the picture */
  constructor(painting, settings, ring, select) {
    [this.#painting, this.#settings, this.#ring, this.#select] = [painting, settings, ring, select];
  }

  /** What the press does: {add(points), frame(), end(), cancel()}, or null where it does nothing. */
  begin(event, point) {
    const painting = this.#painting;
    if (!painting.picture) return null;
    const { tool, layer } = this.#settings;
    const erasing = this.#settings.erasing || event.button === ERASER;
    if (tool === "dropper" || (event.altKey && layer === "sketch")) return this.#takeColour(point, tool);
    const settings = { ...this.#settings.get(), erasing };
    const outline = (points) => this.#ring.outline(points);
    if (tool === "fill") return (fillAt(painting, settings, point), still);
    if (tool.startsWith("extension ")) return (this.#select(tool, point), still);
    if (tool === "lasso") return new LassoAct(painting, settings, outline);
    if (tool === "rectangle") return new RectangleAct(painting, settings, outline);
    if (tool !== "brush") return null;
    const act = new BrushAct(painting, settings, event.shiftKey ? this.#lastPoint : null);
    return { ...bound(act), add: (points) => ((this.#lastPoint = points.at(-1)), act.add(points)) };
  }

  #takeColour({ x, y }, tool) {
    const { picture, sketch, width, height } = this.#painting;
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || row < 0 || column >= width || row >= height) return still;
    const above = sketch.colourAt(column, row) ?? [0, 0, 0, 0];
    const below = picture.colourAt(column, row);
    const share = above[3] / 255;
    const colour = [0, 1, 2].map((c) => Math.round(above[c] * share + below[c] * (1 - share)));
    this.#settings.set({ colour, other: this.#settings.colour, tool: tool === "dropper" ? "brush" : tool });
    return still;
  }
}
