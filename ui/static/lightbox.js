// One picture, as large as the window: zoom, the one before and the next, and everything its file says.

import { copyText } from "./clipboard.js";
import { element, icon, iconButton, say } from "./elements.js";
import { renewSteps, stepButtons } from "./next_steps.js";
import { download } from "./stage.js";
import { studio } from "./studio.js";
import { size } from "./words.js";
import { Zoom } from "./zoom.js";

const COPIED_STAYS = 1500; // milliseconds

export class Lightbox {
  #dialog;
  #image = element("img", { draggable: false, alt: "" });
  #zoom;
  #picture = null;
  #acts = null;

  constructor() {
    this.#dialog = this.#build();
    this.#zoom = new Zoom(this.#dialog.querySelector(".view"), this.#image, {
      changed: (text) => say(this.#dialog.querySelector(".zoom"), text),
      swiped: (places) => this.#go(places),
    });
    this.#dialog.addEventListener("keydown", (event) => this.#key(event));
    document.body.append(this.#dialog);
  }

  /** @param acts {reuse(picture), reuseSeed(picture), tell(sentence)}, those of the tab */
  open(picture, acts) {
    this.#picture = picture;
    this.#acts = acts;
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#dialog.focus(); // on itself: the arrow keys turn pages at once
    this.#render();
  }

  /** The list may have grown or shrunk meanwhile. */
  renew() {
    if (this.#dialog.open) this.#renderPlace();
  }

  #build() {
    const act = (name, title, run, className) => iconButton(name, title, () => run(this.#picture), className);
    const reuse = (wish) => (picture) => (this.#dialog.close(), wish(picture));
    const tools = element(
      "div",
      { className: "tools" },
      element("span", { className: "where" }),
      element("span", { className: "zoom" }),
      iconButton("fit", "Fit to the window (0)", () => this.#zoom.fit()),
      iconButton("actual", "One to one (1)", () => this.#zoom.to(1)),
      act("download", "Download", download),
      iconButton("close", "Close (Esc)", () => this.#dialog.close(), "close"),
    );
    const view = element("div", { className: "view" }, this.#image);
    const about = element(
      "aside",
      {},
      element(
        "div",
        { className: "wishes" },
        this.#wish("sliders", "Reuse parameters", reuse((picture) => this.#acts.reuse(picture))),
        this.#wish("seed", "Reuse seed", reuse((picture) => this.#acts.reuseSeed(picture))),
      ),
      element("h2", { textContent: "Next steps" }),
      element("div", { className: "wishes steps" }, ...this.#steps()),
      element("h2", { textContent: "Parameters" }),
      element("pre", { className: "infotext", tabIndex: 0 }),
      this.#wish("copy", "Copy", () => this.#copy()),
      element("h2", { textContent: "File" }),
      element("p", { className: "file" }),
    );
    return element(
      "dialog",
      { className: "lightbox", tabIndex: -1, attributes: { "aria-label": "Picture at full size" } },
      view,
      iconButton("left", "Previous (left arrow)", () => this.#go(-1), "previous"),
      iconButton("right", "Next (right arrow)", () => this.#go(1), "next"),
      tools,
      about,
    );
  }

  /** All but the comparison lead away from here. */
  #steps() {
    const buttons = stepButtons(() => this.#picture, { className: "wish", done: (sentence) => this.#acts.tell(sentence) });
    for (const button of buttons.filter(({ dataset }) => dataset.step && dataset.step !== "compare")) {
      button.addEventListener("click", () => this.#dialog.close());
    }
    return buttons;
  }

  #wish(name, title, run) {
    const onclick = () => run(this.#picture);
    return element("button", { type: "button", className: "wish", onclick }, icon(name), element("span", { textContent: title }));
  }

  #render() {
    const picture = this.#picture;
    this.#image.src = picture.url;
    renewSteps(this.#dialog, picture);
    this.#dialog.querySelectorAll(".wishes .wish")[1].hidden = Number(picture.seed) < 0;
    this.#image.alt = picture.infotext.split("\n")[0];
    this.#zoom.of(picture);
    say(this.#dialog.querySelector(".infotext"), picture.infotext);
    say(this.#dialog.querySelector(".file"), picture.file);
    this.#renderPlace();
  }

  #renderPlace() {
    const { all, place } = this.#place();
    const words = [place >= 0 && `${place + 1} of ${all.length}`, size(this.#picture)];
    say(this.#dialog.querySelector(".where"), words.filter(Boolean).join(" · "));
    this.#dialog.querySelector(".previous").disabled = place <= 0;
    this.#dialog.querySelector(".next").disabled = place < 0 || place === all.length - 1;
  }

  #place() {
    const all = studio.everyPicture();
    return { all, place: all.findIndex((picture) => picture.url === this.#picture.url) };
  }

  #go(places) {
    const { all, place } = this.#place();
    const next = place < 0 ? null : all[place + places];
    if (!next) return;
    this.#picture = next;
    this.#render();
  }

  #key(event) {
    const acts = {
      ArrowLeft: () => this.#go(-1),
      ArrowRight: () => this.#go(1),
      0: () => this.#zoom.fit(),
      1: () => this.#zoom.to(1),
      "+": () => this.#zoom.by(1.25),
      "-": () => this.#zoom.by(0.8),
    };
    const act = event.ctrlKey || event.metaKey || event.altKey ? null : acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  async #copy() {
    const done = await copyText(this.#picture.infotext, this.#dialog);
    const words = [...this.#dialog.querySelectorAll("aside > .wish span")].at(-1);
    say(words, done ? "Copied" : "Select the text and press Ctrl C");
    setTimeout(() => say(words, "Copy"), COPIED_STAYS);
  }
}
