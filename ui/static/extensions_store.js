// What this window knows of the extensions: which there are, how each is, and their background jobs.

import { askAt } from "./json_door.js";
import { studio } from "./studio.js";

const BASE = "atelier/extensions";
const SETTLE = 150; // milliseconds in which several reasons to ask again become one

/** Ask Atelier of extensions; with `body` it is an order. Rejects with the sentence to show. */
export const ask = (path, body) => askAt(BASE + path, body);

/** The place of one, with a path behind it. */
export const at = ({ id }, path) => `/${encodeURIComponent(id)}/${path}`;

/** The stamp of the extensions that this window was made of. */
const madeOf = document.querySelector('meta[name="atelier-extensions"]')?.content ?? "";

/** Emits "change" when the list is different, "works" when background jobs are, "renewed" when this window is old. */
class Extensions extends EventTarget {
  list = [];
  works = [];
  loaded = false;
  problem = "";
  safeMode = false;
  /** {manage, code, why_not}: what may be done from here. */
  may = { manage: false, code: false, why_not: "" };
  /** Whether a window that is opened now would be another one. */
  old = false;

  #revision = -1;
  #watched = false;
  #due = 0;

  constructor() {
    super();
    studio.addEventListener("extensions", ({ detail }) => this.#hear(detail));
    if (studio.extensions) this.#hear(studio.extensions);
  }

  /** The tab is open: the list is of interest from now on. */
  watch() {
    if (this.#watched) return;
    this.#watched = true;
    this.load();
  }

  find(id) {
    return this.list.find((each) => each.id === id) ?? null;
  }

  worksOf(id) {
    return this.works.filter((work) => work.extension === id);
  }

  async load() {
    try {
      this.take(await ask(""));
    } catch (error) {
      this.problem = error.message;
      this.#emit("change");
    }
  }

  /** The whole list, as an order answered it. */
  take(said) {
    Object.assign(this, { list: said.extensions, works: said.works, may: said.may, safeMode: said.safe_mode });
    Object.assign(this, { loaded: true, problem: "" });
    this.#revision = said.revision;
    this.#emit("change");
  }

  /** One of them, as an order answered it. */
  put(card) {
    this.list = this.list.map((each) => (each.id === card.id ? card : each));
    this.#emit("change");
  }

  #hear({ stamp, revision, works }) {
    this.works = works;
    this.old = madeOf !== "" && stamp !== madeOf;
    this.#emit("works");
    this.#emit("renewed");
    if (!this.#watched || revision === this.#revision) return;
    clearTimeout(this.#due);
    this.#due = setTimeout(() => this.load(), SETTLE);
  }

  #emit(type) {
    this.dispatchEvent(new Event(type));
  }
}

export const extensions = new Extensions();
