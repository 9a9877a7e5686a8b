// A layer below a text area with the same words in the same places, unseen: marks are drawn on it, and places measured.

import { element } from "./elements.js";

const known = new WeakMap();

/** The layer of an area, made when it is first asked for. */
export function mirrorOf(area) {
  if (!known.has(area)) known.set(area, new Mirror(area));
  return known.get(area);
}

class Mirror {
  #area;
  #words = element("div", { className: "words" });
  #drawn = "";

  constructor(area) {
    this.#area = area;
    const layer = element("div", { className: "prompt-mirror", attributes: { "aria-hidden": "true" } }, this.#words);
    area.before(layer);
    area.classList.add("mirrored");
    area.addEventListener("scroll", () => this.#follow());
    new ResizeObserver(() => this.#follow()).observe(area);
    this.draw([]);
  }

  /** Show the area's words with marks: [{start, end, kind}]. */
  draw(marks) {
    const text = this.#area.value;
    const drawn = JSON.stringify([text, marks]);
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      this.#words.replaceChildren(...pieces(text, marks), "\u200b");
    }
    this.#follow();
  }

  /** Where a place of the text is in the window: {left, top, bottom}. */
  place(offset) {
    if (this.#words.textContent.slice(0, -1) !== this.#area.value) this.draw([]);
    let rest = offset;
    const walker = document.createTreeWalker(this.#words, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (rest < node.length) {
        const range = document.createRange();
        range.setStart(node, rest);
        range.setEnd(node, rest + 1);
        const { left, top, bottom } = range.getClientRects()[0] ?? range.getBoundingClientRect();
        return { left, top, bottom };
      }
      rest -= node.length;
    }
    return this.#words.getBoundingClientRect();
  }

  #follow() {
    const area = this.#area;
    this.#words.style.width = `${area.clientWidth}px`;
    this.#words.style.translate = `0 ${-area.scrollTop}px`;
  }
}

/** The text, cut where marks begin and end. */
function* pieces(text, marks) {
  const known = marks.filter(({ start, end }) => start < end && end <= text.length);
  const cuts = [...new Set([0, text.length, ...known.flatMap(({ start, end }) => [start, end])])].sort((a, b) => a - b);
  for (let k = 1; k < cuts.length; k++) {
    const [start, end] = [cuts[k - 1], cuts[k]];
    const kinds = known.filter((mark) => mark.start <= start && end <= mark.end).map(({ kind }) => kind);
    const words = text.slice(start, end);
    yield kinds.length ? element("mark", { className: [...new Set(kinds)].join(" ") }, words) : words;
  }
}
