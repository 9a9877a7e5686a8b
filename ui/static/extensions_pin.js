// Another commit, tag or version of an extension than the one that is there: newer, or the one of before.

import { element } from "./elements.js";
import { showPlan } from "./extensions_install.js";
import { ask, at } from "./extensions_store.js";
import { attempt, button, complaint, field, textInput } from "./models_forms.js";
import { sheet } from "./sheet.js";

const KINDS = {
  git: { label: "Commit or tag", example: "v1.2.0", hint: "A tag, or a commit by all 40 characters of its id." },
  package: { label: "Version", example: "1.2.0", hint: "" },
};

export function choosePin(extension) {
  const { title, version, origin } = extension;
  const { label, example, hint } = KINDS[origin.kind];
  const problem = complaint();
  const pin = textInput({ placeholder: example, className: "text mono" });
  const look = button("Look at it", async () => {
    const plan = await attempt(problem, () => ask(at(extension, "update"), { pin: pin.value }));
    if (plan && !dialog.open) ask("/discard", { plan: plan.plan }).catch(() => {});
    else if (plan) (dialog.close(), showPlan(plan));
  }, { primary: true });
  const cancel = button("Cancel", () => dialog.close());
  const dialog = sheet(`Another version of ${title}`, "extension-sheet", element("span", { className: "space" }), cancel, look);
  pin.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    look.click();
  });
  const rows = [row("Now", version, origin), origin.before && row("Before", "", { pin: origin.before }, pin)];
  dialog.body.append(
    element("p", { textContent: `What it would become is shown before anything is changed. It comes from ${origin.address}.` }),
    element("ul", { className: "pins" }, ...rows.filter(Boolean)),
    field(label, pin, hint),
    problem,
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
  pin.focus();
}

/** A pin with its name; with `input`, a button that writes it there. */
function row(name, version, { pin, tag }, input = null) {
  const known = version === pin ? "" : version;
  return element(
    "li",
    {},
    element("span", { className: "hint", textContent: name }),
    element("span", { className: "words", textContent: [known, tag].filter(Boolean).join(" · ") }),
    element("code", { textContent: pin }),
    input && button("Take this one", () => ((input.value = pin), input.focus())),
  );
}
