// A page of cards that an extension has in the Models tab: pressed, a card's words are put into the prompt.

import { element, say } from "./elements.js";
import { hueOf, initials } from "./extensions_card.js";
import { ask, at } from "./extensions_store.js";
import { attempt, complaint, textInput } from "./models_forms.js";
import { prompts } from "./prompt_tokens.js";

export class CardPage {
  #slot;
  #cards = [];
  #problem = complaint();
  #list = element("ul", { className: "own-cards" });
  #none = element("p", { className: "hint", hidden: true });
  #search = textInput({ type: "search", attributes: { "aria-label": "Search the cards" } });

  constructor(root, slot) {
    this.#slot = slot;
    this.#search.placeholder = `Search ${slot.title}`;
    this.#search.addEventListener("input", () => this.#draw());
    prompts.addEventListener("change", () => this.#mark());
    root.classList.add("of-cards");
    root.append(this.#search, this.#problem, this.#list, this.#none);
  }

  async open() {
    const said = await attempt(this.#problem, () => ask(at(this.#slot, `pages/${this.#slot.number}?${new URLSearchParams({ title: this.#slot.title })}`)));
    if (!said) return;
    this.#cards = said.cards;
    this.#draw();
  }

  #draw() {
    const wanted = this.#search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = ({ title, subtitle, search, insert }) => [title, subtitle, search, insert].join(" ").toLowerCase();
    const shown = this.#cards.filter((card) => wanted.every((word) => text(card).includes(word)));
    this.#list.replaceChildren(...shown.map((card) => drawn(card)));
    this.#none.hidden = shown.length > 0;
    say(this.#none, this.#cards.length ? "No card has all these words." : `${this.#slot.extension} has no cards now.`);
    this.#mark();
  }

  #mark() {
    for (const card of this.#list.querySelectorAll("button")) {
      card.setAttribute("aria-pressed", String(prompts.has("prompt", card.dataset.insert)));
    }
  }
}

function drawn({ title, subtitle, insert, picture }) {
  const art = element("span", { className: "art" });
  if (picture) art.append(element("img", { src: picture, alt: "", loading: "lazy" }));
  else art.append(element("span", { className: "drawn", textContent: initials(title) }));
  art.style.setProperty("--hue", hueOf(title));
  const toggle = () => prompts.take("prompt", insert) || prompts.put("prompt", insert, { commas: !insert.startsWith("<") });
  return element(
    "li",
    {},
    element(
      "button",
      { type: "button", title: insert, data: { insert }, onclick: toggle },
      art,
      element("span", { className: "name", textContent: title }),
      element("span", { className: "facts", textContent: subtitle }),
    ),
  );
}
