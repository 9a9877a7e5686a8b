// What a pointer does from coming down to going up, with each of the tools that paint.

import { maskInk, sketchInk, Stroke, widthOf } from "./brush.js";
import { fillPolygon, fillRegion } from "./shapes.js";

function inkOf({ layer, erasing, colour }) {
  return layer === "mask" ? maskInk(erasing) : sketchInk(colour, erasing);
}

/** Brush and eraser. Points gather as they come; they are painted once a frame. */
export class BrushAct {
  #painting;
  #settings;
  #points = [];
  #stroke = null;

  /** @param from where a line begins that was asked for with Shift, or null */
  constructor(painting, settings, from) {
    this.#painting = painting;
    this.#settings = { ...settings };
    if (from) this.#points.push(from);
  }

  add(points) {
    this.#points.push(...points);
  }

  /** Paint what has gathered. Whether it has to wait for something else. */
  frame() {
    if (!this.#stroke && this.#painting.busy) return true;
    this.#paint();
    return false;
  }

  #paint() {
    const { layer, size, hardness, pressure } = this.#settings;
    this.#stroke ??= new Stroke(this.#painting.begin(layer), { ink: inkOf(this.#settings), size, hardness });
    for (const { x, y, pressure: pressed } of this.#points) {
      this.#painting.touch(layer, this.#stroke.to({ x, y, width: pressure ? widthOf(pressed) : 1 }));
    }
    this.#points = [];
  }

  end() {
    if (this.#stroke || !this.#painting.busy) this.#finish();
    else this.#painting.inTurn(() => this.#finish());
  }

  #finish() {
    this.#paint();
    const { layer, erasing } = this.#settings;
    this.#painting.touch(layer, this.#stroke.end());
    this.#painting.end(layer, `${erasing ? "Erase" : "Paint"} the ${layer}`);
  }

  cancel() {
    if (this.#stroke) this.#painting.cancel(this.#settings.layer);
  }
}

/** Rectangle and lasso: an outline, filled when the pointer goes up. */
class OutlineAct {
  points = [];
  #painting;
  #settings;
  #show;

  /** @param show draws the outline of points, or of none */
  constructor(painting, settings, show) {
    [this.#painting, this.#settings, this.#show] = [painting, { ...settings }, show];
  }

  frame() {
    this.#show(this.points);
    return false;
  }

  end() {
    this.#show([]);
    if (this.points.length < 3) return;
    const { layer, erasing } = this.#settings;
    const what = `${erasing ? "Erase" : "Fill"} an area of the ${layer}`;
    const act = () =>
      this.#painting.change(layer, what, (edit) => fillPolygon(edit, inkOf(this.#settings), this.points));
    if (this.#painting.busy) this.#painting.inTurn(act);
    else act();
  }

  cancel() {
    this.#show([]);
  }
}

export class LassoAct extends OutlineAct {
  add(points) {
    this.points.push(...points);
  }
}

export class RectangleAct extends OutlineAct {
  #from = null;

  /** Whole pixels, from where the pointer came down to where it is. */
  add(points) {
    const to = points.at(-1);
    this.#from ??= points[0];
    const [left, right] = [this.#from.x, to.x].sort((a, b) => a - b);
    const [top, bottom] = [this.#from.y, to.y].sort((a, b) => a - b);
    const [a, b, c, d] = [Math.floor(left), Math.floor(top), Math.ceil(right), Math.ceil(bottom)];
    this.points = [
      { x: a, y: b },
      { x: c, y: b },
      { x: c, y: d },
      { x: a, y: d },
    ];
  }
}

/** Fill: at once. */
export function fillAt(painting, settings, point) {
  const { layer, erasing } = settings;
  const what = `${erasing ? "Erase" : "Fill"} a region of the ${layer}`;
  return painting.inTurn(() => painting.change(layer, what, (edit) => fillRegion(edit, inkOf(settings), point)));
}
