// The weight of a LoRA: a number between two buttons.

import { element, iconButton } from "./elements.js";
import { plain, WEIGHTS, within } from "./prompt_tokens.js";

/** A field whose `show(weight)` sets it; `changed(weight)` is called when the person does. */
export function weightField(name, changed) {
  const input = element("input", {
    type: "number",
    min: WEIGHTS.least,
    max: WEIGHTS.most,
    step: WEIGHTS.step,
    title: name,
    attributes: { "aria-label": name, inputmode: "decimal" },
  });
  const weight = () => (Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : 1);
  const give = (number) => {
    const allowed = within(number);
    input.value = plain(allowed);
    changed(allowed);
  };
  const field = element(
    "span",
    { className: "weight" },
    iconButton("less", `Less: ${name}`, () => give(weight() - WEIGHTS.step)),
    input,
    iconButton("add", `More: ${name}`, () => give(weight() + WEIGHTS.step)),
  );
  input.addEventListener("change", () => give(weight()));
  input.addEventListener("keydown", (event) => event.stopPropagation());
  field.addEventListener("wheel", (event) => {
    if (document.activeElement !== input) return;
    event.preventDefault();
    give(weight() + (event.deltaY < 0 ? WEIGHTS.step : -WEIGHTS.step));
  });
  field.show = (number) => {
    if (document.activeElement !== input) input.value = Number.isFinite(number) ? plain(number) : "";
  };
  return field;
}
