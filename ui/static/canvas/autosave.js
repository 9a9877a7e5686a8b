// Keeps a painting in the browser's database while it is painted, and finds it again.
//
// Each window has a painting of its own, named in its session storage, which a reload keeps. A window that has none
// takes the newest that no other one holds: after a crash that is the one that was lost.

import { hold } from "./claims.js";
import { pack } from "./offthread.js";
import { plain, small } from "./steps.js";
import { Store } from "./store.js";

const PAUSE = 1000; // milliseconds between two savings
const SOON = 150;
const KEPT = 4; // paintings of a name that nobody holds
const PATIENCE = 1500; // milliseconds a page being left may still hold its painting

function session(key, value) {
  try {
    if (value !== undefined) sessionStorage.setItem(key, value);
    return sessionStorage.getItem(key);
  } catch {
    return null; // storage is forbidden
  }
}

export class Autosave {
  #painting;
  #name;
  #more;
  #tell;
  #store = null;
  #from = null; // the painting that is read, which is another one where a window was duplicated
  #id = null;
  #release = () => {};
  #timer = 0;
  #last = 0;
  #writing = Promise.resolve();
  #pending = null; // what is being saved and is not there yet
  #hide = () => document.hidden && this.flush();
  #leave = () => this.#hurry();

  /** @param more {get(), put(values)}: what else is kept  @param tell told "saved", "waiting" or "failed" */
  constructor(painting, name, more, tell) {
    [this.#painting, this.#name, this.#more, this.#tell] = [painting, name, more, tell];
    document.addEventListener("visibilitychange", this.#hide);
    addEventListener("pagehide", this.#leave);
  }

  step(n) {
    return this.#store.step(this.#from, n);
  }

  /** Bring back what there was, and begin to save. */
  async resume() {
    try {
      this.#store = await Store.open();
      await this.#claim();
      await this.#restore();
    } catch (error) {
      console.info("What is painted is not kept:", error); // private windows may forbid it
      this.#store = null;
      this.#tell("failed");
    }
    this.#painting.addEventListener("change", () => this.schedule());
  }

  async #claim() {
    const key = `atelier-canvas-${this.#name}`;
    const mine = session(key);
    const ids = await this.#store.ids(this.#name);
    for (const id of mine ? [mine] : ids) {
      const release = await hold(id, mine ? PATIENCE : 0);
      if (release) [this.#id, this.#release] = [id, release];
      if (release) break;
    }
    this.#from = this.#id ?? mine;
    if (!this.#id) {
      this.#id = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) =>
        byte.toString(16).padStart(2, "0"),
      ).join("");
      this.#release = await hold(this.#id, 0);
    }
    session(key, this.#id);
    for (const id of ids.filter((one) => one !== this.#id).slice(KEPT)) {
      const release = await hold(id, 0);
      if (release) await this.#store.forget(id).finally(release);
    }
  }

  async #restore() {
    const found = this.#from && (await this.#store.read(this.#from));
    if (!found) return;
    const { record, picture, tiles } = found;
    const of = (name) => tiles.filter(([layer]) => layer === name).map(([, key, packed]) => [key, packed]);
    const painting = this.#painting;
    painting.steps.resume(record.steps, record.position);
    await painting.restore({ ...record, picture, mask: of("mask"), sketch: of("sketch") });
    if (this.#from === this.#id) painting.unsaved = { tiles: new Set(), picture: false };
    else painting.steps.unsaved = 0; // all of it, under a name of its own
    this.#more.put(record.more);
  }

  schedule() {
    if (!this.#store || this.#timer) return;
    this.#tell("waiting");
    const wait = Math.max(SOON, this.#last + PAUSE - performance.now());
    this.#timer = setTimeout(() => this.flush(), wait);
  }

  /** Save what is not saved; a stroke being drawn is waited for. */
  flush() {
    const pending = this.#timer;
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!pending || !this.#store) return this.#writing;
    if (this.#painting.busy || this.#painting.editing || this.#pending) {
      this.#timer = setTimeout(() => this.flush(), SOON);
      return this.#writing;
    }
    this.#last = performance.now();
    const moment = this.#collect();
    const tiles = moment.tiles.map(async ([layer, key, bytes]) => [layer, key, bytes && (await pack(bytes))]);
    const steps = this.#painting.steps.from(moment.from).map(small);
    this.#writing = this.#writing.then(() => this.#write(moment, tiles, steps));
    return this.#writing;
  }

  /** The page is being left: no time to pack anything, but enough to hand it all over as it is. */
  #hurry() {
    if (!this.#store || !(this.#timer || this.#pending || this.#painting.editing)) return;
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#painting.settle();
    if (this.#pending) this.#putBack(this.#pending);
    const moment = this.#collect();
    const tiles = moment.tiles.map(([layer, key, bytes]) => [layer, key, bytes && { raw: bytes }]);
    const steps = this.#painting.steps.from(moment.from);
    this.#writing = this.#write(
      moment,
      tiles,
      steps.map((one) => (one instanceof Promise ? small(one) : plain(one))),
    );
  }

  /** What is not saved, all of one moment: what is painted next is of the next saving. */
  #collect() {
    const painting = this.#painting;
    const { tiles: names, picture } = painting.unsaved;
    painting.unsaved = { tiles: new Set(), picture: false };
    const from = painting.steps.unsaved;
    painting.steps.unsaved = painting.steps.count;
    const tiles = [...names].map((full) => {
      const [layer, key] = full.split(" ");
      return [layer, key, painting[layer].tiles.get(key) ?? null];
    });
    const { width, height, box } = painting;
    const { count: steps, position } = painting.steps;
    const record = { name: this.#name, at: Date.now(), width, height, box, steps, position, more: this.#more.get() };
    this.#pending = { record, from, names, tiles, picture: picture ? (painting.picture?.blob ?? null) : undefined };
    return this.#pending;
  }

  #putBack({ names, picture, from }) {
    const { unsaved, steps } = this.#painting;
    for (const name of names) unsaved.tiles.add(name);
    unsaved.picture ||= picture !== undefined;
    steps.unsaved = Math.min(steps.unsaved, from);
  }

  async #write(moment, tiles, steps) {
    const { record, from, picture } = moment;
    try {
      const waits = [...tiles, ...steps].some((one) => one instanceof Promise);
      const [packed, bodies] = waits ? await Promise.all([Promise.all(tiles), Promise.all(steps)]) : [tiles, steps];
      if (this.#pending !== moment) return; // the page was being left meanwhile, and it is saved already
      await this.#store.write(this.#id, { record, tiles: packed, picture, steps: bodies, from });
      this.#from = this.#id;
      this.#painting.steps.saved(record.steps);
      if (!this.#timer) this.#tell("saved");
    } catch (error) {
      console.info("What is painted could not be kept:", error);
      this.#putBack(moment);
      this.#tell("failed");
    }
    if (this.#pending === moment) this.#pending = null;
  }

  /** Save and let go. */
  async close() {
    document.removeEventListener("visibilitychange", this.#hide);
    removeEventListener("pagehide", this.#leave);
    this.#hurry();
    await this.#writing;
    this.#release();
    this.#store?.close();
  }
}
