// What is seen of the painting: where it stands on the screen, and drawing it, at most once a frame.

import { Display } from "./display.js";
import { LAYERS } from "./painting.js";
import { grown, intersection, rect, union } from "./rects.js";

const RANGE = [0.02, 32]; // CSS pixels a pixel
const LARGEST_FIT = 4;
const MARGIN = 28; // CSS pixels around what is fitted
const IN_REACH = 48; // CSS pixels of the picture that always stay in sight
const PIXELS_FROM = 3; // from here on single pixels are what one wants to see
const NOWHERE = { left: 0, top: 0, width: 0, height: 0 };
const SQUARE = 8; // CSS pixels of the checkerboard

/** Events: "moved" when scale or place changed. `beforeFrame` is called first in each frame. */
export class View extends EventTarget {
  scale = 1;
  left = 0; // of the picture's corner in the view, in CSS pixels
  top = 0;
  hidden = new Set(); // layers that are not shown
  proposal = null; // {picture, area}, shown in the painting's place
  beforeFrame = () => {};
  #sheet;
  #pen;
  #painting;
  #displays = {};
  #due = 0;
  #dirty = null; // in the picture's pixels; "all" for everything
  #fitted = true;
  #reserved = 0;
  #colours = {};
  #observers;

  constructor(sheet, painting) {
    super();
    this.#sheet = sheet;
    this.#pen = sheet.getContext("2d", { alpha: false });
    this.#painting = painting;
    painting.addEventListener("whole", () => this.#whole());
    painting.addEventListener("pixels", ({ detail: { layer, area } }) => {
      this.#displays[layer]?.spoil(area);
      this.spoil(area);
    });
    painting.addEventListener("box", () => this.spoil());
    this.#observers = [new ResizeObserver(() => this.#resize()), new MutationObserver(() => this.#restyle())];
    this.#observers[0].observe(sheet.parentElement);
    this.#observers[1].observe(document.body, { attributeFilter: ["class"] });
    this.#restyle();
    this.#whole();
  }

  /** Look at the page no more. */
  close() {
    for (const one of this.#observers) one.disconnect();
    cancelAnimationFrame(this.#due);
  }

  get room() {
    return this.#sheet.parentElement;
  }

  get ratio() {
    return this.#sheet.width / this.room.clientWidth || 1;
  }

  // Where things are

  /** From the window's pixels to the picture's, with fractions. */
  point({ clientX, clientY }) {
    const { left, top } = this.room.getBoundingClientRect();
    return { x: (clientX - left - this.left) / this.scale, y: (clientY - top - this.top) / this.scale };
  }

  /** From the picture's pixels to the view's. */
  place({ left, top, width, height }) {
    const { scale } = this;
    return {
      left: this.left + left * scale,
      top: this.top + top * scale,
      width: width * scale,
      height: height * scale,
    };
  }

  /** All there is to see: picture, box, and what is proposed. */
  get extent() {
    const { width, height, box } = this.#painting;
    return union(union(rect(0, 0, width, height), box), this.proposal?.area ?? null);
  }

  fit(area = this.extent) {
    const { clientWidth } = this.room;
    if (!area || !clientWidth) return;
    const clientHeight = this.room.clientHeight - this.#reserved;
    const margin = Math.min(MARGIN, clientWidth * 0.06);
    const across = (clientWidth - 2 * margin) / area.width;
    this.scale = Math.min(LARGEST_FIT, across, (clientHeight - 2 * margin) / area.height);
    this.left = (clientWidth - area.width * this.scale) / 2 - area.left * this.scale;
    this.top = (clientHeight - area.height * this.scale) / 2 - area.top * this.scale;
    this.#fitted = true;
    this.#moved();
  }

  /** So much at the foot of the view is covered by something else. */
  reserve(pixels) {
    if (pixels === this.#reserved) return;
    this.#reserved = pixels;
    if (this.#fitted) this.fit();
  }

  /** Zoom to `scale`; what is at (x, y) of the view stays there. */
  zoomTo(scale, x = this.room.clientWidth / 2, y = this.room.clientHeight / 2) {
    const next = Math.max(RANGE[0], Math.min(RANGE[1], scale));
    const change = next / this.scale;
    this.left = x - (x - this.left) * change;
    this.top = y - (y - this.top) * change;
    this.scale = next;
    this.#fitted = false;
    this.#keepInReach();
    this.#moved();
  }

  pan(across, down) {
    this.left += across;
    this.top += down;
    this.#fitted = false;
    this.#keepInReach();
    this.#moved();
  }

  #keepInReach() {
    const { extent } = this;
    if (!extent) return;
    const { left, top, width, height } = this.place(extent);
    const { clientWidth, clientHeight } = this.room;
    this.left += Math.max(0, IN_REACH - left - width) - Math.max(0, left - clientWidth + IN_REACH);
    this.top += Math.max(0, IN_REACH - top - height) - Math.max(0, top - clientHeight + IN_REACH);
  }

  #moved() {
    this.spoil();
    this.dispatchEvent(new Event("moved"));
  }

  // Drawing

  #whole() {
    for (const name of LAYERS) this.#displays[name] = new Display(this.#painting[name]);
    const { width, height } = this.#painting;
    const other = width !== this.shownWidth || height !== this.shownHeight;
    [this.shownWidth, this.shownHeight] = [width, height];
    if (other) this.fit();
    this.spoil();
  }

  #resize() {
    const { clientWidth, clientHeight } = this.room;
    if (!clientWidth || !clientHeight) return; // a tab that is not open
    const ratio = devicePixelRatio;
    this.#sheet.width = Math.round(clientWidth * ratio);
    this.#sheet.height = Math.round(clientHeight * ratio);
    if (this.#fitted) this.fit();
    this.spoil();
    this.#draw(); // at once: a canvas is empty when its size was set
  }

  #restyle() {
    const style = getComputedStyle(this.room);
    for (const name of ["mat", "check"]) this.#colours[name] = style.getPropertyValue(`--${name}`).trim() || "#888";
    this.#colours.board = null;
    this.spoil();
  }

  /** `area` of the picture, or everything, has to be drawn anew. */
  spoil(area = "all") {
    this.#dirty = area === "all" || this.#dirty === "all" ? "all" : union(this.#dirty, area);
    this.request();
  }

  request() {
    this.#due ||= requestAnimationFrame(() => {
      this.#due = 0;
      this.beforeFrame();
      this.#draw();
    });
  }

  #draw() {
    if (!this.#dirty || !this.room.clientWidth) return;
    const { ratio } = this;
    const across = (x) => (this.left + x * this.scale) * ratio;
    const down = (y) => (this.top + y * this.scale) * ratio;
    const all = rect(0, 0, this.#sheet.width, this.#sheet.height);
    // Edges on whole pixels, the same for all that ends there: nothing shows through between them.
    const of = ({ left, top, width, height }) => {
      const [right, bottom] = [across(left + width), down(top + height)];
      return rect(Math.round(across(left)), Math.round(down(top)), Math.round(right), Math.round(bottom));
    };
    const clip = this.#dirty === "all" ? all : intersection(all, grown(of(grown(this.#dirty, 1)), 2));
    this.#dirty = null;
    if (!clip) return;
    const pen = this.#pen;
    pen.save();
    pen.beginPath();
    pen.rect(clip.left, clip.top, clip.width, clip.height);
    pen.clip();
    pen.fillStyle = this.#colours.mat;
    pen.fillRect(clip.left, clip.top, clip.width, clip.height);
    pen.imageSmoothingEnabled = this.scale < PIXELS_FROM;
    this.#drawBoard(of);
    if (this.proposal) this.#drawPicture(this.proposal.picture, this.proposal.area, of);
    else this.#drawPainting(clip, of);
    pen.restore();
  }

  #drawBoard(of) {
    const { extent } = this;
    if (!extent) return;
    const { left, top, width, height } = of(extent) ?? NOWHERE;
    const pen = this.#pen;
    this.#colours.board ??= checkerboard(this.#colours.check, Math.round(SQUARE * this.ratio));
    const { width: picture, height: down, box } = this.#painting;
    const parts = this.proposal
      ? [{ left, top, width, height }]
      : [rect(0, 0, picture, down), box].filter(Boolean).map(of).filter(Boolean);
    pen.fillStyle = pen.createPattern(this.#colours.board, "repeat");
    pen.translate(left, top);
    for (const part of parts) pen.fillRect(part.left - left, part.top - top, part.width, part.height);
    pen.translate(-left, -top);
  }

  #drawPainting(clip, of) {
    const painting = this.#painting;
    if (!painting.picture) return;
    const { width, height } = painting;
    if (!this.hidden.has("picture")) this.#drawPicture(painting.picture, { left: 0, top: 0, width, height }, of);
    const seen = ({ left, top, width, height }) => {
      const { ratio } = this;
      const x = (at) => (at / ratio - this.left) / this.scale;
      const y = (at) => (at / ratio - this.top) / this.scale;
      return rect(Math.floor(x(left)), Math.floor(y(top)), Math.ceil(x(left + width)), Math.ceil(y(top + height)));
    };
    for (const name of ["sketch", "mask"]) {
      if (!this.hidden.has(name)) this.#displays[name].draw(this.#pen, seen(clip), of);
    }
  }

  #drawPicture(picture, area, of) {
    const level = picture.levelFor((this.scale * this.ratio * area.width) / picture.width);
    const to = of(area);
    if (to) this.#pen.drawImage(level, to.left, to.top, to.width, to.height);
  }
}

function checkerboard(colour, side) {
  const sheet = new OffscreenCanvas(side * 2, side * 2);
  const pen = sheet.getContext("2d");
  pen.fillStyle = colour;
  pen.fillRect(0, 0, side, side);
  pen.fillRect(side, side, side, side);
  return sheet;
}
