// The foot of the canvas: how large everything is, whether it is saved, and the view's buttons; and what went wrong.

import { element, iconButton, say } from "../elements.js";
import { size } from "../words.js";

const PROBLEM_STAYS = 9000; // milliseconds
const SAVED = {
  saved: "Saved in this browser",
  waiting: "Saving",
  again: "Not saved yet, trying again",
  failed: "Not saved: this browser's storage is full or forbidden",
};

export class Foot {
  saved = "saved";
  #root;
  #painting;
  #view;
  #hiding = 0;

  constructor(root, canvas, painting) {
    [this.#root, this.#painting, this.#view] = [root, painting, canvas.view];
    const zoom = (factor) => () => this.#view.zoomTo(this.#view.scale * factor);
    root.querySelector(".easel-foot .acts").append(
      iconButton("image", "Another picture", () => canvas.choose()),
      iconButton("less", "Zoom out (-)", zoom(0.8), "narrower"),
      element("span", { className: "zoom" }),
      iconButton("add", "Zoom in (+)", zoom(1.25), "wider"),
      iconButton("fit", "Fit (0)", () => this.#view.fit()),
      iconButton("actual", "One to one (1)", () => this.#view.zoomTo(1), "exact"),
      iconButton("expand", "Full screen (F)", () => canvas.toggleWhole()),
    );
    painting.addEventListener("box", () => this.render());
    this.#view.addEventListener("moved", () => this.render());
  }

  render() {
    const { width, height, box } = this.#painting;
    const words = [width && size({ width, height }), box && `box ${size(box)}`, width && SAVED[this.saved]];
    say(this.#root.querySelector(".easel-foot .what"), words.filter(Boolean).join(" · "));
    say(this.#root.querySelector(".easel-foot .zoom"), `${Math.round(this.#view.scale * 100)} %`);
  }

  /** @param how a key of `SAVED` */
  tell(how) {
    this.saved = how;
    this.render();
  }

  complain({ message }) {
    const place = this.#root.querySelector(".easel-problem");
    say(place, message);
    place.hidden = false;
    clearTimeout(this.#hiding);
    this.#hiding = setTimeout(() => (place.hidden = true), PROBLEM_STAYS);
  }

  close() {
    clearTimeout(this.#hiding);
  }
}
