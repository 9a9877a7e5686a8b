// The LoRAs in the prompt as a row of chips, with their weights; on the Models tab and below the prompt.

import { element, iconButton, reconcile, say } from "./elements.js";
import { weightField } from "./models_weight.js";
import { models } from "./models_store.js";
import { lorasInPrompt, takeToken, weigh } from "./models_use.js";
import { start as comfort } from "./prompt_comfort.js";
import { prompts } from "./prompt_tokens.js";
import { goTo } from "./tabs.js";

/** Keep a row of chips up to date; `drawn(number)` is called with how many there are. */
export function chips(row, drawn) {
  const render = () => {
    const tokens = lorasInPrompt();
    reconcile(row, tokens.map((token, place) => ({ ...token, place })), {
      key: ({ name, place }) => `${place} ${name}`,
      make,
      renew,
    });
    drawn(tokens.length);
  };
  prompts.addEventListener("change", render);
  for (const news of ["change", "state"]) models.addEventListener(news, render);
  render();
}

function make({ name, place }) {
  return element(
    "li",
    { className: "chip" },
    element("span", { className: "name" }),
    weightField(`Weight of ${name}`, (weight) => weigh(place, weight)),
    iconButton("close", `Take ${name} out of the prompt`, () => takeToken(place), "end"),
  );
}

function renew(chip, { name, weight, model }) {
  say(chip.querySelector(".name"), model?.label ?? name);
  chip.querySelector(".weight").show(weight);
  const problem = fault(name, model);
  chip.toggleAttribute("data-problem", problem !== "");
  chip.title = problem || model?.title || "";
}

function fault(name, model) {
  if (!models.loaded) return "";
  if (!model) return `There is no LoRA called ${name}.`;
  return model.problem || (models.misfits.get(model.id) ?? "");
}

/** The row below the prompt. With it both prompts of the tab are there. */
export function start(root) {
  const place = root.querySelector(".prompt-loras");
  const add = place.querySelector(".add");
  const render = (number) => (place.hidden = number === 0 && !models.list.some(({ kind }) => kind === "lora"));
  add.addEventListener("click", () => {
    dispatchEvent(new CustomEvent("atelier-shelf", { detail: "loras" }));
    goTo("models");
  });
  chips(place.querySelector("ul"), render);
  comfort(root.closest(".tab-words"));
}
