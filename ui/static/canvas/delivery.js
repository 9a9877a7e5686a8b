// What the server gets: only what changed since it was sent.

import { askAt } from "../json_door.js";
import { encode } from "./png.js";

const ADDRESS = "atelier/inputs"; // relative: it works below a proxy's path too
const PARTS = ["picture", "mask", "sketch"];

/**
 * Put a picture's bytes into the server's store: {name, width, height}. Rejects with the server's sentence; the error is
 * marked `refused` where it was the picture that the server did not take.
 */
export async function putIn(blob) {
  try {
    return await askAt(ADDRESS, blob);
  } catch (error) {
    throw Object.assign(error, { refused: error.status > 0 && error.status < 500 });
  }
}

/** What the server calls those of some pictures, Blobs or addresses by part, that came from its store. */
export function namesIn(sources) {
  const named = Object.entries(sources).map(([part, source]) => [part, /\/inputs\/([0-9a-f]{64})$/.exec(String(source))?.[1]]);
  return Object.fromEntries(named.filter(([, name]) => name));
}

export class Delivery {
  #painting;
  #sent = {}; // part -> {revision, name}
  #pictures = new WeakMap(); // Blob -> name: one that came back by undoing was sent already

  constructor(painting) {
    this.#painting = painting;
  }

  /** The names that the database keeps: those of what has not changed since. */
  get names() {
    const current = PARTS.filter((part) => this.#sent[part]?.revision === this.#painting.revisions[part]);
    return Object.fromEntries(current.map((part) => [part, this.#sent[part].name]));
  }

  set names(names) {
    for (const [part, name] of Object.entries(names))
      this.#sent[part] = { name, revision: this.#painting.revisions[part] };
  }

  /** @param again send all of it, because the server does not have it any more */
  async commit(again) {
    const painting = this.#painting;
    const { width, height, box } = painting;
    const revisions = { ...painting.revisions };
    if (again) [this.#sent, this.#pictures] = [{}, new WeakMap()];
    // All begin in this moment: what is painted while they are sent is of the next time.
    const names = await Promise.all(PARTS.map((part) => this.#send(part, revisions[part])));
    const delivered = Object.fromEntries(PARTS.map((part, k) => [part, names[k]]));
    return { ...delivered, box: box && { ...box }, pictureSize: [width, height] };
  }

  async #send(part, revision) {
    if (this.#sent[part]?.revision === revision) return this.#sent[part].name;
    const content = this.#content(part);
    const known = content && this.#pictures.get(content);
    const name = known || (content ? (await putIn(await content)).name : "");
    if (part === "picture" && content) this.#pictures.set(content, name);
    this.#sent[part] = { revision, name };
    return name;
  }

  #content(part) {
    const { picture, [part]: content } = this.#painting;
    if (part === "picture") return picture?.blob ?? null;
    return content.empty ? null : encode(content);
  }
}
