// Extensions as cards: what each is, whether it is on, and what is wrong with it.

import { element, icon, say } from "./elements.js";
import { extensions } from "./extensions_store.js";
import { renewSwitch, switchOf } from "./extensions_switch.js";

const NAMED = 3; // of what one brings; the others are counted

export class Cards {
  #acts;

  /** @param acts {open(extension)} */
  constructor(acts) {
    this.#acts = acts;
  }

  make(extension) {
    const face = element(
      "button",
      { type: "button", className: "face", onclick: () => this.#acts.open(extensions.find(extension.id)) },
      element("span", { className: "mark", attributes: { "aria-hidden": "true" } }),
      element("span", { className: "name" }, element("strong"), element("span", { className: "version" })),
      element("span", { className: "by" }),
      element("span", { className: "what" }),
      element("span", { className: "trouble" }),
      element("span", { className: "foot" }),
    );
    return element("li", { className: "extension" }, face, switchOf(extension));
  }

  renew(card, extension) {
    const { title, version, author, bundled, description, state, problem, failures } = extension;
    card.dataset.state = state;
    const find = (name) => card.querySelector(name);
    const mark = find(".mark");
    mark.style.setProperty("--hue", hueOf(extension.id));
    say(mark, initials(title));
    say(find("strong"), title);
    say(find(".version"), version);
    say(find(".by"), [bundled ? "Ships with Atelier" : "Installed", !bundled && author].filter(Boolean).join(" · "));
    say(find(".what"), description || (state === "broken" ? "" : "It says nothing of itself."));
    const trouble = problem || failures[0]?.sentence || "";
    find(".trouble").hidden = !trouble;
    find(".trouble").replaceChildren(...(trouble ? [icon("failed"), element("span", { textContent: trouble })] : []));
    say(find(".foot"), footOf(extension));
    renewSwitch(find(".switch"), extension);
  }
}

/** What is under way, or what it brings. */
function footOf({ id, brings, state }) {
  const running = extensions.worksOf(id).filter((work) => work.state === "running");
  if (running.length) return `${running[0].title} · ${Math.floor(running[0].share * 100)} %`;
  if (state !== "on" || !brings.length) return "";
  const more = brings.length > NAMED ? ` and ${brings.length - NAMED} more` : "";
  const words = brings.slice(0, NAMED).join(", ") + more;
  return words[0].toUpperCase() + words.slice(1);
}

export function initials(title) {
  const words = title.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  return (words.length > 1 ? words[0][0] + words[1][0] : title.slice(0, 2)).toUpperCase();
}

export function hueOf(id) {
  let sum = 0;
  for (const sign of id) sum = (sum * 31 + sign.codePointAt(0)) % 360;
  return sum;
}
