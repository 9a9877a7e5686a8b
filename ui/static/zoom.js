// Zooming and moving one picture in its view, with wheel, keys, mouse, pen and fingers.

const LARGEST_FIT = 4; // how far a small picture is enlarged to fit,
const SMALL_SIDE = 384; // or up to this side
const RANGE = [0.1, 32];
const PIXELS_FROM = 3; // from this scale on, single pixels are what one wants to see
const SWIPE = 60; // CSS pixels
const STILL = 4; // a press that moved less is a click

/** The scale at which a picture fills the room, without becoming so large that it shows nothing but its pixels. */
export function fitting({ width, height }, room) {
  const largest = Math.max(LARGEST_FIT, SMALL_SIDE / Math.max(width, height));
  return Math.min(room.width / width, room.height / height, largest);
}

export class Zoom {
  #view;
  #image;
  #tell;
  #pixels = { width: 1, height: 1 };
  #scale = 1;
  #offset = { x: 0, y: 0 };
  #fitted = true;
  #pointers = new Map();
  #path = 0; // how far the pointer went since it came down

  /** @param tell {changed(text), swiped(places)} */
  constructor(view, image, tell) {
    this.#view = view;
    this.#image = image;
    this.#tell = tell;
    view.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    view.addEventListener("pointerdown", (event) => this.#down(event));
    view.addEventListener("pointermove", (event) => this.#move(event));
    view.addEventListener("pointerup", (event) => this.#up(event));
    view.addEventListener("pointercancel", (event) => this.#pointers.delete(event.pointerId));
    new ResizeObserver(() => this.#fitted && this.fit()).observe(view);
  }

  /** Begin with another picture, fitted. */
  of(picture) {
    this.#pixels = { width: picture.width, height: picture.height };
    this.fit();
  }

  fit() {
    const { clientWidth, clientHeight } = this.#view;
    this.#scale = fitting(this.#pixels, { width: clientWidth, height: clientHeight }) || 1;
    this.#offset = { x: 0, y: 0 };
    this.#fitted = true;
    this.#apply();
  }

  /** Zoom to `scale` CSS pixels a pixel; the point `at` (from the view's middle) stays where it is. */
  to(scale, at = { x: 0, y: 0 }) {
    const next = Math.max(RANGE[0], Math.min(RANGE[1], scale));
    const change = next / this.#scale;
    this.#offset = { x: at.x - (at.x - this.#offset.x) * change, y: at.y - (at.y - this.#offset.y) * change };
    this.#scale = next;
    this.#fitted = false;
    this.#apply();
  }

  by(factor, at) {
    this.to(this.#scale * factor, at);
  }

  #apply() {
    const { width, height } = this.#pixels;
    this.#keepInside();
    this.#image.style.width = `${width * this.#scale}px`;
    this.#image.style.height = `${height * this.#scale}px`;
    this.#image.style.translate = `${this.#offset.x}px ${this.#offset.y}px`;
    this.#image.style.imageRendering = !this.#fitted && this.#scale >= PIXELS_FROM ? "pixelated" : "auto";
    this.#tell.changed(`${Math.round(this.#scale * 100)} %`);
  }

  #keepInside() {
    const room = (pixels, view) => Math.max(0, (pixels * this.#scale - view) / 2);
    const limit = (value, most) => Math.max(-most, Math.min(most, value));
    this.#offset.x = limit(this.#offset.x, room(this.#pixels.width, this.#view.clientWidth));
    this.#offset.y = limit(this.#offset.y, room(this.#pixels.height, this.#view.clientHeight));
  }

  #middle(event) {
    const box = this.#view.getBoundingClientRect();
    return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
  }

  #wheel(event) {
    event.preventDefault();
    this.by(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), this.#middle(event));
  }

  #down(event) {
    if (event.button !== 0) return;
    this.#view.setPointerCapture(event.pointerId);
    if (this.#pointers.size === 0) this.#path = 0;
    this.#pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, from: event.clientX });
  }

  #move(event) {
    const pointer = this.#pointers.get(event.pointerId);
    if (!pointer) return;
    const before = this.#spread();
    const step = { x: event.clientX - pointer.x, y: event.clientY - pointer.y };
    Object.assign(pointer, { x: event.clientX, y: event.clientY });
    this.#path += Math.hypot(step.x, step.y);
    if (this.#pointers.size > 1) this.by(this.#spread() / before || 1, this.#middle(event));
    else if (!this.#fitted) {
      this.#offset.x += step.x;
      this.#offset.y += step.y;
      this.#apply();
    }
  }

  #up(event) {
    const pointer = this.#pointers.get(event.pointerId);
    this.#pointers.delete(event.pointerId);
    if (!pointer || this.#pointers.size) return;
    const across = event.clientX - pointer.from;
    if (this.#path < STILL) this.#click(event);
    else if (this.#fitted && Math.abs(across) > SWIPE) this.#tell.swiped(across < 0 ? 1 : -1);
  }

  #click(event) {
    if (event.target !== this.#image && event.target !== this.#view) return;
    if (this.#fitted) this.to(Math.abs(this.#scale - 1) < 0.05 ? 2 : 1, this.#middle(event));
    else this.fit();
  }

  #spread() {
    const [a, b] = [...this.#pointers.values()];
    return a && b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  }
}
