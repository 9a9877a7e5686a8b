// Installing an extension: from where, what that would do, and then doing it.

import { element } from "./elements.js";
import { ask, extensions } from "./extensions_store.js";
import { saidOf } from "./extensions_switch.js";
import { askAt } from "./json_door.js";
import { attempt, button, complaint, field, section, textInput } from "./models_forms.js";
import { toast } from "./models_toast.js";
import { notes, sheet } from "./sheet.js";

const LEAD =
  "An extension is a program: switched on, it runs with all your rights. Nothing of it runs before you switch it on. " +
  "What it would bring along is shown first.";

export class InstallPanel {
  #root;
  #problem = complaint();
  #form = null; // what is written there stays while something else is looked at

  constructor(root) {
    this.#root = root;
  }

  open() {
    if (!extensions.may.code) {
      const words = element("p", { className: "note", textContent: extensions.may.why_not });
      this.#root.replaceChildren(section("Install an extension", words));
      return;
    }
    const lead = element("p", { className: "lead", textContent: LEAD });
    this.#form ??= [section("Install an extension", lead, this.#problem), this.#git(), this.#zip(), this.#package()];
    if (!this.#form[0].isConnected) this.#root.replaceChildren(...this.#form);
  }

  #git() {
    const address = textInput({ placeholder: "the address that git clones from", inputMode: "url" });
    const commit = textInput({ placeholder: "40 characters, 0 to 9 and a to f", className: "text mono" });
    const look = this.#look(() => ({ kind: "git", address: address.value, pin: commit.value }));
    return section(
      "From a git repository",
      element(
        "div",
        { className: "fields wide" },
        field("Address", address),
        field("Commit", commit, "The full one: what you have read is what is installed, and nothing that came later."),
      ),
      look,
    );
  }

  #package() {
    const name = textInput({ placeholder: "the package's name" });
    const version = textInput({ placeholder: "1.2.0" });
    const look = this.#look(() => ({ kind: "package", address: name.value, pin: version.value }));
    return section("From a Python package", element("div", { className: "fields" }, field("Name", name), field("Version", version)), look);
  }

  #look(order) {
    return button("Look at it", async () => {
      const plan = await attempt(this.#problem, () => ask("/plan", order()));
      if (plan) showPlan(plan);
      else this.#problem.scrollIntoView({ block: "nearest" });
    });
  }

  #zip() {
    const input = element("input", { type: "file", accept: ".zip,application/zip", hidden: true });
    const place = element(
      "div",
      { className: "drop" },
      element("span", { textContent: "Drop a zip file here, or" }),
      button("Choose a file", () => input.click()),
      input,
    );
    const take = async (file) => {
      if (!file) return;
      place.ariaBusy = "true";
      const address = `atelier/extensions/plan/zip?name=${encodeURIComponent(file.name)}`;
      const plan = await attempt(this.#problem, () => askAt(address, file.type ? file : new Blob([file], { type: "application/zip" })));
      place.ariaBusy = "false";
      if (plan) showPlan(plan);
      else this.#problem.scrollIntoView({ block: "nearest" });
    };
    input.addEventListener("change", () => (take(input.files[0]), (input.value = "")));
    for (const name of ["dragenter", "dragover"]) {
      place.addEventListener(name, (event) => (event.preventDefault(), place.toggleAttribute("data-over", true)));
    }
    place.addEventListener("dragleave", ({ relatedTarget }) => place.contains(relatedTarget) || place.toggleAttribute("data-over", false));
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      place.toggleAttribute("data-over", false);
      take(event.dataTransfer.files[0]);
    });
    return section("From a zip file", place);
  }
}

/** What would be done, to be agreed to. */
export function showPlan(plan) {
  const problem = complaint();
  // What is closed without an answer is forgotten; what was ordered is gone, unless the order did not arrive.
  let ordered = false;
  const forget = () => ask("/discard", { plan: plan.plan }).catch(() => {});
  const install = async () => {
    ordered = true;
    try {
      return await ask("/install", { plan: plan.plan });
    } catch (error) {
      ordered = false;
      if (!dialog.open) forget();
      throw error;
    }
  };
  const act = async () => {
    const card = await install();
    await extensions.load();
    dialog.close();
    toast(plan.replaces ? `${card.title} is ${card.version} now.` : `${card.title} is installed, and off.`);
  };
  const words = plan.replaces ? (plan.older ? "Go back to it" : "Update it") : plan.origin ? "Install it" : "Install these packages";
  const go = button(words, () => attempt(problem, act), { primary: true });
  const dialog = sheet(`${plan.title} ${plan.version}`, "extension-sheet", element("span", { className: "space" }), button("Cancel", () => dialog.close()), go);
  const list = (title, rows, className) => notes(title, rows.map((row) => element("li", { textContent: row })), { className });
  const parts = [
    element("p", { textContent: plan.description || "It says nothing of itself." }),
    element("p", { className: "hint origin", textContent: fromWhere(plan) }),
    list("New: it asks for", plan.replaces ? plan.new_permissions : [], "warning"),
    ...saidOf({ ...plan, dependencies: [] }),
    list("Packages that are fetched", plan.packages, ""),
    list("Packages that nothing needs any more", plan.dropped, ""),
    list("To know", plan.remarks, "warning"),
    plan.packages.length ? null : element("p", { className: "hint", textContent: "No package is fetched." }),
    problem,
  ];
  dialog.body.append(...parts.filter(Boolean));
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (!ordered) forget();
  });
  dialog.showModal();
}

function fromWhere({ origin, before, replaces, author }) {
  const by = author ? `By ${author}. ` : "";
  const from = origin ? `From ${origin.address}, ${pinOf(origin)}.` : "";
  const old = [replaces, before?.kind === "git" && pinOf(before)].filter(Boolean).join(", ");
  return `${by}${from}${replaces ? ` It takes the place of ${old}.` : ""}`;
}

const pinOf = ({ tag, pin }) => (tag ? `${tag}, which is ${pin}` : pin);
