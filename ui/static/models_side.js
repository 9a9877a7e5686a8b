// The shelves with how much stands on each, the folders of the one that is open, and the panels.

import { element, icon, reconcile, say } from "./elements.js";
import { underWay } from "./models_downloads.js";
import { counts, folders, SHELVES } from "./models_shelves.js";
import { models } from "./models_store.js";

const PANELS = [
  { name: "add", title: "Add models", sign: "download" },
  { name: "merge", title: "Merge", sign: "merge" },
  { name: "folders", title: "Folders", sign: "folder" },
  { name: "memory", title: "Memory", sign: "memory" },
];

export class Side {
  #root;
  #acts;

  /** @param acts {shelf(name), folder(path), panel(name)} */
  constructor(root, acts) {
    this.#root = root;
    this.#acts = acts;
    const panels = PANELS.map(({ name, title, sign }) =>
      element(
        "button",
        { type: "button", className: "entry", data: { panel: name }, onclick: () => acts.panel(name) },
        icon(sign),
        element("span", { className: "words", textContent: title }),
        element("span", { className: "count" }),
      ),
    );
    root.querySelector(".panels").append(...panels);
  }

  /** Pages of cards that extensions have. */
  addPages(pages) {
    const buttons = pages.map(({ id, number, title, extension }) =>
      element(
        "button",
        {
          type: "button",
          className: "entry",
          title: extension,
          data: { panel: `${id} ${number}` },
          onclick: () => this.#acts.panel(`${id} ${number}`),
        },
        icon("cells"),
        element("span", { className: "words", textContent: title }),
        element("span", { className: "count" }),
      ),
    );
    this.#root.querySelector(".pages").append(...buttons);
    this.#root.querySelector(".pages").hidden = buttons.length === 0;
  }

  render({ shelf, folder, panel }) {
    const found = counts(models.list);
    const rows = SHELVES.flatMap(({ name, title }) => [
      { key: name, shelf: name, label: title, count: found[name], depth: -1 },
      ...(name === shelf && !panel
        ? folders(models.list, name, folder).map((each) => ({ ...each, key: `${name} ${each.path}`, shelf: name }))
        : []),
    ]);
    reconcile(this.#root.querySelector(".shelves"), rows, {
      key: ({ key }) => key,
      make: (row) => this.#entry(row),
      renew: (entry, row) => {
        say(entry.querySelector(".words"), row.label);
        say(entry.querySelector(".count"), row.count ? row.count.toLocaleString() : "");
        const here = !panel && row.shelf === shelf && (row.depth < 0 ? !folder : row.path === folder);
        if (here) entry.setAttribute("aria-current", "true");
        else entry.removeAttribute("aria-current");
        entry.toggleAttribute("data-empty", row.count === 0);
      },
    });
    for (const button of this.#root.querySelectorAll("[data-panel]")) {
      if (button.dataset.panel === panel) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    this.renderWorks();
  }

  renderWorks() {
    const merging = models.works.filter(({ kind, state }) => kind === "merge" && state === "running").length;
    const numbers = { add: underWay(), merge: merging };
    for (const [name, number] of Object.entries(numbers)) {
      say(this.#root.querySelector(`[data-panel=${name}] .count`), number ? String(number) : "");
    }
  }

  #entry({ shelf, path, depth, label }) {
    const button = element(
      "button",
      { type: "button", className: depth < 0 ? "entry" : "entry folder", title: path ?? "", data: { shelf } },
      depth < 0 ? null : icon("folder"),
      element("span", { className: "words", textContent: label }),
      element("span", { className: "count" }),
    );
    button.style.setProperty("--depth", Math.max(0, depth));
    button.addEventListener("click", () => (depth < 0 ? this.#acts.shelf(shelf) : this.#acts.folder(path)));
    return button;
  }
}
