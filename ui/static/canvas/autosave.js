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
const AGAIN = 1000; // until the first new attempt after one that failed; then twice as long each time
const LONGEST = 30_000;
const ATTEMPTS = 3; // after so many the person is told
const KEPT = 4; // paintings of a name that nobody holds
const PATIENCE = 1500; // milliseconds a page being left may still hold its painting
const FAILING =
  "What you paint is not saved now: this browser's storage is full, forbidden or broken. It is tried again and again; " +
  "until it says Saved below, do not close this window.";
const LOST_STEPS = "Some of what was done here can no longer be undone: this browser's storage has lost it.";
const LOST_TILES = "Parts of what was painted here could not be read back: this browser's storage has damaged them.";
const LOST_PICTURE = "What lay here could not be read back: this browser's storage has damaged it.";

function session(key, value) {
  try {
    if (value !== undefined) sessionStorage.setItem(key, value);
    return sessionStorage.getItem(key);
  } catch {
    return null; // storage is forbidden
  }
}

const fresh = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export class Autosave {
  #painting;
  #name;
  #more;
  #tell;
  #say;
  #store = null;
  #from = null; // the painting that is read, which is another one where a window was duplicated
  #id = null;
  #release = () => {};
  #timer = 0;
  #last = 0;
  #failures = 0; // one after the other
  #resumed = false; // before that there is nothing to save
  #writing = Promise.resolve();
  #pending = null; // what is being saved and is not there yet
  #stop = new AbortController();

  /**
   * @param more {get(), put(values)}: what else is kept  @param tell told "saved", "waiting", "again" or "failed"
   * @param say told a sentence for the person
   */
  constructor(painting, name, more, { tell, say }) {
    [this.#painting, this.#name, this.#more, this.#tell, this.#say] = [painting, name, more, tell, say];
    const { signal } = this.#stop;
    document.addEventListener("visibilitychange", () => document.hidden && this.flush(), { signal });
    addEventListener("pagehide", () => this.#hurry(), { signal });
  }

  async step(n) {
    try {
      return await this.#store?.step(this.#from, n);
    } catch {
      throw new Error("This browser's storage does not answer: try again in a moment.");
    }
  }

  /** Bring back what there was, and begin to save. */
  async resume() {
    try {
      this.#store = await Store.open();
      await this.#claim();
      await this.#restore();
    } catch (error) {
      this.#release();
      this.#id = null; // what lies there stays as it is
      this.#fail(error); // private windows may forbid it
    }
    this.#resumed = true;
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
    if (!this.#id) await this.#begin();
    session(key, this.#id);
    for (const id of ids.filter((one) => one !== this.#id).slice(KEPT)) {
      const release = await hold(id, 0);
      if (release) await this.#store.forget(id).finally(release);
    }
  }

  /** Have a painting that there was not before. */
  async #begin() {
    this.#release();
    this.#id = fresh();
    this.#release = (await hold(this.#id, 0)) ?? (() => {});
    session(`atelier-canvas-${this.#name}`, this.#id);
  }

  async #restore() {
    const found = this.#from && (await this.#store.read(this.#from));
    if (!found) return;
    const { record, picture, tiles } = found;
    const of = (name) => tiles.filter(([layer]) => layer === name).map(([, key, packed]) => [key, packed]);
    const painting = this.#painting;
    let torn = false;
    try {
      await painting.restore({ ...record, picture, mask: of("mask"), sketch: of("sketch") }, () => (torn = true));
    } catch (error) {
      console.info("A painting could not be read back:", error);
      this.#say(LOST_PICTURE);
      return this.#begin(); // and leave that one as it is
    }
    const { first = 0, steps: count, position } = record;
    const there = await this.#store.steps(this.#from);
    const whole = painting.steps.resume({ first, count, position }, (n) => there.has(n));
    if (this.#from === this.#id) painting.unsaved = { tiles: new Set(), picture: false };
    else painting.steps.unsaved = painting.steps.first; // all of it, under a name of its own
    if (torn || !whole) this.#say(torn ? LOST_TILES : LOST_STEPS);
    return this.#more.put(record.more ?? {});
  }

  schedule() {
    if (!this.#resumed || this.#timer) return; // an attempt that failed is made again too
    if (!this.#failures) this.#tell("waiting");
    const wait = Math.max(SOON, this.#last + PAUSE - performance.now());
    this.#timer = setTimeout(() => this.flush(), wait);
  }

  /** Save what is not saved; a stroke being drawn is waited for. */
  flush() {
    const pending = this.#timer;
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!pending || !this.#id) return this.#writing;
    if (this.#painting.busy || this.#painting.editing || this.#pending) {
      this.#timer = setTimeout(() => this.flush(), SOON);
      return this.#writing;
    }
    this.#last = performance.now();
    const moment = this.#collect();
    const tiles = moment.tiles.map(async ([layer, key, bytes]) => [layer, key, bytes && (await pack(bytes))]);
    const steps = this.#painting.steps.from(moment.from).map(small);
    for (const one of [...tiles, ...steps]) one.catch(() => {}); // who writes them is told
    this.#writing = this.#writing.then(() => this.#write(moment, tiles, steps));
    return this.#writing;
  }

  /** The page is being left: no time to pack anything, but enough to hand it all over as it is. */
  #hurry() {
    if (!this.#resumed || !this.#id || !(this.#timer || this.#pending || this.#painting.editing)) return;
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
    const from = Math.max(painting.steps.first, painting.steps.unsaved);
    painting.steps.unsaved = painting.steps.count;
    const tiles = [...names].map((full) => {
      const [layer, key] = full.split(" ");
      return [layer, key, painting[layer].tiles.get(key) ?? null];
    });
    const { width, height, box } = painting;
    const { first, count: steps, position } = painting.steps;
    const at = Date.now();
    const record = { name: this.#name, at, width, height, box, first, steps, position, more: this.#more.get() };
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
      this.#failures = 0;
      if (!this.#timer) this.#tell("saved");
    } catch (error) {
      this.#putBack(moment);
      this.#fail(error);
    }
    if (this.#pending === moment) this.#pending = null;
  }

  /** It could not be saved: try again later, and say so if that happens again and again. */
  #fail(error) {
    console.info("What is painted could not be kept:", error);
    this.#failures += 1;
    this.#tell(this.#failures < ATTEMPTS ? "again" : "failed");
    if (this.#failures === ATTEMPTS) this.#say(FAILING);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#again(), Math.min(LONGEST, AGAIN * 2 ** (this.#failures - 1)));
  }

  /** Try once more, with a database that is opened anew: it may have been closed, or emptied. */
  async #again() {
    try {
      this.#store?.close();
      this.#store = await Store.open();
      if (!this.#id) await this.#begin();
      if (!(await this.#store.has(this.#id)) && !this.#painting.forgetSaved()) this.#say(LOST_STEPS);
    } catch (error) {
      this.#fail(error);
      return;
    }
    await this.flush();
  }

  /** Save and let go. */
  async close() {
    this.#stop.abort();
    this.#hurry();
    await this.#writing;
    clearTimeout(this.#timer);
    this.#release();
    this.#store?.close();
  }
}
