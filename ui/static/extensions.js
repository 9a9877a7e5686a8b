// The Extensions tab: ties shelves, cards, drawer and the form for installing together.

import { element, icon, reconcile, say } from "./elements.js";
import { Cards } from "./extensions_card.js";
import { Details } from "./extensions_details.js";
import { InstallPanel } from "./extensions_install.js";
import { ask, extensions } from "./extensions_store.js";
import { attempt, button, complain } from "./models_forms.js";

const SHELVES = [
  { name: "all", title: "All", has: () => true },
  { name: "on", title: "On", has: ({ state }) => state === "on" },
  { name: "off", title: "Off", has: ({ state }) => state === "off" },
  { name: "broken", title: "With problems", has: ({ state, problem, failures }) => state === "broken" || problem || failures.length },
  { name: "installed", title: "Installed", has: ({ bundled }) => !bundled },
];

const NONE = {
  on: ["Nothing is on", "Switch one on, and this window offers to show what it brings."],
  broken: ["Nothing is wrong", "What fails stands here with its reason."],
  installed: ["Only what ships with Atelier", "Extensions of others are code that runs on this machine: install what you trust."],
};

export function start(root) {
  new Tab(root.querySelector(".extensions"));
}

class Tab {
  #root;
  #looking = { shelf: "all", words: "", panel: "" };
  #cards;
  #install;

  constructor(root) {
    this.#root = root;
    this.details = new Details(root.querySelector(".drawer"));
    this.#cards = new Cards({ open: (extension) => this.details.show(extension) });
    this.#install = new InstallPanel(root.querySelector('[data-panel="install"]'));
    this.#bar();
    this.#side();
    for (const news of ["change", "works"]) extensions.addEventListener(news, () => this.render());
    // The list is asked for when the tab is first opened.
    new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && extensions.watch()).observe(root);
    this.render();
  }

  #bar() {
    const [words, again] = [this.#root.querySelector("#extensions_search"), this.#root.querySelector(".again")];
    words.addEventListener("input", () => this.#go({ words: words.value }));
    again.append(icon("renew"));
    again.addEventListener("click", async () => {
      again.ariaBusy = "true";
      const said = await attempt(this.#complaint, () => ask("/rescan", {}));
      if (said) extensions.take(said);
      again.ariaBusy = "false";
    });
  }

  get #complaint() {
    return this.#root.querySelector(".browse > .complaint");
  }

  #side() {
    const open = button("", () => this.#go({ panel: this.#looking.panel ? "" : "install" }));
    open.className = "entry";
    open.replaceChildren(icon("download"), element("span", { className: "words", textContent: "Install" }));
    this.#root.querySelector(".panels").append(open);
  }

  #go(change) {
    Object.assign(this.#looking, change);
    if ("panel" in change && change.panel) {
      this.#install.open();
      if (this.details.open) this.details.close();
    }
    this.render();
  }

  #shown() {
    const { has } = SHELVES.find(({ name }) => name === this.#looking.shelf);
    const wanted = this.#looking.words.toLowerCase().split(/\s+/).filter(Boolean);
    return extensions.list.filter((each) => {
      const text = [each.title, each.id, each.description, each.author, ...each.brings].join(" ").toLowerCase();
      return has(each) && wanted.every((word) => text.includes(word));
    });
  }

  render() {
    const { shelf, panel } = this.#looking;
    reconcile(this.#root.querySelector(".shelves"), SHELVES, {
      key: ({ name }) => name,
      make: (row) => this.#entry(row),
      renew: (entry, { name, has }) => {
        const count = extensions.list.filter(has).length;
        say(entry.querySelector(".count"), count ? String(count) : "");
        entry.toggleAttribute("data-empty", !count);
        if (name === shelf && !panel) entry.setAttribute("aria-current", "true");
        else entry.removeAttribute("aria-current");
      },
    });
    const install = this.#root.querySelector(".panels .entry");
    install.hidden = !extensions.may.manage;
    if (panel) install.setAttribute("aria-current", "true");
    else install.removeAttribute("aria-current");
    this.#root.querySelector(".browse").hidden = panel !== "";
    this.#root.querySelector(".panel").hidden = panel === "";
    this.#root.querySelector(".safe").hidden = !extensions.safeMode;
    this.#root.querySelector(".again").hidden = !extensions.may.manage;
    complain(this.#complaint, extensions.problem);
    this.#list();
  }

  #list() {
    const shown = this.#shown();
    reconcile(this.#root.querySelector(".all"), shown, {
      key: ({ id }) => id,
      make: (extension) => this.#cards.make(extension),
      renew: (card, extension) => this.#cards.renew(card, extension),
    });
    say(this.#root.querySelector(".bar .count"), shown.length ? String(shown.length) : "");
    const place = this.#root.querySelector(".empty");
    place.hidden = !extensions.loaded || shown.length > 0;
    const [head, words] = this.#looking.words ? ["Nothing fits", "No extension has all these words."] : NONE[this.#looking.shelf] ?? ["Nothing here", ""];
    if (!place.hidden) place.replaceChildren(element("h2", { textContent: head }), element("p", { textContent: words }));
  }

  #entry({ name, title }) {
    return element(
      "button",
      { type: "button", className: "entry", data: { shelf: name }, onclick: () => this.#go({ shelf: name, panel: "" }) },
      element("span", { className: "words", textContent: title }),
      element("span", { className: "count" }),
    );
  }
}
