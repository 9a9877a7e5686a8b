// One model as a card.

import { element, icon, iconButton, say } from "./elements.js";
import { weightField } from "./models_weight.js";
import { familyOf } from "./models_shelves.js";
import { models } from "./models_store.js";
import { bytes, swapTime } from "./words.js";

const THUMB = 384; // pixels
export const WARMTH = { hot: "Ready", warm: "In memory", cold: "On disk" };

/** A calm picture of a name, for what has none: a colour of its own and its first letters. */
function placeholder(model) {
  let sum = 7;
  for (const sign of model.label) sum = (sum * 31 + sign.codePointAt(0)) % 3600;
  const words = model.label.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const letters = (words.length > 1 ? words.slice(0, 2).map((word) => [...word][0]) : [...(words[0] ?? "?")].slice(0, 2)).join("").toLocaleUpperCase();
  const drawn = element("span", { className: "drawn", textContent: letters, attributes: { "aria-hidden": "true" } });
  drawn.style.setProperty("--hue", sum / 10);
  return drawn;
}

/** The model's preview, or its placeholder where there is none or it does not load. */
export function picture(model, size = THUMB) {
  if (!model.preview) return placeholder(model);
  const image = element("img", { loading: "lazy", decoding: "async", alt: "", draggable: false });
  image.addEventListener("error", () => image.replaceWith(placeholder(model)));
  image.src = `${model.preview}${model.preview.includes("?") ? "&" : "?"}thumb=${size}`;
  return image;
}

/** How fast a checkpoint is there: {state, words, kept}, the words "Ready", "0.1 s" or "~4 s". */
export function warmth(model) {
  const state = models.state(model.id);
  if (!state || model.problem) return null;
  const time = state.state === "hot" ? "" : swapTime(state.seconds);
  return { state: state.state, words: time || WARMTH[state.state], kept: state.kept };
}

export class Cards {
  #acts;
  #use;

  /** @param acts {act(model, event), details(model, event?), convert(model), weigh(model, weight)}; `use(model)` says how it is
   *  used now. */
  constructor(acts, use) {
    this.#acts = acts;
    this.#use = use;
  }

  make(model) {
    const current = () => models.find(model.id) ?? model;
    const face = element(
      "button",
      { type: "button", className: "face", tabIndex: -1 },
      element("span", { className: "art" }),
      element("span", { className: "name" }),
      element("span", { className: "facts" }, element("span", { className: "badge" }), element("span", { className: "size" })),
    );
    face.addEventListener("click", (event) => this.#acts.act(current(), event));
    face.addEventListener("dblclick", (event) => this.#acts.details(current(), event));
    face.addEventListener("keydown", (event) => event.key === "i" && this.#acts.details(current()));
    const card = element(
      "div",
      { className: "card", role: "gridcell", data: { kind: model.kind } },
      face,
      element("span", { className: "over" }, element("span", { className: "mark" }, icon("check")), element("span", { className: "state" })),
      iconButton("info", `Details of ${model.label}`, () => this.#acts.details(current()), "open"),
    );
    card.querySelector(".open").tabIndex = -1;
    card.addEventListener("contextmenu", (event) => {
      if (event.target.closest("input")) return;
      event.preventDefault();
      this.#acts.details(current());
    });
    if (model.kind === "embedding" && !model.problem) card.append(this.#sides(current));
    if (model.convertible) {
      const button = element("button", { type: "button", className: "plain convert", textContent: "Convert" });
      button.addEventListener("click", () => this.#acts.convert(current()));
      card.append(button);
    }
    return card;
  }

  /** For those who have no Ctrl key: both prompts as buttons. */
  #sides(current) {
    const side = (negative, words) =>
      element("button", {
        type: "button",
        className: "side-button",
        tabIndex: -1,
        textContent: words,
        data: { side: negative ? "negative" : "prompt" },
        onclick: () => this.#acts.act(current(), { ctrlKey: negative }),
      });
    return element("span", { className: "sides" }, side(false, "Prompt"), side(true, "Negative"));
  }

  renew(card, model) {
    const use = this.#use(model);
    const misfit = model.problem ? "" : (models.misfits.get(model.id) ?? "");
    this.#renewArt(card, model, misfit);
    say(card.querySelector(".name"), model.label);
    const badge = card.querySelector(".badge");
    const isCheckpoint = model.kind === "checkpoint";
    say(badge, model.problem ? familyOf(model) : (isCheckpoint ? model.title : familyOf(model)) || "Unknown");
    say(card.querySelector(".size"), bytes(model.size));
    card.toggleAttribute("data-on", use.on);
    card.toggleAttribute("data-misfit", misfit !== "");
    card.toggleAttribute("data-problem", model.problem !== "");
    card.toggleAttribute("data-pickle", model.convertible);
    card.setAttribute("aria-selected", String(use.on));
    this.#renewState(card, model);
    this.#renewWeight(card, model, use);
    for (const button of card.querySelectorAll(".side-button")) {
      button.setAttribute("aria-pressed", String(Boolean(use.where?.includes(button.dataset.side))));
    }
    const convert = card.querySelector(".convert");
    if (convert) convert.hidden = !models.local;
    const face = card.querySelector(".face");
    face.title = [model.name, model.title, model.problem || misfit, model.remark].filter(Boolean).join("\n");
    face.setAttribute("aria-label", this.#spoken(model, use, misfit));
  }

  #spoken(model, use, misfit) {
    const state = warmth(model);
    const parts = [model.label, model.title, use.on && "in use", state?.words, model.problem || misfit];
    return parts.filter(Boolean).join(", ");
  }

  #renewArt(card, model, misfit) {
    const art = card.querySelector(".art");
    const shown = model.preview || "none";
    if (art.dataset.shown !== shown) {
      art.dataset.shown = shown;
      art.replaceChildren(picture(model), element("span", { className: "why" }));
    }
    const why = model.convertible ? (models.local ? "A pickle" : "A pickle: convert it at the machine itself.") : model.problem;
    say(art.querySelector(".why"), why || (misfit ? shortMisfit(model) : ""));
  }

  #renewState(card, model) {
    const state = model.kind === "checkpoint" ? warmth(model) : null;
    const place = card.querySelector(".state");
    place.dataset.state = state?.state ?? "";
    place.classList.toggle("kept", Boolean(state?.kept));
    say(place, state?.words ?? "");
    place.title = state ? `${WARMTH[state.state]}${state.kept ? ", kept warm" : ""}` : "";
  }

  #renewWeight(card, model, use) {
    const old = card.querySelector(".weight");
    if (model.kind !== "lora" || !use.on) {
      old?.remove();
      return;
    }
    const field = old ?? weightField(`Weight of ${model.label}`, (weight) => this.#acts.weigh(models.find(model.id) ?? model, weight));
    if (!old) card.append(field);
    field.show(use.weight);
  }
}

function shortMisfit(model) {
  const family = familyOf(model);
  const chosen = models.list.find(({ kind, name }) => kind === "checkpoint" && name === models.checkpoint);
  if (family && chosen && family !== familyOf(chosen)) return `For ${family}`;
  return `Does not fit ${models.checkpoint}`;
}
