// What a recipe says, as words: prompts with a button that copies each, and its pairs as a table.

import { copyText } from "./clipboard.js";
import { element } from "./elements.js";
import { button } from "./models_forms.js";
import { toast } from "./models_toast.js";

/** Sections for the prompts of an infotext that there are. */
export function prompts({ prompt, negative_prompt: negative }) {
  return [words("Prompt", prompt), words("Negative prompt", negative)].filter(Boolean);
}

/** Rows for its pairs. */
export function pairs(infotext) {
  const row = ([key, value]) =>
    element("tr", {}, element("th", { scope: "row", textContent: key }), element("td", { textContent: value }));
  return infotext.pairs.map(row);
}

function words(title, text) {
  if (!text) return null;
  const said = async () => toast((await copyText(text)) ? "Copied" : "Select the text and press Ctrl C");
  const head = element("header", {}, element("h2", { textContent: title }), button("Copy", said, { className: "small" }));
  return element("section", {}, head, element("p", { className: "prompt", textContent: text }));
}
