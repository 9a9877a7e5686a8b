// What was done, step by step, so that it can be undone and done again.
//
// A step is { what, deltas } for pixels, each delta with its layer, and { what, before, after } with or without deltas
// for a box or another picture. Its deltas are packed as soon as it is done; old steps lie in the browser's database
// alone and are fetched when they are wanted.

import { isWhole } from "./layer.js";
import { pack, unpack } from "./offthread.js";

const IN_MEMORY = 40; // steps next to the position that are not dropped

export class Steps {
  #bodies = []; // a step, or null: the database has it
  #channels;
  #fetch;
  position = 0;
  first = 0; // the oldest one that can be undone
  unsaved = 0; // from this step on the database does not have them

  /** @param fetch what gives step number n from the database  @param channels of the layers, by name */
  constructor(fetch, channels) {
    [this.#fetch, this.#channels] = [fetch, channels];
  }

  get count() {
    return this.#bodies.length;
  }

  /** What there was when the page was left: of steps `first` to `count`, those that `has`(n). Whether none is missing. */
  resume({ first, count, position }, has) {
    this.#bodies = Array.from({ length: count }, () => null);
    [this.first, this.position, this.unsaved] = [first, position, count];
    return this.#keep(has);
  }

  /** The database has none of them any more. Whether all are still here. */
  lost() {
    this.unsaved = 0;
    return this.#keep((n) => this.#bodies[n] !== null);
  }

  /** Of what can be reached from the position, step by step, those that `has`(n). Whether that is all. */
  #keep(has) {
    const { first, count } = this;
    let [from, to] = [this.position, this.position];
    while (from > first && has(from - 1)) from -= 1;
    while (to < count && has(to)) to += 1;
    [this.first, this.#bodies.length] = [from, to];
    this.unsaved = Math.min(this.unsaved, to);
    return from === first && to === count;
  }

  /** What is before the position can not be undone any more. */
  dropBefore() {
    this.first = this.position;
  }

  /** What is after it can not be done again. */
  dropAfter() {
    this.#bodies.length = this.position;
    this.unsaved = Math.min(this.unsaved, this.position);
  }

  push(step) {
    this.#bodies.length = this.position;
    this.unsaved = Math.min(this.unsaved, this.position);
    this.#bodies.push(step);
    this.position += 1;
    step.packing = packed(step);
  }

  /** A step with the words of its deltas; null where the database has lost or damaged it. Rejects where it is closed. */
  async open(n) {
    const step = this.#bodies[n] ?? (await this.#fetch(n));
    const deltas = (step?.deltas ?? []).map(async (delta) => {
      const layer = delta.layer ?? step.layer; // as steps were kept once
      if (delta.words) return { ...delta, layer }; // not packed yet; it may be while others are waited for
      const { buffer } = await unpack(delta.packed);
      return { ...delta, layer, words: new Uint32Array(buffer) };
    });
    try {
      if (!step || !(step.deltas || (step.before && step.after))) return null;
      const read = await Promise.all(deltas);
      return read.every((delta) => isWhole(delta, this.#channels[delta.layer])) ? { ...step, deltas: read } : null;
    } catch {
      return null; // what is no deflated data
    }
  }

  /** Steps for the database from number `n` on, as they are now; each is ready when its packing is. */
  from(n) {
    return this.#bodies.slice(n).map((step, k) => step ?? this.#fetch(n + k));
  }

  /** The database has all steps before `count`: what is far from the position need not be kept here too. */
  saved(count) {
    for (let n = 0; n < Math.min(count, this.unsaved); n++) {
      if (Math.abs(n - this.position) > IN_MEMORY) this.#bodies[n] = null;
    }
  }
}

async function packed(step) {
  if (!step.deltas) return;
  for (const delta of step.deltas) {
    const { buffer } = delta.words;
    delta.packed = await pack(new Uint8Array(buffer));
    delete delta.words; // from here on; until then it is there, for who cannot wait
  }
}

/** A step as it is kept, now. */
export function plain(whole) {
  if (!whole) return null; // the database has lost it
  const { packing, ...step } = whole;
  return step.deltas ? { ...step, deltas: step.deltas.map((delta) => ({ ...delta })) } : step;
}

/** The same, small. */
export async function small(promised) {
  const step = await promised;
  await step?.packing;
  return plain(step);
}
