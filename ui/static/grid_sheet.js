// A grid with its cells: each opens its own parameters. It can be cancelled, and what is missing of it made.

import { element, reconcile, say } from "./elements.js";
import { askAt } from "./json_door.js";
import { attempt, button, choice, complaint, fillChoice } from "./models_forms.js";
import { pairs, prompts } from "./recipe_words.js";
import { propose, readRecipe } from "./recipes.js";
import { sheet } from "./sheet.js";
import { studio } from "./studio.js";
import { complain } from "./wishes.js";

const PAUSE = 400; // milliseconds between two looks while it is made
const THUMB = 256;
const STATE = { queued: "Waiting", running: "Being made", stopped: "Cancelled", failed: "Failed", lost: "Not there" };
const WAITING = ["queued", "running"];

let grids = null;

/** Open the sheet at a grid, or at the newest one. */
export async function openGrids(place = "") {
  grids ??= new GridSheet();
  await grids.open(place).catch(complain);
}

/** Take what waits of a grid out of the line. */
export const cancelGrid = (place) => askAt("atelier/grids/cancel", { place });

class GridSheet {
  #problem = complaint();
  #list = choice([]);
  #said = element("p", { className: "hint", role: "status" });
  #planes = element("div", { className: "planes" });
  #cell = element("div", { className: "cell-about", hidden: true });
  #cancel = button("Cancel the grid", () => this.#order("cancel"), { className: "cancel-grid" });
  #resume = button("Make what is missing", () => this.#order("resume"), { primary: true, className: "resume" });
  #back = button("Back to the grid", () => this.#tell(null), { className: "back" });
  #dialog = sheet("Grids", "grid-sheet", this.#resume, this.#cancel, this.#back);
  #shown = null;
  #due = false;
  #stale = false; // something happened since what is shown was asked for
  #wanted = ""; // the place of the grid that was chosen
  #asked = 0; // how often was asked for a grid, and which answer is shown: an older one comes too late
  #answered = 0;
  #told = 0; // how often another cell was opened, or none

  constructor() {
    this.#list.ariaLabel = "Grid";
    this.#list.addEventListener("change", () => this.#show(this.#list.value));
    this.#dialog.body.append(this.#problem, this.#list, this.#said, this.#planes, this.#cell);
    studio.addEventListener("change", () => {
      this.#stale = true;
      this.#soon();
    });
  }

  async open(place) {
    const { grids: rows } = await askAt("atelier/grids");
    fillChoice(this.#list, rows.map(({ place: name, title, prompt }) => [name, `${time(name)} · ${title} · ${prompt}`]));
    this.#list.hidden = rows.length < 2;
    this.#tell(null);
    if (!this.#dialog.open) this.#dialog.showModal();
    const wanted = place || rows[0]?.place;
    if (wanted) await this.#show(wanted);
    else this.#nothing("There are no grids yet: choose what to plot, then press Generate.");
  }

  #nothing(words = "") {
    this.#wanted = "";
    this.#shown = null;
    this.#planes.replaceChildren();
    say(this.#said, words);
    this.#cancel.hidden = this.#resume.hidden = true;
  }

  async #show(place) {
    this.#tell(null);
    this.#nothing();
    this.#list.value = this.#wanted = place;
    await this.#ask(() => askAt(`atelier/grids/${place}`));
  }

  /** Draw what `act` answers, unless another grid was chosen meanwhile, or something newer is shown. */
  async #ask(act) {
    const [place, number] = [this.#wanted, ++this.#asked];
    const late = () => place !== this.#wanted || number < this.#answered;
    this.#stale = false;
    const found = await attempt(this.#problem, unless(late, act));
    if (!found) return;
    this.#answered = number;
    this.#draw(found);
  }

  /** While it is made, it is looked at again. */
  #soon() {
    if (this.#due || !this.#dialog.open || !this.#shown?.going) return;
    this.#due = true;
    setTimeout(() => {
      this.#due = false;
      const place = this.#shown?.place;
      if (this.#dialog.open && place) this.#ask(() => askAt(`atelier/grids/${place}`));
    }, PAUSE);
  }

  #order(what) {
    const { place } = this.#shown;
    return this.#ask(() => (what === "cancel" ? cancelGrid(place) : askAt(`atelier/grids/${what}`, { place })));
  }

  #draw(grid) {
    this.#shown = grid;
    say(this.#dialog.head, grid.title);
    say(this.#said, progress(grid));
    const missing = grid.cells.some(({ state }) => !["made", ...WAITING].includes(state));
    this.#cancel.hidden = !grid.going;
    this.#resume.hidden = grid.going || !missing;
    const depth = grid.sides.z.legends.map((legend, z) => ({ legend, z }));
    reconcile(this.#planes, depth, {
      key: ({ z }) => `${grid.place} ${z}`,
      make: ({ legend, z }) => this.#plane(grid, legend, z),
      renew: (plane, { z }) => this.#fill(plane, z),
    });
    if (this.#stale) this.#soon(); // the last cell may have been made while this answer was under way
  }

  #plane({ sides: { x, y } }, legend, z) {
    const words = x.legends.some((each) => each.length);
    const top = y.legends.some((each) => each.length) ? [element("td", {})] : [];
    const head = element("tr", {}, ...top, ...x.legends.map((each) => element("th", { scope: "col" }, ...lines(each))));
    const rows = y.legends.map((each, row) =>
      element(
        "tr",
        {},
        ...(top.length ? [element("th", { scope: "row" }, ...lines(each))] : []),
        ...x.legends.map((_, column) => element("td", { data: { at: `${column} ${row} ${z}` } })),
      ),
    );
    const table = element("table", {}, words ? element("thead", {}, head) : null, element("tbody", {}, ...rows));
    return element("section", {}, legend.length ? element("h3", {}, ...lines(legend)) : null, element("div", { className: "scroll" }, table));
  }

  #fill(plane, z) {
    const standing = new Map([...plane.querySelectorAll("td[data-at]")].map((place) => [place.dataset.at, place]));
    for (const cell of this.#shown.cells.filter((each) => each.z === z)) {
      const place = standing.get(`${cell.x} ${cell.y} ${cell.z}`);
      const key = cell.url || cell.state;
      if (!place || place.dataset.shown === key) continue;
      place.dataset.shown = key;
      place.replaceChildren(this.#drawn(cell));
    }
  }

  #drawn(cell) {
    if (!cell.url) return element("span", { className: "none", title: cell.message, textContent: STATE[cell.state] ?? cell.state });
    const words = this.#named(cell);
    const image = element("img", { src: `${cell.url}?thumb=${THUMB}`, alt: words, loading: "lazy" });
    return element("button", { type: "button", title: words, onclick: () => this.#tell(cell) }, image);
  }

  /** What stands beside a cell, in a line. */
  #named({ x, y, z }) {
    const { sides } = this.#shown;
    const at = [sides.x.legends[x], sides.y.legends[y], sides.z.legends[z]];
    return at.flatMap((legend) => legend.filter(({ active }) => active).map(({ text }) => text)).join(", ") || "Picture";
  }

  /** The parameters of a cell; null goes back to the grid. */
  async #tell(cell) {
    const number = ++this.#told;
    this.#cell.hidden = !cell;
    this.#back.hidden = !cell;
    this.#said.hidden = this.#planes.hidden = Boolean(cell);
    this.#list.hidden = Boolean(cell) || this.#list.options.length < 2;
    if (!cell) return;
    this.#cell.replaceChildren(element("img", { src: cell.url, alt: this.#named(cell) }));
    const late = () => number !== this.#told;
    const found = await attempt(this.#problem, unless(late, () => readRecipe(cell.url)));
    if (!found) return;
    const { infotext } = found.recipe;
    const use = async () => {
      this.#dialog.close();
      await propose(cell.url).catch(complain);
    };
    const download = () => element("a", { href: `${cell.url}?download=1`, download: "" }).click();
    this.#cell.append(
      element(
        "div",
        { className: "recipe-words" },
        element("p", { className: "named", textContent: this.#named(cell) }),
        element("div", { className: "line" }, button("Use these parameters", use, { primary: true, className: "use" }), button("Download", download)),
        ...prompts(infotext),
        element("table", { className: "recipe-pairs" }, element("tbody", {}, ...pairs(infotext))),
      ),
    );
  }
}

/** What `act` answers, and why it failed; nothing where `late()` says that nobody waits for it any more. */
const unless = (late, act) => async () => {
  try {
    const found = await act();
    return late() ? undefined : found;
  } catch (error) {
    if (!late()) throw error;
    return undefined;
  }
};

function lines(legend) {
  return legend.map(({ text, active }) => element(active ? "span" : "s", { className: "legend", textContent: text }));
}

function progress({ cells, going }) {
  const count = (...states) => cells.filter(({ state }) => states.includes(state)).length;
  const made = count("made");
  const all = `${cells.length} ${cells.length === 1 ? "cell" : "cells"}`;
  const parts = [made === cells.length ? `All ${all} are made` : `${made} of ${all} are made`];
  if (count(...WAITING)) parts.push(`${count(...WAITING)} to come`);
  if (count("failed")) parts.push(`${count("failed")} failed`);
  if (count("stopped", "lost") && !going) parts.push(`${count("stopped", "lost")} missing`);
  return `${parts.join(", ")}. A click on one opens its parameters.`;
}

/** When a grid was begun, by its place: "2026-11-22/031500-..." */
function time(place) {
  const [, day, hour, minute] = place.match(/^(\S+)\/(\d\d)(\d\d)/) ?? [];
  return day ? `${day} ${hour}:${minute}` : place;
}
