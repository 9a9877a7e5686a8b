// The Models tab: ties shelves, grid, drawer and panels together.

import { element, icon, say } from "./elements.js";
import { CardPage } from "./extension_cards.js";
import { slots } from "./extension_slots.js";
import { AddPanel } from "./models_add.js";
import { Cards } from "./models_card.js";
import { Details } from "./models_details.js";
import { empty } from "./models_empty.js";
import { FoldersPanel } from "./models_folders.js";
import { attempt, complain } from "./models_forms.js";
import { Grid } from "./models_grid.js";
import { MemoryPanel } from "./models_memory.js";
import { MergePanel } from "./models_merge.js";
import { ORDERS, Shelf, SHELVES } from "./models_shelves.js";
import { Side } from "./models_side.js";
import { ask, models } from "./models_store.js";
import { act, chooseWith, lorasInPrompt, placeOf, useOf, weigh } from "./models_use.js";
import { showWorks } from "./models_works.js";
import { chips } from "./prompt_chips.js";
import { prompts } from "./prompt_tokens.js";

const KEY = "atelier-models";

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

/** The shelf that is asked for before the tab was ever opened. */
let asked = "";
window.addEventListener("atelier-shelf", ({ detail }) => (asked = detail));

/** @param wishes {choose(name)}: told to Python */
export function start(root, wishes) {
  new Tab(root.querySelector(".models"), wishes);
}

class Tab {
  #root;
  #looking = { shelf: "checkpoints", folder: "", order: "name", size: 170, ...kept(), words: "", panel: "" };
  #shelf = new Shelf();
  #shown = [];
  #inPrompt = [];
  #clicked = ""; // the id of the card that was clicked last
  #panels;

  constructor(root, wishes) {
    this.#root = root;
    chooseWith(wishes.choose);
    if (!SHELVES.some(({ name }) => name === this.#looking.shelf)) this.#looking.shelf = "checkpoints";
    if (asked) Object.assign(this.#looking, { shelf: asked, folder: "" });
    const all = this.#root.querySelectorAll(".panel");
    const places = Object.fromEntries([...all].map((place) => [place.dataset.panel, place]));
    this.#panels = {
      add: new AddPanel(places.add),
      merge: new MergePanel(places.merge),
      folders: new FoldersPanel(places.folders),
      memory: new MemoryPanel(places.memory),
    };
    this.details = new Details(root.querySelector(".drawer"));
    this.side = new Side(root.querySelector(".side"), {
      shelf: (name) => this.#go({ shelf: name, folder: "", panel: "" }),
      folder: (path) => this.#go({ folder: path === this.#looking.folder ? "" : path, panel: "" }),
      panel: (name) => this.#panel(name),
    });
    this.grid = new Grid(root.querySelector(".grid"), this.#parts());
    showWorks(root.querySelector(".main > .works"), (work) => work.kind === "convert");
    chips(root.querySelector(".in-prompt .chips"), (number) => (root.querySelector(".in-prompt").hidden = number === 0));
    slots.then(({ pages }) => this.#pages(pages));
    this.#bar();
    this.#listen();
    models.watch();
    this.render();
  }

  #parts() {
    const cards = new Cards(
      {
        act: (model, event) => this.#act(model, event),
        details: (model, event) => (event?.type !== "dblclick" || model.id === this.#clicked) && this.details.show(model),
        weigh: (model, weight) => weigh(placeOf(model), weight),
        convert: (model) => this.#convert(model),
      },
      (model) => useOf(model, this.#inPrompt),
    );
    return {
      make: (model) => cards.make(model),
      renew: (card, model) => cards.renew(card, model),
      // With the drawer open, it follows the card that is walked to.
      active: (model) => this.details.open && model.id !== this.details.open && this.details.follow(model),
    };
  }

  #bar() {
    const [words, order, size] = ["search", "order", "size"].map((name) => this.#root.querySelector(`#models_${name}`));
    const again = this.#root.querySelector(".again");
    order.append(...Object.entries(ORDERS).map(([value, text]) => new Option(text, value)));
    order.value = this.#looking.order in ORDERS ? this.#looking.order : "name";
    size.value = this.#looking.size;
    this.grid.wanted = Number(size.value);
    again.append(icon("renew"));
    words.addEventListener("input", () => {
      this.#looking.words = words.value;
      this.#browse();
    });
    words.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") event.preventDefault(), this.grid.focus();
      if (event.key === "Escape" && words.value) event.preventDefault(), event.stopPropagation(), this.#clear();
    });
    order.addEventListener("change", () => this.#go({ order: order.value }));
    size.addEventListener("input", () => {
      this.#looking.size = Number(size.value);
      this.grid.wanted = this.#looking.size;
      this.#keep();
    });
    again.addEventListener("click", async () => {
      again.ariaBusy = "true";
      await attempt(this.#root.querySelector(".browse > .complaint"), () => ask("/refresh", {}));
      await models.load();
      again.ariaBusy = "false";
    });
    this.#root.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.target.matches("input, textarea, select")) return;
      event.preventDefault();
      words.focus();
    });
  }

  #listen() {
    models.addEventListener("change", () => this.render());
    models.addEventListener("works", () => this.side.renderWorks());
    for (const news of ["state", "checkpoint"]) models.addEventListener(news, () => this.#renew());
    prompts.addEventListener("change", () => this.#renew());
    window.addEventListener("atelier-shelf", ({ detail }) => this.#go({ shelf: detail, folder: "", panel: "" }));
  }

  /** Look at something else. */
  #go(change) {
    Object.assign(this.#looking, change);
    this.#keep();
    this.render();
    if ("shelf" in change || "folder" in change) this.#toTop();
  }

  #panel(name) {
    const before = this.#looking.panel;
    this.#looking.panel = name === before ? "" : name;
    const [kind] = SHELVES.find((shelf) => shelf.name === this.#looking.shelf).kinds;
    if (name === "add") this.#panels.add.kind = kind;
    if (this.#looking.panel) {
      this.#panels[name].open();
      if (this.details.open) this.details.close();
    }
    this.render();
    this.#toTop();
  }

  /** Pages of cards that extensions have: panels of their own, below the shelves. */
  #pages(pages) {
    for (const slot of pages) {
      const name = `${slot.id} ${slot.number}`;
      const place = element("div", { className: "panel", hidden: true, data: { panel: name } });
      this.#root.querySelector(".main").append(place);
      this.#panels[name] = new CardPage(place, slot);
    }
    this.side.addPages(pages);
    this.render();
  }

  #clear() {
    this.#root.querySelector("#models_search").value = "";
    this.#go({ words: "", folder: "" });
  }

  #toTop() {
    const top = this.#root.getBoundingClientRect().top;
    if (top < 0) window.scrollBy(0, top);
  }

  #keep() {
    const { shelf, folder, order, size } = this.#looking;
    try {
      localStorage.setItem(KEY, JSON.stringify({ shelf, folder, order, size }));
    } catch {
      // storage is forbidden or full: then a reload forgets
    }
  }

  render() {
    const { panel } = this.#looking;
    this.#root.querySelector(".browse").hidden = panel !== "";
    for (const place of this.#root.querySelectorAll(".panel")) place.hidden = place.dataset.panel !== panel;
    this.side.render(this.#looking);
    if (!panel) this.#browse();
  }

  /** What the search, the shelf and the folder leave, which a keystroke changes and nothing beside it. */
  #browse() {
    this.#inPrompt = lorasInPrompt();
    this.#shown = this.#shelf.pick(models.list, this.#looking);
    this.grid.show(this.#shown);
    this.#say();
  }

  #say() {
    const number = this.#shown.length;
    const waiting = models.waiting ? ` · ${models.waiting.toLocaleString()} to look into` : "";
    say(this.#root.querySelector(".bar .count"), models.loaded && number ? `${number.toLocaleString()}${waiting}` : "");
    complain(this.#root.querySelector(".browse > .complaint"), models.problem);
    const place = this.#root.querySelector(".empty");
    place.hidden = !models.loaded || number > 0;
    if (place.hidden) return place.replaceChildren();
    const acts = { panel: (name) => this.#panel(name), clear: () => this.#clear() };
    return place.replaceChildren(...empty(this.#looking, acts, models.waiting));
  }

  /** The same models, used in another way. */
  #renew() {
    this.#inPrompt = lorasInPrompt();
    this.grid.renew();
  }

  /** What does not fit is opened, not used; what is in use can always be taken out. */
  #act(model, event) {
    // The drawer makes the cards move: the second click of two may meet another one.
    if (event.detail > 1 && model.id !== this.#clicked) return;
    this.#clicked = model.id;
    const misfit = models.misfits.has(model.id) && !useOf(model).on;
    const done = !misfit && act(model, { negative: event.ctrlKey || event.metaKey });
    if (!done) this.details.show(model);
  }

  async #convert(model) {
    await attempt(this.#root.querySelector(".browse > .complaint"), () => ask(`/${model.id}/convert`, {}));
    await models.loadWorks();
  }
}
