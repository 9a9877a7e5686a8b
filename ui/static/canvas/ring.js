// What follows the pointer: the brush's ring, and the outline of an area being drawn.

export class Pointer {
  #room;
  #view;
  #settings;
  #ring;
  #path;
  #points = [];
  #event = null;

  constructor(room, view, settings) {
    [this.#room, this.#view, this.#settings] = [room, view, settings];
    this.#ring = room.querySelector(".ring");
    this.#path = [...room.querySelectorAll(".outline path")];
    view.addEventListener("moved", () => this.render());
  }

  /** The pointer is at `event`, or has left. */
  at(event) {
    this.#event = event && { clientX: event.clientX, clientY: event.clientY, touch: event.pointerType === "touch" };
    this.render();
  }

  outline(points) {
    this.#points = points;
    const { left, top, scale } = this.#view;
    const text = points.map(({ x, y }) => `${left + x * scale},${top + y * scale}`).join("L");
    for (const path of this.#path) path.setAttribute("d", text && `M${text}Z`);
  }

  render() {
    const { tool, size } = this.#settings;
    const shown = tool === "brush" && this.#event && !this.#event.touch;
    this.#ring.hidden = !shown;
    if (this.#points.length) this.outline(this.#points);
    if (!shown) return;
    const { left, top } = this.#room.getBoundingClientRect();
    const across = Math.max(3, size * this.#view.scale);
    Object.assign(this.#ring.style, {
      width: `${across}px`,
      height: `${across}px`,
      translate: `${this.#event.clientX - left - across / 2}px ${this.#event.clientY - top - across / 2}px`,
    });
  }
}
