// A grid of cards of which only those in view are in the document, so that thousands stay fluid.

import { element, reconcile } from "./elements.js";

const GAP = 12; // CSS pixels
const BODY = 58; // of a card below its picture
const SHAPE = 1.16; // height of a card's picture by its width
const BEYOND = 1; // rows drawn above and below what is in view
const MOVES = { ArrowLeft: -1, ArrowRight: 1 };

export class Grid {
  #root;
  #parts;
  #models = [];
  #rows = new Map();
  #columns = 1;
  #height = 1;
  #wanted = 180;
  #active = ""; // the id of the card that the Tab key reaches
  #due = false;

  /** @param parts {make(model), renew(card, model), active(model)}: `.face` of a card is what takes the focus. */
  constructor(root, parts) {
    this.#root = root;
    this.#parts = parts;
    new ResizeObserver(() => this.#measure()).observe(root);
    document.addEventListener("scroll", () => this.#soon(), { passive: true, capture: true });
    window.addEventListener("resize", () => this.#soon(), { passive: true });
    root.addEventListener("keydown", (event) => this.#key(event));
    root.addEventListener("focusin", ({ target }) => this.#reach(target.closest(".card")?.dataset.key));
  }

  /** Show these models. */
  show(models) {
    this.#models = models;
    if (!models.some(({ id }) => id === this.#active)) this.#active = models[0]?.id ?? "";
    this.#measure();
  }

  /** How wide cards should be, in CSS pixels; they become as wide as it takes to fill the row. */
  set wanted(width) {
    this.#wanted = width;
    this.#measure();
  }

  /** Bring the cards in view up to date. */
  renew() {
    for (const [place, row] of this.#rows) this.#fill(row, place);
  }

  focus() {
    this.#go(Math.max(0, this.#place()));
  }

  #place() {
    return this.#models.findIndex(({ id }) => id === this.#active);
  }

  #measure() {
    const width = this.#root.clientWidth;
    if (!width) return; // the tab is not open
    this.#columns = Math.max(2, Math.floor((width + GAP) / (this.#wanted + GAP)));
    const card = (width - GAP * (this.#columns - 1)) / this.#columns;
    const picture = Math.round(card * SHAPE);
    this.#height = picture + BODY + GAP;
    this.#root.style.setProperty("--columns", this.#columns);
    this.#root.style.setProperty("--picture", `${picture}px`);
    this.#root.style.height = `${Math.max(0, this.#count() * this.#height - GAP)}px`;
    this.#root.setAttribute("aria-rowcount", this.#count());
    this.#root.setAttribute("aria-colcount", this.#columns);
    this.#draw();
  }

  #count() {
    return Math.ceil(this.#models.length / this.#columns);
  }

  #soon() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => ((this.#due = false), this.#draw()));
  }

  #draw() {
    if (!this.#root.clientWidth) return;
    const top = -this.#root.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / this.#height) - BEYOND);
    const last = Math.min(this.#count() - 1, Math.floor((top + window.innerHeight) / this.#height) + BEYOND);
    const focused = document.activeElement?.closest?.(".row");
    for (const [place, row] of this.#rows) {
      const stays = (place >= first && place <= last) || (row === focused && place < this.#count());
      if (stays) continue;
      this.#rows.delete(place);
      row.remove();
    }
    for (let place = first; place <= last; place++) if (!this.#rows.has(place)) this.#insert(place);
    this.renew();
  }

  /** A row stands in the document where it stands on the page, for those who hear it. */
  #insert(place) {
    const row = element("div", { className: "row", role: "row", data: { place } });
    const next = [...this.#root.children].find((other) => Number(other.dataset.place) > place) ?? null;
    this.#root.insertBefore(row, next);
    this.#rows.set(place, row);
  }

  #fill(row, place) {
    row.style.transform = `translateY(${place * this.#height}px)`;
    row.setAttribute("aria-rowindex", place + 1);
    reconcile(row, this.#models.slice(place * this.#columns, (place + 1) * this.#columns), {
      key: ({ id }) => id,
      make: (model) => this.#parts.make(model),
      renew: (card, model) => {
        this.#parts.renew(card, model);
        card.querySelector(".face").tabIndex = model.id === this.#active ? 0 : -1;
      },
    });
  }

  #reach(id) {
    if (!id || id === this.#active) return;
    const before = this.#root.querySelector('.face[tabindex="0"]');
    if (before) before.tabIndex = -1;
    this.#active = id;
    const face = this.#root.querySelector(`[data-key="${CSS.escape(id)}"] .face`);
    if (face) face.tabIndex = 0;
    const model = this.#models[this.#place()];
    if (model) this.#parts.active(model);
  }

  #key(event) {
    if (!event.target.matches(".face") || event.ctrlKey || event.metaKey || event.altKey) return;
    const screen = Math.max(1, Math.floor(window.innerHeight / this.#height)) * this.#columns;
    const moves = {
      ...MOVES,
      ArrowUp: -this.#columns,
      ArrowDown: this.#columns,
      PageUp: -screen,
      PageDown: screen,
      Home: -this.#models.length,
      End: this.#models.length,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const last = this.#models.length - 1;
    this.#go(Math.min(last, Math.max(0, this.#place() + moves[event.key])));
  }

  /** Bring a card into view and give it the focus. */
  #go(place) {
    const model = this.#models[place];
    if (!model) return;
    const box = this.#root.getBoundingClientRect();
    const top = box.top + Math.floor(place / this.#columns) * this.#height;
    const above = this.#above();
    if (top < above) window.scrollBy(0, top - above);
    else if (top + this.#height > window.innerHeight) window.scrollBy(0, top + this.#height - window.innerHeight + GAP);
    this.#draw();
    this.#reach(model.id);
    this.#root.querySelector(`[data-key="${CSS.escape(model.id)}"] .face`)?.focus({ preventScroll: true });
  }

  /** What stands over the grid when the page is scrolled. */
  #above() {
    const bar = this.#root.closest(".models")?.querySelector(".bar");
    return (bar && getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : 0) + GAP;
  }
}
