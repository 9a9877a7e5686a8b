// Pictures from the disk: chosen, dropped or pasted, put into the server's store of inputs when they are wanted there.

import { element, iconButton, reconcile, say } from "./elements.js";
import { putIn } from "./canvas/delivery.js";
import { fetched, ownAddressIn } from "./canvas/picture.js";

const INPUTS = "atelier/inputs";
const SHOWN = 60; // thumbnails; the others are only counted
const PICTURE = /\.(png|jpe?g|webp|gif|bmp|tiff?|avif)$/i;

const places = new Map(); // name -> {promise, resolve}

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

/** Called by Gradio's component. */
export function start(root, { name, folders }) {
  place(name).resolve(new PictureFiles(root.querySelector(".drop-place"), folders, `atelier-${name}`));
}

class PictureFiles {
  #root;
  #key;
  #list = []; // {key, title, blob, url, stored: {name, width, height} | null}
  #count = 0;

  constructor(root, folders, key) {
    this.#root = root;
    this.#key = key;
    const find = (selector) => root.querySelector(selector);
    find(".folder").hidden = !folders;
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
    this.#resume();
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
        added.push({ key: `${++this.#count}`, title: blob.name ?? "", blob, url: URL.createObjectURL(blob), stored: null });
      } catch (error) {
        this.#say(error.message);
      }
    }
    this.#set([...this.#list, ...added]);
  }

  /** All of them in the store: [{name, width, height}]. Rejects with a sentence that names the one it refuses. */
  async sent() {
    const list = this.#list; // what is added meanwhile is of the next time
    for (const one of list) {
      if (one.stored) continue;
      try {
        one.stored = await putIn(one.blob);
      } catch (error) {
        throw new Error(one.title ? `${one.title}: ${error.message}` : error.message);
      }
    }
    this.#keep();
    return list.map(({ stored }) => stored);
  }

  #kept(stored) {
    return { key: `${++this.#count}`, title: `${stored.width} × ${stored.height}`, blob: null, url: `${INPUTS}/${stored.name}`, stored };
  }

  #choose(more = {}) {
    const input = element("input", { type: "file", accept: "image/*", multiple: true, ...more });
    input.addEventListener("change", () => this.add([...input.files].filter(isPicture)));
    input.click();
  }

  #take(event, transfer) {
    if (event.type === "drop") event.preventDefault();
    const own = ownAddressIn(transfer);
    const files = own ? [own] : [...(transfer?.files ?? [])].filter(isPicture);
    if (files.length) event.preventDefault();
    if (files.length) this.add(files);
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
    const more = count > SHOWN ? `, ${SHOWN} of them shown` : "";
    say(this.#root.querySelector(".count"), count === 1 ? "1 picture" : `${count} pictures${more}`);
  }
}

const isPicture = ({ type, name }) => type.startsWith("image/") || PICTURE.test(name);
