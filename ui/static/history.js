// The pictures of the last jobs, as a contact sheet.

import { element, fetchAgain, iconButton, reconcile, say } from "./elements.js";
import { menuButton } from "./next_steps.js";
import { download } from "./stage.js";
import { studio } from "./studio.js";
import { promptOf } from "./words.js";

const MOST = 400; // tiles; older pictures stay in their folder

export class History {
  #root;
  #acts;

  /** @param acts {pin(picture), open(picture), reuse(picture), tell(sentence)} */
  constructor(root, acts) {
    this.#root = root;
    this.#acts = acts;
    // What could not be fetched may only have had no network.
    studio.addEventListener("open", () => {
      for (const image of fetchAgain(root.querySelector(".sheet"))) image.closest("figure").classList.remove("gone");
    });
  }

  render(shown) {
    const pictures = studio.everyPicture();
    reconcile(this.#root.querySelector(".sheet"), pictures.slice(0, MOST), {
      key: (picture) => picture.url,
      make: (picture) => this.#tile(picture),
      renew: (tile, picture) => tile.setAttribute("aria-current", String(picture.url === shown?.url)),
    });
    this.#root.querySelector(".none").hidden = pictures.length > 0;
    say(this.#root.querySelector(".count"), pictures.length > 1 ? `${pictures.length} pictures` : "");
  }

  #tile(picture) {
    const title = promptOf(studio.job(picture.job));
    const image = element("img", { src: `${picture.url}?thumb=256`, alt: title, loading: "lazy", decoding: "async" });
    image.addEventListener("error", () => figure.classList.add("gone"));
    const pick = element(
      "button",
      { type: "button", className: "pick", title: Number(picture.seed) < 0 ? title : `${title}\nSeed ${picture.seed}`, onclick: () => this.#acts.pin(picture) },
      image,
    );
    pick.addEventListener("dblclick", () => this.#acts.open(picture));
    const acts = element(
      "span",
      { className: "acts" },
      iconButton("sliders", "Reuse parameters", () => this.#acts.reuse(picture)),
      iconButton("download", "Download", () => download(picture)),
      menuButton(picture, this.#acts.tell),
    );
    const figure = element("figure", {}, pick, acts);
    return figure;
  }
}
