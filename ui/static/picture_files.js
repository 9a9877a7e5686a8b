// Pictures from the disk: chosen, dropped or pasted, put into the server's store of inputs when they are wanted there.

import { element, iconButton, reconcile, say } from "./elements.js";
import { putIn } from "./canvas/delivery.js";
import { fetched, ownAddressIn } from "./canvas/picture.js";

const INPUTS = "atelier/inputs";
const SHOWN = 60; // thumbnails; the others are only counted
const PICTURE = /\.(png|jpe?g|webp|gif|bmp|tiff?|avif)$/i;

const places = new Map(); // name -> {promise, resolve, files}

function place(name) {
  if (!places.has(name)) {
    const made = {};
    made.promise = new Promise((resolve) => (made.resolve = resolve));
    places.set(name, made);
  }
  return places.get(name);
}

/** The pictures of that name, as soon as their tab was opened. */
export const filesOf = (name) => place(name).promise;

/** Called by Gradio's component, and again where Gradio builds it anew: then what was chosen stays. */
export function start(root, { name, ...offers }) {
  const before = places.get(name)?.files;
  if (before) places.delete(name);
  const files = new PictureFiles(root.querySelector(".drop-place"), `atelier-${name}`, offers, before?.list);
  place(name).files = files;
  place(name).resolve(files);
}

class PictureFiles {
  #root;
  #key;
  #most;
  #list = []; // {key, title, blob, url, stored: {name, width, height} | null}

  /** @param most how many there may be  @param ask what stands there instead of the usual words */
  constructor(root, key, { most, folders, ask }, list) {
    [this.#root, this.#key, this.#most] = [root, key, most];
    const find = (selector) => root.querySelector(selector);
    find(".folder").hidden = !folders;
    if (ask) say(find(".ask"), ask);
    if (most === 1) say(find(".choose"), "Choose a file");
    find(".choose").addEventListener("click", () => this.#choose());
    find(".folder").addEventListener("click", () => this.#choose({ webkitdirectory: true }));
    find(".none").addEventListener("click", () => this.#set([]));
    root.addEventListener("dragover", (event) => event.preventDefault());
    root.addEventListener("drop", (event) => this.#take(event, event.dataTransfer));
    root.addEventListener("paste", (event) => this.#take(event, event.clipboardData));
    for (const name of ["dragenter", "dragleave", "drop"]) {
      root.addEventListener(name, (event) => {
        if (name !== "dragleave" || !root.contains(event.relatedTarget)) root.toggleAttribute("data-over", name === "dragenter");
      });
    }
    if (list) this.#set(list);
    else this.#resume();
  }

  get list() {
    return this.#list;
  }

  /** Take pictures that the store has already: [{name, width, height}]. */
  show(stored) {
    this.#set(stored.map((one) => this.#kept(one)));
  }

  /** Add pictures: Files, Blobs, or addresses of this site. */
  async add(sources) {
    this.#say("");
    const added = [];
    for (const source of sources) {
      try {
        const blob = typeof source === "string" ? await fetched(source) : source;
        added.push({ key: nextKey(), title: blob.name ?? "", blob, url: URL.createObjectURL(blob), stored: null });
      } catch (error) {
        this.#say(error.message);
      }
    }
    this.#set(this.#most === 1 ? [...this.#list, ...added].slice(-1) : [...this.#list, ...added]);
  }

  /**
   * All of them in the store: [{title, name, width, height}], or {title, problem} for one that is refused. Rejects with
   * a sentence where there are too many, before any is sent, and where the server cannot be reached.
   */
  async sent() {
    const list = this.#list; // what is added meanwhile is of the next time
    if (list.length > this.#most) throw new Error(tooMany(this.#most, list.length));
    const all = [];
    for (const [place, one] of list.entries()) {
      if (!one.stored && list.length > 1) this.#tell(`Sending ${place + 1} of ${list.length}`);
      all.push({ title: one.title, ...(one.stored ?? (await refusable(one))) });
    }
    this.#keep();
    this.#tell();
    return all;
  }

  #kept(stored) {
    return { key: nextKey(), title: `${stored.width} × ${stored.height}`, blob: null, url: `${INPUTS}/${stored.name}`, stored };
  }

  #choose(more = {}) {
    const input = element("input", { type: "file", accept: "image/*", multiple: this.#most > 1, ...more });
    input.addEventListener("change", () => this.add([...input.files].filter(isPicture)));
    input.click();
  }

  #take(event, transfer) {
    if (event.type === "drop") event.preventDefault();
    const own = ownAddressIn(transfer);
    const files = own ? [own] : [...(transfer?.files ?? [])].filter(isPicture);
    if (files.length) event.preventDefault();
    if (files.length) this.add(this.#most === 1 ? files.slice(0, 1) : files);
    else if (event.type === "drop") this.#say("What was dropped is no picture.");
  }

  #set(list) {
    for (const { key, blob, url } of this.#list) if (blob && !list.some((one) => one.key === key)) URL.revokeObjectURL(url);
    this.#list = list;
    this.#keep();
    this.#render();
  }

  #say(sentence) {
    const problem = this.#root.querySelector(".problem");
    problem.hidden = !sentence;
    say(problem, sentence);
  }

  /** What the store has survives a reload. */
  #keep() {
    const stored = this.#list.map((one) => one.stored).filter(Boolean);
    try {
      sessionStorage.setItem(this.#key, JSON.stringify(stored));
    } catch {
      // storage is forbidden or full: then a reload forgets
    }
  }

  #resume() {
    try {
      this.show(JSON.parse(sessionStorage.getItem(this.#key)) ?? []);
    } catch {
      this.#render(); // storage is forbidden, or something else wrote there
    }
  }

  #render() {
    const count = this.#list.length;
    reconcile(this.#root.querySelector(".chosen"), this.#list.slice(0, SHOWN), {
      key: ({ key }) => key,
      make: (one) =>
        element(
          "li",
          { title: one.title },
          element("img", { src: one.url, alt: one.title, loading: "lazy", decoding: "async" }),
          iconButton("close", `Remove ${one.title || "this picture"}`, () => this.#set(this.#list.filter((other) => other.key !== one.key)), "end"),
        ),
    });
    this.#root.querySelector(".foot").hidden = count === 0;
    this.#tell();
    if (count > this.#most) this.#say(tooMany(this.#most, count));
  }

  /** Say how many there are, or what is happening to them. */
  #tell(words = "") {
    const count = this.#list.length;
    const more = count > SHOWN ? `, ${SHOWN} of them shown` : "";
    say(this.#root.querySelector(".count"), words || (count === 1 ? "1 picture" : `${count} pictures${more}`));
  }
}

const tooMany = (most, count) => `${most.toLocaleString("en")} pictures may be queued at once, not ${count.toLocaleString("en")}.`;

let keys = 0;
const nextKey = () => `${(keys += 1)}`;

/** Put one in: {name, width, height}, or {problem} where the server refuses it. */
async function refusable(one) {
  try {
    one.stored = await putIn(one.blob);
    return one.stored;
  } catch (error) {
    if (!error.refused) throw error;
    return { problem: error.message };
  }
}

const isPicture = ({ type, name }) => type.startsWith("image/") || PICTURE.test(name);
