// What was done, step by step, so that it can be undone and done again.
//
// A step is { what, layer, deltas } for pixels, or { what, before, after } for a box or a whole painting. Its deltas
// are packed as soon as it is done; old steps lie in the browser's database alone and are fetched when they are wanted.

import { pack, unpack } from "./offthread.js";

const IN_MEMORY = 40; // steps next to the position that are not dropped

export class Steps {
  #bodies = []; // a step, or null: the database has it
  #fetch;
  position = 0;
  unsaved = 0; // from this step on the database does not have them

  /** @param fetch what gives step number n from the database */
  constructor(fetch) {
    this.#fetch = fetch;
  }

  get count() {
    return this.#bodies.length;
  }

  /** What there was when the page was left. */
  resume(count, position) {
    this.#bodies = Array.from({ length: count }, () => null);
    this.position = position;
    this.unsaved = count;
  }

  push(step) {
    this.#bodies.length = this.position;
    this.unsaved = Math.min(this.unsaved, this.position);
    this.#bodies.push(step);
    this.position += 1;
    step.packing = packed(step);
  }

  /** A step with the words of its deltas. */
  async open(n) {
    const step = this.#bodies[n] ?? (await this.#fetch(n));
    if (!step.deltas) return step;
    const deltas = step.deltas.map(async (delta) => {
      if (delta.words) return { ...delta }; // not packed yet; it may be while others are waited for
      const { buffer } = await unpack(delta.packed);
      return { ...delta, words: new Uint32Array(buffer) };
    });
    return { ...step, deltas: await Promise.all(deltas) };
  }

  /** Steps for the database, as they are now; each is ready when its packing is. */
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
export function plain({ packing, ...step }) {
  return step.deltas ? { ...step, deltas: step.deltas.map((delta) => ({ ...delta })) } : step;
}

/** The same, small. */
export async function small(promised) {
  const step = await promised;
  await step.packing;
  return plain(step);
}
