// What an extension's script is handed: its module exports `init(host)`, which is called once.
//
// A window that is open when an extension is switched off keeps what its script did until it is loaded anew.

import { canvasOf } from "./canvas/canvas.js";
import { element } from "./elements.js";
import { slots } from "./extension_slots.js";
import { toast } from "./models_toast.js";
import { addCompleter } from "./prompt_completion.js";
import { rewriteAside } from "./prompt_edit.js";
import { areaOf } from "./prompt_fields.js";
import { putIn } from "./prompt_tokens.js";
import { studio } from "./studio.js";
import { openTab, painter } from "./tabs.js";

const FAILED = "Switch it off in Extensions, or tell its author.";

/** Tell that something of an extension failed, and let all else go on. */
function failed(title, error) {
  console.info(error);
  toast(`The script of ${title} failed: ${error?.message ?? error}. ${FAILED}`);
}

class Host {
  #title;

  constructor({ id, title }) {
    this.id = id;
    this.#title = title;
  }

  /** Ask the extension's own routes: `path` is what follows ``/ext/<id>/``; the rest is as for `fetch`. */
  fetch(path, options = {}) {
    return fetch(new URL(`ext/${this.id}/${path}`, document.baseURI), options);
  }

  /** The prompt of a tab, "txt2img", "img2img" or "inpaint"; without a name that of the one that is open. */
  prompt(tab = "") {
    return Object.assign(this.#words(tab, "prompt"), { negative: this.#words(tab, "negative") });
  }

  #words(tab, which) {
    const area = () => areaOf(tab || painter(), which);
    const there = () => {
      if (area()) return area();
      throw new Error(`the tab ${tab || painter()} was not opened yet, so its prompt cannot be changed`);
    };
    return {
      get: () => area()?.value ?? "",
      /** As if it had been typed, in a tab that is open as one step of the browser's undo. Throws before its tab was
       * ever opened. */
      set: (text) => rewriteAside(there(), text),
      /** Where the caret is, parted from its neighbours by commas; else as `set`. */
      insert: (words) => {
        const at = there();
        rewriteAside(at, putIn(at.value, at.selectionEnd, words, { commas: true }).text);
      },
      /** Call `hear(text)` whenever it is different, whoever changed it; returns the function that ends it. */
      onInput: (hear) => this.#onWords(() => area()?.value ?? "", hear),
    };
  }

  #onWords(text, hear) {
    let before = text();
    const look = this.#safe(() => {
      const now = text();
      if (now === before) return;
      before = now;
      hear(now);
    });
    // What Gradio fills in is told by the second; without a name another tab is another prompt.
    const news = [[document, "input"], [window, "atelier-prompts"], [window, "atelier-tab"]];
    for (const [place, name] of news) place.addEventListener(name, look);
    return () => news.forEach(([place, name]) => place.removeEventListener(name, look));
  }

  /** Offer words while somebody types a prompt: see `addCompleter` of prompt_completion.js. */
  addCompleter(find) {
    return addCompleter(find, (error) => failed(this.#title, error));
  }

  /** The pictures of this person, the newest first: {job, index, url, width, height, seed, infotext}. */
  get gallery() {
    return {
      get current() {
        return studio.newest;
      },
      get pictures() {
        return studio.newestFirst();
      },
      onChange: (hear) => {
        const named = (pictures) => pictures.map(({ url }) => url).join("\n");
        let before = named(studio.newestFirst());
        const listen = this.#safe(() => {
          const now = studio.newestFirst();
          if (named(now) === before) return;
          before = named(now);
          hear(now);
        });
        studio.addEventListener("change", listen);
        return () => studio.removeEventListener("change", listen);
      },
    };
  }

  /** The canvas of "img2img" or "inpaint", as soon as its tab was opened. */
  async canvas(tab) {
    const canvas = await canvasOf(tab);
    return {
      get picture() {
        return canvas.picture;
      },
      get size() {
        return canvas.state.pictureSize;
      },
      load: (source) => canvas.load(source),
      /** The mask as a PNG in grey, or null where nothing is painted. */
      mask: () => canvas.maskFile(),
      /** Add a mask, a picture in grey of the picture's size, to what is painted: one step that can be undone. */
      paint: (mask, title = this.#title) => canvas.paintMask(mask, title),
      onChange: (hear) => {
        const listen = this.#safe(() => hear());
        canvas.addEventListener("change", listen);
        return () => canvas.removeEventListener("change", listen);
      },
    };
  }

  /** The tab that is open, if it makes pictures; else "". */
  get tab() {
    return openTab();
  }

  /** Call `hear(tab)` whenever another tab is opened; returns the function that ends it. */
  onTab(hear) {
    const listen = this.#safe(() => hear(openTab()));
    addEventListener("atelier-tab", listen);
    return () => removeEventListener("atelier-tab", listen);
  }

  /** Tell the person something. */
  notify(sentence) {
    toast(`${this.#title}: ${sentence}`);
  }

  /** Add rules to the page's styles; returns the function that takes them away. */
  addStyle(css) {
    const style = element("style", { textContent: css, data: { extension: this.id } });
    document.head.append(style);
    return () => style.remove();
  }

  #safe(hear) {
    return (event) => {
      try {
        hear(event);
      } catch (error) {
        failed(this.#title, error);
      }
    };
  }
}

/** One that fails does not stop another. */
async function begin({ id, title, src }) {
  try {
    const module = await import(new URL(src, document.baseURI));
    if (typeof module.init !== "function") throw new Error("it exports no function init(host)");
    await module.init(new Host({ id, title }));
  } catch (error) {
    failed(title, error);
  }
}

slots.then(({ modules }) => modules.forEach(begin));
