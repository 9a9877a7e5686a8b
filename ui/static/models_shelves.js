// How the list is looked through: by shelf, by folder, by words, and in which order.

export const SHELVES = [
  { name: "checkpoints", title: "Checkpoints", one: "checkpoint", kinds: ["checkpoint"] },
  { name: "loras", title: "LoRAs", one: "LoRA", kinds: ["lora"] },
  { name: "embeddings", title: "Embeddings", one: "embedding", kinds: ["embedding"] },
  { name: "vaes", title: "VAEs", one: "VAE", kinds: ["vae"] },
  { name: "controlnet", title: "ControlNet", one: "ControlNet", kinds: ["controlnet", "t2i_adapter", "ip_adapter"] },
  { name: "upscalers", title: "Upscalers", one: "upscaler", kinds: ["upscaler"] },
  { name: "other", title: "Other", one: "model", kinds: ["text_encoder", "unknown"] },
];

export const ORDERS = {
  name: "Name",
  newest: "Newest first",
  size: "Largest first",
  family: "Family",
};

const alphabet = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const texts = new WeakMap();

/** What it is of or for, in a few words. */
export function familyOf(model) {
  return model.base || model.family;
}

function shelfOf(model) {
  return SHELVES.find((shelf) => shelf.kinds.includes(model.kind)) ?? SHELVES.at(-1);
}

/** Everything the search reads of a model. */
function textOf(model) {
  let text = texts.get(model);
  if (text === undefined) {
    text = [model.name, model.file, model.title, familyOf(model), model.trigger, model.token].join(" ").toLowerCase();
    texts.set(model, text);
  }
  return text;
}

const ORDERED = {
  name: (a, b) => alphabet.compare(a.label, b.label) || alphabet.compare(a.name, b.name),
  newest: (a, b) => b.modified - a.modified,
  size: (a, b) => b.size - a.size,
  family: (a, b) => alphabet.compare(familyOf(a) || "\uffff", familyOf(b) || "\uffff") || ORDERED.name(a, b),
};

/** Looks through one list again and again, and sorts it only when list, shelf or order are others. */
export class Shelf {
  #list = null;
  #key = "";
  #sorted = [];

  /** The models that are wanted: on a shelf, in a folder or below it, with every word, in an order. */
  pick(list, { shelf, folder, words, order }) {
    const key = `${shelf} ${order}`;
    if (list !== this.#list || key !== this.#key) {
      this.#sorted = list.filter((model) => shelfOf(model).name === shelf).sort(ORDERED[order] ?? ORDERED.name);
      [this.#list, this.#key] = [list, key];
    }
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    return this.#sorted.filter(
      (model) => within(model.folder, folder) && wanted.every((word) => textOf(model).includes(word)),
    );
  }
}

function within(path, folder) {
  return !folder || path === folder || path.startsWith(`${folder}/`);
}

/** How many models stand on each shelf: {name: number}. */
export function counts(list) {
  const found = Object.fromEntries(SHELVES.map(({ name }) => [name, 0]));
  for (const model of list) found[shelfOf(model).name]++;
  return found;
}

/** The folders of a shelf, each with how many models lie in it and below it, as far as they are unfolded down to
 *  `open`: [{path, label, depth, count}]. */
export function folders(list, shelf, open) {
  const found = new Map();
  for (const model of list) {
    if (shelfOf(model).name !== shelf) continue;
    const parts = model.folder.split("/").filter(Boolean);
    for (let depth = 1; depth <= parts.length; depth++) {
      const path = parts.slice(0, depth).join("/");
      found.set(path, (found.get(path) ?? 0) + 1);
    }
  }
  const paths = [...found.keys()].sort((a, b) => alphabet.compare(a.replaceAll("/", "\u0001"), b.replaceAll("/", "\u0001")));
  const shown = paths.filter((path) => {
    const parent = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
    return parent === "" || within(open, parent);
  });
  return shown.map((path) => ({
    path,
    label: path.slice(path.lastIndexOf("/") + 1),
    depth: path.split("/").length - 1,
    count: found.get(path),
  }));
}
