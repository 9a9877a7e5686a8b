// What is painted: picture, mask, sketch and box, and every step that led there. Knows nothing of the page.

import { differencesOf, Edit, Layer, toggle } from "./layer.js";
import { Picture } from "./picture.js";
import { layerFrom } from "./reading.js";
import { same } from "./rects.js";
import { Steps } from "./steps.js";

const CHANNELS = { mask: 1, sketch: 4 };
export const LAYERS = Object.keys(CHANNELS);
const TORN = {
  before: "What was done before cannot be undone: this browser's storage has lost or damaged it.",
  after: "What was undone cannot be done again: this browser's storage has lost or damaged it.",
};

/**
 * Events: "pixels" (detail {layer, area}), "whole" when picture and layers are others, "box", and "change" after every
 * step, forwards or back.
 */
export class Painting extends EventTarget {
  picture = null;
  box = null;
  steps;
  revisions = { picture: 0, mask: 0, sketch: 0 }; // what was changed since it was sent
  unsaved = { tiles: new Set(), picture: false }; // what the database does not have yet
  #edit = null;
  #turn = Promise.resolve();
  #waiting = 0;

  /** @param fetchStep what gives step number n from the database */
  constructor(fetchStep) {
    super();
    this.steps = new Steps(fetchStep, CHANNELS);
    for (const name of LAYERS) this[name] = this.#layer(name, 0, 0);
  }

  get width() {
    return this.mask.width;
  }

  get height() {
    return this.mask.height;
  }

  /** Whether something is going on that must not be disturbed, nor saved half done. */
  get busy() {
    return this.#waiting > 0;
  }

  get editing() {
    return this.#edit !== null;
  }

  /** Run `act` when all before it is done. */
  inTurn(act) {
    this.#waiting += 1;
    const done = this.#turn.then(act).finally(() => (this.#waiting -= 1));
    this.#turn = done.catch(() => {}); // who asked is told
    return done;
  }

  // Pixels

  begin(name) {
    this.#edit = new Edit(this[name]);
    return this.#edit;
  }

  /** Something of the layer is to be drawn anew. */
  touch(name, area) {
    if (area) this.dispatchEvent(new CustomEvent("pixels", { detail: { layer: name, area } }));
  }

  /** Keep what was done to the layer as one step. Whether anything was. */
  end(name, what) {
    const edit = this.#edit;
    if (!edit) return false; // the page was being left, and ended it: see `settle`
    this.#edit = null;
    const deltas = edit.finish();
    if (!deltas.length) return false;
    const named = deltas.map((delta) => ({ layer: name, ...delta }));
    this.#changed(named);
    this.#push({ what, deltas: named });
    return true;
  }

  /** End what is being painted now, whoever paints it. */
  settle() {
    if (this.#edit)
      this.end(
        LAYERS.find((name) => this[name] === this.#edit.layer),
        "Paint",
      );
  }

  cancel(name) {
    this.touch(name, this.#edit.rollback());
    this.#edit = null;
    this.revisions[name] += 1; // what was taken back may have been sent
  }

  /** One change at once: `act` is given an `Edit` and gives the area that has to be drawn. All of it, or nothing. */
  change(name, what, act) {
    const edit = this.begin(name);
    try {
      this.touch(name, act(edit));
    } catch (error) {
      this.cancel(name); // memory may run out on a large picture
      throw error;
    }
    return this.end(name, what);
  }

  #changed(deltas) {
    for (const name of new Set(deltas.map(({ layer }) => layer))) this.revisions[name] += 1;
    for (const { layer, key } of deltas) this.unsaved.tiles.add(`${layer} ${key}`);
  }

  // Box

  /** Where the box is while it is being moved: no step yet. */
  moveBox(box) {
    if (same(box, this.box)) return;
    this.box = box;
    this.dispatchEvent(new Event("box"));
  }

  /** The box has arrived; `before` is where it was. */
  placeBox(box, before = this.box) {
    this.moveBox(box);
    if (!same(box, before)) this.#push({ what: "Box", before: { box: before }, after: { box } });
  }

  // The whole

  /**
   * Another picture. `keep` names the layers that stay; they, and the box, move by (`left`, `top`). `layers` are files
   * of others, by name. One step, unless there was nothing before. Rejects with a sentence, and then nothing has changed.
   */
  replace(blob, { what, keep = [], layers = {}, left = 0, top = 0, keepBox = false }) {
    return this.inTurn(async () => {
      const picture = blob && (await Picture.of(blob));
      const [width, height] = picture ? [picture.width, picture.height] : [0, 0];
      const kept = keep.map((name) => [name, this[name].moved(left, top, width, height)]);
      const read = async ([name, file]) => [name, await layerFrom(file, { width, height, channels: CHANNELS[name] })];
      const drawn = await Promise.all(Object.entries(layers).map(read));
      const box = keepBox && this.box ? { ...this.box, left: this.box.left + left, top: this.box.top + top } : null;
      const bare = LAYERS.map((name) => [name, this.#layer(name, width, height)]);
      const made = { picture, box, ...Object.fromEntries([...bare, ...kept, ...drawn]) };
      const step = this.picture && (await this.#stepTo(made));
      this.#become(made);
      if (step) this.#push({ what, ...step });
      else this.#tell();
    });
  }

  #layer(name, width, height) {
    return new Layer({ width, height, channels: CHANNELS[name] });
  }

  /** What leads from here to another picture: of layers that keep their size, what differs, and else all of them. */
  async #stepTo(made) {
    if (made.mask.width === this.width && made.mask.height === this.height) {
      const deltas = LAYERS.flatMap((layer) =>
        differencesOf(this[layer], made[layer]).map((delta) => ({ layer, ...delta })),
      );
      return { before: outline(this), after: outline(made), deltas };
    }
    return { before: await snapshot(this), after: await snapshot(made) };
  }

  /**
   * Bring everything back as a snapshot, or the database, has it: all, or nothing. `lost`, if there is one, is told of
   * tiles that are damaged, and they are left out.
   */
  async restore({ picture: blob, width, height, box, ...packed }, lost = null) {
    const made = { picture: await this.#pictureOf(blob), box };
    for (const name of LAYERS) made[name] = await this.#layer(name, width, height).fill(packed[name], lost);
    this.#become(made);
  }

  /** A picture by its file, which may be the one that lies here. */
  #pictureOf(blob) {
    return blob && (blob === this.picture?.blob ? this.picture : Picture.of(blob));
  }

  #become({ picture, box, ...layers }) {
    for (const name of LAYERS) {
      const [before, after] = [this[name], layers[name]];
      const keys = [...new Set([...before.tiles.keys(), ...after.tiles.keys()])];
      const changed = keys.filter((key) => before.tiles.get(key) !== after.tiles.get(key));
      for (const key of changed) this.unsaved.tiles.add(`${name} ${key}`);
      this[name] = after;
      if (changed.length || before.width !== after.width || before.height !== after.height) this.revisions[name] += 1;
    }
    this.#show(picture, box);
  }

  #show(picture, box) {
    if (picture !== this.picture) {
      this.picture?.close();
      this.picture = picture;
      this.revisions.picture += 1;
      this.unsaved.picture = true;
    }
    this.box = box;
    this.dispatchEvent(new Event("whole"));
  }

  /** The database has nothing of this any more. Whether all steps are still here. */
  forgetSaved() {
    const tiles = LAYERS.flatMap((name) => [...this[name].tiles.keys()].map((key) => `${name} ${key}`));
    this.unsaved = { tiles: new Set(tiles), picture: true };
    return this.steps.lost();
  }

  /** Let go of what the browser keeps for it. */
  close() {
    this.picture?.close();
  }

  // Steps

  #push(step) {
    this.steps.push(step);
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }

  /** One step back. Rejects with a sentence where that step is not whole any more. */
  undo() {
    return this.inTurn(async () => {
      const { steps } = this;
      if (steps.position === steps.first) return;
      await this.#go(steps.position - 1, "before");
      steps.position -= 1;
      this.#tell();
    });
  }

  /** One step forwards again, in the same way. */
  redo() {
    return this.inTurn(async () => {
      const { steps } = this;
      if (steps.position === steps.count) return;
      await this.#go(steps.position, "after");
      steps.position += 1;
      this.#tell();
    });
  }

  async #go(n, side) {
    const step = await this.steps.open(n);
    try {
      await this.#take(step, step[side]);
    } catch {
      if (side === "before") this.steps.dropBefore();
      else this.steps.dropAfter();
      this.#tell();
      throw new Error(TORN[side]);
    }
  }

  /** One side of a step; what can fail of it comes first. */
  async #take({ deltas = [] }, values = {}) {
    if ("mask" in values) return this.restore(values);
    const picture = "picture" in values ? await this.#pictureOf(values.picture) : this.picture;
    this.#changed(deltas);
    for (const delta of deltas) this.touch(delta.layer, toggle(this[delta.layer], delta));
    if ("picture" in values) this.#show(picture, values.box);
    else if ("box" in values) this.moveBox(values.box);
    return undefined;
  }
}

/** What there is besides the layers. */
function outline({ picture, mask: { width, height }, box }) {
  return { picture: picture?.blob ?? null, width, height, box };
}

async function snapshot(all) {
  const [mask, sketch] = await Promise.all(LAYERS.map((name) => all[name].packed()));
  return { ...outline(all), mask, sketch };
}
