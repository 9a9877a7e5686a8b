// What this page knows of the models: the list, what is in memory, what is being fetched and made.

import { askAt } from "./json_door.js";
import { studio } from "./studio.js";

const BASE = "atelier/models";
const SETTLE = 250; // milliseconds in which several reasons to ask again become one

/** Ask Atelier of models; with `body` it is an order. Rejects with the sentence to show. */
export const ask = (path, body) => askAt(BASE + path, body);

/**
 * Emits "change" when the list is different, "checkpoints" when there are other checkpoints to choose from, "state" when
 * memory is, "works" when downloads or other works are, and "checkpoint" when another one is chosen.
 */
class Models extends EventTarget {
  list = [];
  loaded = false;
  problem = "";
  /** Whether this browser is at the machine itself. */
  local = false;
  waiting = 0;
  skipped = [];
  memory = null;
  works = [];
  downloads = [];
  /** Model ids with the sentence why each does not go with the checkpoint that is chosen. */
  misfits = new Map();
  /** The name of the checkpoint that is chosen in this window. */
  checkpoint = "";

  #byId = new Map();
  #states = new Map();
  #names = null;
  #watched = false;
  #due = new Map();

  constructor() {
    super();
    studio.addEventListener("models", () => this.#soon("list", () => this.load()));
    studio.addEventListener("works", ({ detail }) => this.#hearWorks(detail));
    let status = null;
    studio.addEventListener("change", () => {
      if (studio.status === status) return;
      status = studio.status;
      if (this.#watched) this.#soon("state", () => this.loadState());
    });
    const choose = () => {
      this.checkpoint = window.atelierCheckpoint ?? "";
      this.#emit("checkpoint");
      this.#soon("misfits", () => this.#loadMisfits());
    };
    window.addEventListener("atelier-checkpoint", choose);
    if (window.atelierCheckpoint) choose();
  }

  /** The Models tab is open: memory is of interest from now on. */
  watch() {
    if (this.#watched) return;
    this.#watched = true;
    if (!this.loaded) this.load();
    this.loadState();
    this.loadWorks();
  }

  find(id) {
    return this.#byId.get(id) ?? null;
  }

  /** Hot, warm or cold, with the seconds a swap takes; null where that is not known. */
  state(id) {
    return this.#states.get(id) ?? null;
  }

  async load() {
    try {
      const said = await ask("");
      this.list = said.models;
      this.#byId = new Map(said.models.map((model) => [model.id, model]));
      Object.assign(this, { local: said.local, waiting: said.waiting, skipped: said.skipped, problem: "", loaded: true });
      this.#tellCheckpoints();
      this.#soon("misfits", () => this.#loadMisfits());
      if (this.#watched) this.#soon("state", () => this.loadState());
    } catch (error) {
      this.problem = error.message;
    }
    this.#emit("change");
  }

  async loadState() {
    const said = await ask("/state").catch(() => null);
    if (!said) return;
    this.#states = new Map(Object.entries(said.models));
    this.memory = said.memory;
    this.#emit("state");
  }

  async loadWorks() {
    const said = await ask("/works").catch(() => null);
    if (said) this.#hearWorks(said);
  }

  #hearWorks({ works, downloads }) {
    this.works = works ?? [];
    this.downloads = downloads ?? [];
    this.#emit("works");
  }

  async #loadMisfits() {
    if (!this.loaded) return;
    const name = this.checkpoint;
    const said = name ? await ask(`/misfits?checkpoint=${encodeURIComponent(name)}`).catch(() => null) : null;
    if (name !== this.checkpoint) return; // another one was chosen meanwhile
    this.misfits = new Map(Object.entries(said?.misfits ?? {}));
    this.#emit("state");
  }

  #tellCheckpoints() {
    const names = this.list.filter(({ kind, problem }) => kind === "checkpoint" && !problem).map(({ name }) => name);
    const all = names.sort().join("\n");
    if (all === this.#names) return;
    this.#names = all;
    this.#emit("checkpoints");
  }

  #soon(what, act) {
    if (this.#due.has(what)) return;
    this.#due.set(what, setTimeout(() => (this.#due.delete(what), act()), SETTLE));
  }

  #emit(type) {
    this.dispatchEvent(new Event(type));
  }
}

export const models = new Models();
