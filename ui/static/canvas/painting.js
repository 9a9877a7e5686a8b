// What is painted: picture, mask, sketch and box, and every step that led there. Knows nothing of the page.

import { Edit, Layer, toggle } from "./layer.js";
import { Picture } from "./picture.js";
import { layerFrom } from "./reading.js";
import { same } from "./rects.js";
import { Steps } from "./steps.js";

const CHANNELS = { mask: 1, sketch: 4 };
export const LAYERS = Object.keys(CHANNELS);

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
    this.steps = new Steps(fetchStep);
    this.#clear(0, 0);
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
    this.#changed(name, deltas);
    this.#push({ what, layer: name, deltas });
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

  #changed(name, deltas) {
    this.revisions[name] += 1;
    for (const { key } of deltas) this.unsaved.tiles.add(`${name} ${key}`);
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
      const before = this.picture && (await this.#snapshot());
      const [width, height] = picture ? [picture.width, picture.height] : [0, 0];
      const kept = keep.map((name) => [name, this[name].moved(left, top, width, height)]);
      const read = async ([name, file]) => [name, await layerFrom(file, { width, height, channels: CHANNELS[name] })];
      const drawn = await Promise.all(Object.entries(layers).map(read));
      const box = keepBox && this.box ? { ...this.box, left: this.box.left + left, top: this.box.top + top } : null;
      this.#clear(width, height);
      for (const [name, layer] of [...kept, ...drawn]) this[name] = layer;
      this.#show(picture, box);
      if (before) this.#push({ what, before, after: await this.#snapshot() });
      else this.#tell();
    });
  }

  async #snapshot() {
    const [mask, sketch] = await Promise.all(LAYERS.map((name) => this[name].packed()));
    return { picture: this.picture?.blob ?? null, width: this.width, height: this.height, box: this.box, mask, sketch };
  }

  /** Bring everything back as a snapshot, or the database, has it. */
  async restore({ picture: blob, width, height, box, mask, sketch }) {
    const picture = blob && (blob === this.picture?.blob ? this.picture : await Picture.of(blob));
    this.#clear(width, height);
    await Promise.all([this.mask.fill(mask), this.sketch.fill(sketch)]);
    this.#show(picture, box);
  }

  #clear(width, height) {
    for (const name of LAYERS) {
      for (const key of this[name]?.tiles.keys() ?? []) this.unsaved.tiles.add(`${name} ${key}`);
      this[name] = new Layer({ width, height, channels: CHANNELS[name] });
      this.revisions[name] += 1;
    }
  }

  #show(picture, box) {
    if (picture !== this.picture) {
      this.picture?.close();
      this.picture = picture;
      this.revisions.picture += 1;
      this.unsaved.picture = true;
    }
    for (const name of LAYERS) for (const key of this[name].tiles.keys()) this.unsaved.tiles.add(`${name} ${key}`);
    this.box = box;
    this.dispatchEvent(new Event("whole"));
  }

  // Steps

  #push(step) {
    this.steps.push(step);
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }

  undo() {
    return this.inTurn(async () => {
      if (!this.steps.position) return;
      await this.#go(await this.steps.open(this.steps.position - 1), "before");
      this.steps.position -= 1;
      this.#tell();
    });
  }

  redo() {
    return this.inTurn(async () => {
      if (this.steps.position === this.steps.count) return;
      await this.#go(await this.steps.open(this.steps.position), "after");
      this.steps.position += 1;
      this.#tell();
    });
  }

  async #go(step, side) {
    if (step.deltas) {
      this.#changed(step.layer, step.deltas);
      for (const delta of step.deltas) this.touch(step.layer, toggle(this[step.layer], delta));
    } else if ("mask" in step[side]) await this.restore(step[side]);
    else this.moveBox(step[side].box);
  }
}
