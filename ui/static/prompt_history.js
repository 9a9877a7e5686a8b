// The prompts of earlier jobs, with search; one that is chosen goes back into both prompts.

import { element, iconButton, say } from "./elements.js";
import { askAt } from "./json_door.js";
import { rewrite } from "./prompt_edit.js";
import { areaOf, formOf, pairOf } from "./prompt_fields.js";

const PAUSE = 120; // milliseconds
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

class PromptHistory {
  #search = element("input", {
    type: "search",
    placeholder: "Search earlier prompts",
    attributes: { "aria-label": "Search earlier prompts", role: "combobox", "aria-expanded": "true", "aria-controls": "prompt_history" },
  });
  #list = element("ul", { id: "prompt_history", attributes: { role: "listbox", "aria-label": "Earlier prompts" } });
  #none = element("p", { className: "none", attributes: { role: "status" } });
  #dialog;
  #area = null;
  #rows = [];
  #chosen = 0;
  #due = 0;

  constructor() {
    this.#dialog = element(
      "dialog",
      { className: "prompt-history", attributes: { "aria-label": "Earlier prompts" } },
      element("header", {}, this.#search, iconButton("close", "Close (Esc)", () => this.#dialog.close())),
      this.#list,
      this.#none,
      element("footer", { textContent: "Enter puts both prompts back. Ctrl Z takes that back." }),
    );
    this.#search.addEventListener("input", () => {
      clearTimeout(this.#due);
      this.#due = setTimeout(() => this.#load(), PAUSE);
    });
    this.#dialog.addEventListener("keydown", (event) => this.#key(event));
    this.#dialog.addEventListener("click", ({ target }) => {
      const row = target.closest("[role=option]");
      if (row) this.#take([...this.#list.children].indexOf(row));
      else if (target === this.#dialog) this.#dialog.close();
    });
    document.body.append(this.#dialog);
  }

  open(area) {
    this.#area = area;
    this.#search.value = "";
    this.#list.replaceChildren();
    say(this.#none, "");
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#search.focus();
    this.#load();
  }

  async #load() {
    const words = this.#search.value;
    const asked = new URLSearchParams([["words", words], ...(formOf(pairOf(this.#area)).styles ?? []).map((style) => ["styles", style])]);
    const said = await askAt(`atelier/prompt/history?${asked}`).catch((problem) => ({ problem: problem.message }));
    if (words !== this.#search.value) return;
    this.#rows = said.prompts ?? [];
    this.#list.replaceChildren(...this.#rows.map(drawn));
    const nothing = words ? "No earlier prompt has these words." : "There are no earlier prompts yet.";
    say(this.#none, said.problem ?? (this.#rows.length ? "" : nothing));
    this.#choose(0);
  }

  #choose(place) {
    this.#chosen = Math.max(0, Math.min(this.#rows.length - 1, place));
    [...this.#list.children].forEach((row, k) => row.setAttribute("aria-selected", String(k === this.#chosen)));
    const row = this.#list.children[this.#chosen];
    row?.scrollIntoView({ block: "nearest" });
    this.#search.setAttribute("aria-activedescendant", row?.id ?? "");
  }

  #key(event) {
    if (event.isComposing) return;
    const places = { ArrowDown: 1, ArrowUp: -1, PageDown: 6, PageUp: -6 }[event.key];
    if (places) this.#choose(this.#chosen + places);
    else if (event.key === "Enter" && event.target === this.#search) this.#take(this.#chosen);
    else if (event.key === "Escape") this.#dialog.close(); // a search field would only be emptied
    else return;
    event.preventDefault();
  }

  #take(place) {
    const row = this.#rows[place];
    if (!row) return;
    this.#dialog.close();
    const pair = pairOf(this.#area);
    // The prompt last: that is where one goes on writing.
    for (const which of ["negative", "prompt"]) {
      const area = areaOf(pair, which);
      if (area) rewrite(area, row[which]);
    }
  }
}

/** The day, or the time of today. */
const when = (date) => (DAY.format(date) === DAY.format(new Date()) ? TIME : DAY).format(date);

function drawn({ prompt, negative, made, count, picture }, k) {
  const image = picture
    ? element("img", { src: `${picture}?thumb=128`, alt: "", loading: "lazy", decoding: "async" })
    : element("span", { className: "blank" });
  image.addEventListener("error", () => image.replaceWith(element("span", { className: "blank" })));
  const pictures = count ? ` · ${count} ${count === 1 ? "picture" : "pictures"}` : "";
  return element(
    "li",
    { id: `prompt_history_${k}`, attributes: { role: "option", "aria-selected": "false" } },
    image,
    element(
      "div",
      {},
      element("p", { className: "prompt", textContent: prompt || "No prompt" }),
      negative && element("p", { className: "negative", textContent: `Without: ${negative}` }),
      element("p", { className: "when", textContent: when(new Date(made * 1000)) + pictures }),
    ),
  );
}

let history = null;

/** Show the prompts of earlier jobs; what is chosen goes into the pair that `area` belongs to. */
export function openHistory(area) {
  history ??= new PromptHistory();
  history.open(area);
}
