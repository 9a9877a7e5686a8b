// Presets: named sets of a form's values, and those that come with a checkpoint.

import { element, icon, iconButton, reconcile, say } from "./elements.js";
import { askAt } from "./json_door.js";
import { attempt, button, complaint, field, textInput } from "./models_forms.js";
import { toast } from "./models_toast.js";
import { sheet } from "./sheet.js";
import { heard, wish } from "./wishes.js";

const TABS = { txt2img: "txt2img", img2img: "img2img", inpaint: "Inpaint" };
/** [group of ui/presets.py, words, whether it is usually kept, the tabs that have it] */
const GROUPS = [
  ["sampling", "Sampling", true],
  ["size", "Size and batch", true],
  ["hires", "Hires. fix", true, ["txt2img"]],
  ["picture", "Picture and mask", true, ["img2img", "inpaint"]],
  ["words", "Prompts and styles", false],
  ["models", "Checkpoint, VAE, refiner", false],
  ["seed", "Seed", false],
  ["script", "Script", false],
  ["extensions", "Extensions", false],
];

class PresetsSheet {
  #dialog = sheet("Presets", "presets-sheet");
  #list = element("ul", { className: "names" });
  #none = element("p", { className: "hint", textContent: "There are none yet: save what stands in the form below." });
  #name = textInput({ maxLength: 100, placeholder: "Portrait, quick" });
  #groups = element("div", { className: "groups", role: "group", ariaLabel: "What is kept" });
  #problem = complaint();
  #with = element("p", { className: "hint" });
  #forget = button("Forget these", () => this.#keepForCheckpoint([]));
  #everybody = tick("everybody", "For everybody", false);
  #saving = element("div", { className: "saving" }, element("h3", { textContent: "Save what stands in the form" }));
  #checkpoints = element("div", { className: "line" });
  #tab = "txt2img";

  constructor() {
    const save = button("Save", () => this.#save(), { primary: true });
    const hold = button("Use these values with it", () => this.#keepForCheckpoint(this.#chosen()));
    this.#saving.append(this.#groups, element("div", { className: "line" }, field("Name", this.#name), this.#everybody, save));
    this.#checkpoints.append(hold, this.#forget);
    this.#dialog.body.append(
      this.#problem,
      this.#list,
      this.#none,
      this.#saving,
      element("h3", { className: "with-name" }),
      this.#with,
      this.#checkpoints,
    );
    this.#name.addEventListener("keydown", (event) => event.key === "Enter" && (event.preventDefault(), save.click()));
  }

  async open(tab) {
    this.#tab = tab;
    const groups = GROUPS.filter(([, , , tabs]) => !tabs || tabs.includes(tab));
    this.#groups.replaceChildren(...groups.map(([name, words, usual]) => tick(name, words, usual)));
    this.#name.value = "";
    this.#everybody.firstChild.checked = false;
    this.#problem.hidden = true;
    await this.renew();
    this.#dialog.showModal();
    (this.#list.querySelector("button") ?? this.#name).focus();
  }

  get #checkpoint() {
    return window.atelierCheckpoint ?? "";
  }

  async renew() {
    const { presets, checkpoint, make, manage, shared } = await askAt(`atelier/presets?checkpoint=${encodeURIComponent(this.#checkpoint)}`);
    this.#none.hidden = presets.length > 0;
    say(this.#none, make ? "There are none yet: save what stands in the form below." : "There are none yet.");
    this.#saving.hidden = !make;
    this.#checkpoints.hidden = !manage;
    this.#everybody.hidden = !(shared && manage);
    reconcile(this.#list, presets, {
      key: ({ name, values, tab, own, deletable }) => `${name} ${values} ${tab} ${own} ${deletable}`,
      make: (preset) => this.#row(preset),
    });
    say(this.#dialog.querySelector(".with-name"), `With ${this.#checkpoint || "this checkpoint"}`);
    const has = checkpoint.length === 1 ? "One value is" : `${checkpoint.length} values are`;
    const none = manage ? "Whenever it is chosen, the values that are ticked above can come with it." : "It brings what suits it by itself.";
    say(this.#with, checkpoint.length ? `${has} set whenever it is chosen.` : none);
    this.#forget.hidden = !checkpoint.length;
  }

  #row({ name, tab, values, own, deletable }) {
    const words = [TABS[tab] ?? tab, values === 1 ? "1 value" : `${values} values`, ...(own ? [] : ["everybody's"])];
    const about = element("span", { className: "about", textContent: words.join(" · ") });
    const apply = () => {
      this.#dialog.close();
      wish("preset", { tab: this.#tab, name });
    };
    const named = element("span", { textContent: name });
    return element(
      "li",
      {},
      element("button", { type: "button", title: `Fill in ${name}`, onclick: apply }, named, about),
      ...(deletable ? [iconButton("trash", `Delete ${name}`, () => this.#delete(name))] : []),
    );
  }

  async #delete(name) {
    if (!(await attempt(this.#problem, () => askAt("atelier/presets/delete", { name })))) return;
    await this.renew();
    toast(`The preset ${name} is deleted`);
  }

  #chosen() {
    return [...this.#groups.querySelectorAll("input:checked")].map(({ value }) => value);
  }

  #save() {
    const everybody = this.#everybody.firstChild.checked;
    wish("save_preset", { tab: this.#tab, name: this.#name.value, groups: this.#chosen(), everybody });
  }

  #keepForCheckpoint(groups) {
    wish("save_preset", { tab: this.#tab, checkpoint: this.#checkpoint, groups });
  }

  /** What came of saving. */
  async saved({ words = "", problem = "" }) {
    this.#problem.hidden = !problem;
    say(this.#problem, problem);
    if (problem) return;
    this.#name.value = "";
    await this.renew();
    toast(words);
  }
}

function tick(name, words, checked) {
  const box = element("input", { type: "checkbox", value: name, checked, className: "visually-hidden" });
  return element("label", { className: "tick" }, box, icon("check"), words);
}

let presets = null;

document.addEventListener("click", ({ target }) => {
  const tab = target.closest?.(".tab-tools button.presets")?.id.replace(/_presets$/, "");
  if (!tab) return;
  presets ??= new PresetsSheet();
  presets.open(tab).catch(({ message }) => toast(message));
});

heard("saved", (what) => presets?.saved(what).catch(({ message }) => toast(message)));
