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
  /** {manage, fetch, code, why_not}: what may be done from here. */
  may = { manage: false, fetch: false, code: false, why_not: "" };
  /** Whether a window that is opened now would be another one. */
  old = false;

  #revision = -1; // of the list
  #failures = -1;
  #told = false; // whether the channel has said which works there are
  #watched = false;
  #due = 0;
  #loading = null;
  #again = false;
  #outdated = false; // what is being loaded is older than what an order answered meanwhile

  constructor() {
    super();
    studio.addEventListener("extensions", ({ detail }) => this.#hear(detail));
    if (studio.extensions) this.#hear(studio.extensions);
    // Atelier may be another one since, which counts from the beginning.
    studio.addEventListener("open", () => this.#forget());
    // Whether the models that some of them need are there may have changed.
    studio.addEventListener("models", () => this.list.some(({ models }) => models.length) && this.#soon());
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

  /** One at a time: whoever asks meanwhile waits for the list that is asked for then. */
  load() {
    this.#again = this.#loading !== null;
    this.#loading ??= this.#load();
    return this.#loading;
  }

  async #load() {
    do {
      this.#again = this.#outdated = false;
      try {
        const said = await ask("");
        if (!this.#outdated) this.take(said);
      } catch (error) {
        this.problem = error.message;
        this.#emit("change");
      }
    } while (this.#again);
    this.#loading = null;
  }

  /** The whole list, as an order answered it; one that is older than what is known is none. */
  take(said) {
    if (said.revision < this.#revision) return;
    Object.assign(this, { list: said.extensions, may: said.may, safeMode: said.safe_mode, loaded: true, problem: "" });
    if (!this.#told) this.works = said.works; // else the channel says each change of them, and an answer may be older
    [this.#revision, this.#failures] = [said.revision, said.failures];
    this.#emit("change");
  }

  /** One of them, as an order answered it. */
  put(card) {
    if (card.revision < this.#revision) return;
    this.#again = this.#outdated = this.#loading !== null;
    this.list = this.list.map((each) => (each.id === card.id ? card : each));
    this.#emit("change");
  }

  #hear({ stamp, revision, failures, works }) {
    [this.works, this.#told] = [works, true];
    this.old = madeOf !== "" && stamp !== madeOf;
    this.#emit("works");
    this.#emit("renewed");
    if (this.#watched && (revision !== this.#revision || failures !== this.#failures)) this.#soon();
  }

  #forget() {
    [this.#revision, this.#failures, this.#told] = [-1, -1, false];
    if (this.#watched) this.#soon();
  }

  /** What comes often is asked for every so often. */
  #soon() {
    this.#due ||= setTimeout(() => {
      this.#due = 0;
      this.load();
    }, SETTLE);
  }

  #emit(type) {
    this.dispatchEvent(new Event(type));
  }
}

export const extensions = new Extensions();
