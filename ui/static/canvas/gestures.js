// Mouse, pen and fingers over the canvas: which of them paints, and which moves the view.

const WHEEL = 0.0015; // how far a turn of the wheel zooms
const PINCH = 0.01; // and of the wheel with Ctrl, which is what a touchpad makes of two fingers
const LINE = 16; // CSS pixels, for wheels that count lines
const ERASER = 32; // the bit of `buttons` of a pen's other end (Pointer Events, 4.1.1.1)

export class Gestures {
  spaceHeld = false;
  #view;
  #begin;
  #act = null;
  #actor = null; // the pointer that paints
  #penSeen = false; // from then on a hand on the screen moves the picture and paints nothing
  #first = null; // the finger that paints, until a second one comes
  #pointers = new Map(); // those that move the view

  /** @param begin(event, point) gives what a press does: {add(points), frame(), end(), cancel()}, or null
   *  @param hover(event) is told where the pointer is */
  constructor(view, { begin, hover }) {
    this.#view = view;
    this.#begin = begin;
    const { room } = view;
    view.beforeFrame = () => this.#act?.frame() && view.request();
    room.addEventListener("pointerdown", (event) => this.#down(event));
    room.addEventListener("pointermove", (event) => (this.#move(event), hover(event)));
    room.addEventListener("pointerup", (event) => this.#up(event));
    room.addEventListener("pointercancel", (event) => this.#lost(event));
    room.addEventListener("pointerleave", () => hover(null));
    room.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    room.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  get acting() {
    return this.#act !== null;
  }

  /** Take back what the pointer is doing. Whether it was doing anything. */
  cancel() {
    if (!this.#act) return false;
    this.#act.cancel();
    this.#act = this.#actor = null;
    return true;
  }

  /** End what the pointer is doing as if it went up: what it did stays. */
  finish() {
    const act = this.#act;
    this.#act = this.#actor = this.#first = null;
    act?.end();
  }

  #down(event) {
    if (event.target.closest("button, a, input, select, label, .easel-box")) return;
    this.#penSeen ||= event.pointerType === "pen";
    const touch = event.pointerType === "touch";
    const pans =
      event.button === 1 ||
      this.spaceHeld ||
      (touch && (this.#penSeen || this.#pointers.size > 0 || this.#actor !== null));
    if (event.isTrusted) this.#view.room.setPointerCapture(event.pointerId); // a script's pointer cannot be held
    if (pans || !this.#paints(event)) this.#moveWith(event);
  }

  #paints(event) {
    if (event.button !== 0 && !(event.buttons & ERASER)) return false;
    const act = this.#actor === null && this.#begin(event, this.#point(event));
    if (!act) return false;
    this.#act = act;
    this.#actor = event.pointerId;
    act.add([this.#point(event)]);
    if (event.pointerType === "touch") this.#first = event;
    this.#view.request();
    return true;
  }

  #moveWith(event) {
    if (event.pointerType === "touch" && this.#actor !== null && this.#first) {
      this.cancel(); // two fingers never paint: what the first one began is taken back
      this.#hold(this.#first);
    }
    this.#hold(event);
    this.#view.room.classList.add("moving");
    event.preventDefault();
  }

  #hold({ pointerId, clientX, clientY }) {
    this.#pointers.set(pointerId, { x: clientX, y: clientY });
  }

  #move(event) {
    if (event.pointerId === this.#actor) {
      const every = event.getCoalescedEvents?.() ?? [];
      this.#act.add((every.length ? every : [event]).map((one) => this.#point(one)));
      if (this.#first) this.#first = event;
      this.#view.request();
      return;
    }
    const held = this.#pointers.get(event.pointerId);
    if (!held) return;
    const [before, middle] = [this.#spread(), this.#middle()];
    Object.assign(held, { x: event.clientX, y: event.clientY });
    const now = this.#middle();
    this.#view.pan(now.x - middle.x, now.y - middle.y);
    if (this.#pointers.size < 2) return;
    const { left, top } = this.#view.room.getBoundingClientRect();
    this.#view.zoomTo(this.#view.scale * (this.#spread() / before || 1), now.x - left, now.y - top);
  }

  #up(event) {
    if (event.pointerId === this.#actor) {
      // A pen that was lifted says nothing of its pressure.
      if (event.pointerType !== "pen") this.#act.add([this.#point(event)]);
      this.finish();
    }
    this.#release(event);
  }

  #lost(event) {
    if (event.pointerId === this.#actor) this.cancel();
    this.#release(event);
  }

  #release({ pointerId }) {
    this.#pointers.delete(pointerId);
    if (!this.#pointers.size) this.#view.room.classList.remove("moving");
  }

  /** A place in the picture, with how hard the pen is pressed; other pointers press fully. */
  #point(event) {
    return { ...this.#view.point(event), pressure: event.pointerType === "pen" && event.buttons ? event.pressure : 1 };
  }

  #middle() {
    const all = [...this.#pointers.values()].slice(0, 2);
    return {
      x: all.reduce((sum, { x }) => sum + x, 0) / all.length,
      y: all.reduce((sum, { y }) => sum + y, 0) / all.length,
    };
  }

  #spread() {
    const [one, two] = this.#pointers.values();
    return two ? Math.hypot(one.x - two.x, one.y - two.y) : 0;
  }

  #wheel(event) {
    event.preventDefault();
    const turn = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1);
    const { left, top } = this.#view.room.getBoundingClientRect();
    if (event.shiftKey) this.#view.pan(-(event.deltaX || turn), 0);
    else
      this.#view.zoomTo(
        this.#view.scale * Math.exp(-turn * (event.ctrlKey ? PINCH : WHEEL)),
        event.clientX - left,
        event.clientY - top,
      );
  }
}
