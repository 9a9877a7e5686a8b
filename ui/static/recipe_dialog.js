// What a recipe changes, before it does: each field now and then, what cannot be applied, and what is missing.

import { element, say } from "./elements.js";
import { button } from "./models_forms.js";
import { notes, sheet } from "./sheet.js";

const TABS = { txt2img: "txt2img", img2img: "img2img", inpaint: "Inpaint" };
const WAYS = [
  ["all", "Apply all"],
  ["but the seed", "All but the seed"],
  ["prompt", "Only the prompt"],
];

let dialog = null;
let acts = null;

/**
 * @param proposal {tab, origin, place, rows, left, missing, remarks}, see ui/recipes.py
 * @param apply called with the way that was chosen
 * @param asText puts what was pasted into the prompt as it is; null where nothing was
 */
export function showProposal(proposal, { apply, asText = null }) {
  acts = { apply, asText };
  dialog ??= make();
  const { rows, origin, tab } = proposal;
  say(dialog.head, origin === "text" ? "Words for the prompt" : `Parameters of ${origin}`);
  dialog.body.replaceChildren(
    element("p", { className: "lead", textContent: lead(rows, TABS[tab]) }),
    ...[table(rows), missing(proposal.missing), left(proposal.left), remarks(proposal.remarks)].filter(Boolean),
  );
  dialog.querySelector(".as-text").hidden = asText === null;
  for (const [way] of WAYS) dialog.querySelector(`[data-way="${way}"]`).hidden = !offers(way, rows);
  dialog.showModal();
  (dialog.querySelector("[data-way]:not([hidden])") ?? dialog.querySelector(".cancel")).focus();
  dialog.body.scrollTop = 0;
}

function make() {
  const done = (act) => () => {
    dialog.close();
    act();
  };
  const ways = WAYS.map(([way, words], place) => {
    const made = button(words, done(() => acts.apply(way)), { primary: place === 0 });
    made.dataset.way = way;
    return made;
  });
  const asText = button("Paste as text", done(() => acts.asText()), { className: "as-text" });
  const cancel = button("Cancel", () => dialog.close(), { className: "cancel" });
  return sheet("", "recipe-sheet", ...ways, element("span", { className: "space" }), asText, cancel);
}

/** A way that changes nothing, or no less than all, is not offered. */
function offers(way, rows) {
  const prompt = rows.filter(({ name }) => ["prompt", "negative_prompt", "styles"].includes(name)).length;
  const seed = rows.filter(({ name }) => ["seed", "variation.seed"].includes(name)).length;
  if (way === "all") return rows.length > 0;
  return way === "prompt" ? prompt > 0 && prompt < rows.length : seed > 0 && seed < rows.length;
}

function lead(rows, tab) {
  if (!rows.length) return `Nothing changes: ${tab} asks for all of it already.`;
  return `${rows.length === 1 ? "One field" : `${rows.length} fields`} of ${tab} would change.`;
}

function table(rows) {
  if (!rows.length) return null;
  const cell = (words, className) => element("td", { className, textContent: words || "empty", data: words ? {} : { empty: "" } });
  const body = rows.map(({ label, now, then }) =>
    element("tr", {}, element("th", { scope: "row", textContent: label }), cell(now, "now"), cell(then, "then")),
  );
  const heads = ["Field", "Now", "Then"].map((words) => element("th", { scope: "col", textContent: words }));
  return element("table", { className: "changes" }, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body));
}

/** Models that are not here. */
export function missing(models) {
  const rows = models.map(({ kind, name, hash, sentence }) => {
    const known = [name, hash && `hash ${hash}`].filter(Boolean).join(", ");
    return element("li", {}, element("strong", { textContent: `${kind} ${known}` }), ` ${sentence}`);
  });
  return notes("Missing here", rows, { className: "warning" });
}

/** Parameters that no field takes. */
export function left(parameters) {
  const rows = parameters.map(({ key, value, reason }) =>
    element("li", {}, element("strong", { textContent: value ? `${key}: ${value}` : key }), ` ${reason}`),
  );
  return notes("Not applied", rows, { folded: rows.length > 3 });
}

/** Sentences about what was concluded. */
export function remarks(sentences) {
  return notes("Notes", sentences.map((sentence) => element("li", { textContent: sentence })), { folded: sentences.length > 3 });
}
