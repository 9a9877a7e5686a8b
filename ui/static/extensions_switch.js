// The switch of an extension, and what is shown before one of others is switched on.

import { element } from "./elements.js";
import { modelRow } from "./extensions_models.js";
import { ask, at, extensions } from "./extensions_store.js";
import { attempt, button, complain, complaint } from "./models_forms.js";
import { toast } from "./models_toast.js";
import { notes, sheet } from "./sheet.js";

const TRUST =
  "An extension is a program: it runs with all your rights, and what it says below is what it is written to do, not a " +
  "limit. Switch on what you trust.";

/** A switch; `renewSwitch` brings it up to date. */
export function switchOf(extension) {
  const made = element("button", { type: "button", className: "switch", role: "switch" }, element("span"));
  made.addEventListener("click", (event) => {
    event.stopPropagation();
    press(extensions.find(extension.id), made);
  });
  return made;
}

export function renewSwitch(made, { title, wanted, state }) {
  made.setAttribute("aria-checked", String(wanted));
  made.setAttribute("aria-label", `${title} is ${wanted ? "on" : "off"}`);
  made.title = wanted ? "Switch off" : "Switch on";
  made.toggleAttribute("data-broken", wanted && state === "broken");
  made.disabled = !extensions.may.manage || extensions.safeMode;
}

function press(extension, place) {
  if (!extension) return;
  if (extension.wanted || extension.bundled) turn(extension, !extension.wanted, place);
  else if (!extensions.may.code) toast(extensions.may.why_not);
  else confirm(extension);
}

/** Switch one on or off; what is wrong is told at `place`, or at the lower edge. */
async function turn(extension, on, place) {
  place.ariaBusy = "true";
  try {
    const card = await ask(at(extension, "switch"), { on });
    extensions.put(card);
    if (card.state === "broken" && on) toast(`${card.title} could not be switched on. ${card.problem}`);
    else if (card.remark) toast(card.remark);
  } catch (error) {
    toast(error.message);
  } finally {
    place.ariaBusy = "false";
  }
}

/** What one says of itself, before any of its code runs. */
function confirm(extension) {
  const problem = complaint();
  const go = button("Switch it on", () => attempt(problem, act), { primary: true });
  const cancel = button("Leave it off", () => dialog.close());
  const dialog = sheet(`Switch on ${extension.title}?`, "extension-sheet", element("span", { className: "space" }), cancel, go);
  const act = async () => {
    const card = await ask(at(extension, "switch"), { on: true });
    extensions.put(card);
    if (card.state === "broken") complain(problem, card.problem);
    else dialog.close();
    if (card.remark) toast(card.remark);
  };
  dialog.body.append(element("p", { textContent: TRUST }), ...saidOf(extension), problem);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
}

/** What an extension says that it does and needs, as lists; nothing is left out where there is nothing. */
export function saidOf(extension) {
  const { permissions, dependencies, models } = extension;
  const row = (words, more = "") => element("li", {}, element("strong", { textContent: words }), more);
  const lists = [
    notes("Asks for", permissions.map((words) => row(words)), { className: "warning" }),
    notes("Needs packages", dependencies.map((words) => row(words))),
    notes("Needs models", models.map((model) => modelRow(extension, model))),
  ].filter(Boolean);
  if (!permissions.length) lists.unshift(element("p", { className: "hint", textContent: "It asks for nothing beyond Atelier itself." }));
  return lists;
}
