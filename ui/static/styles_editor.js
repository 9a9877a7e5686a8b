// Styles: named words that are put around a prompt. Kept by Atelier in AUTOMATIC1111's styles.csv.

import { element, reconcile, say } from "./elements.js";
import { askAt } from "./json_door.js";
import { area, attempt, button, choice, complaint, field, fillChoice, textInput } from "./models_forms.js";
import { toast } from "./models_toast.js";
import { sheet } from "./sheet.js";
import { wish } from "./wishes.js";

const SETTLE = 200; // milliseconds after a key until the preview is asked for
const MANY = 8; // styles from which on there is a search
const NEW = "";

class StylesEditor {
  #dialog;
  #list = element("ul", { className: "names", attributes: { "aria-label": "Styles" } });
  #search = textInput({ type: "search", placeholder: "Search", ariaLabel: "Search styles" });
  #name = textInput({ maxLength: 200 });
  #prompt = area("");
  #negative = area("");
  #file = choice([]);
  #result = element("p", { className: "result" });
  #negativeResult = element("p", { className: "result negative" });
  #problem = complaint();
  #fileField = field("File", this.#file);
  #all = { styles: [], files: [], problems: [] };
  #tab = "txt2img";
  #open = NEW; // the name of the style that is being edited
  #timer = 0;

  constructor() {
    const write = button("Save", () => this.#save(), { primary: true });
    const put = button("Put into the prompt", () => this.#put(), { className: "put" });
    const remove = button("Delete", () => this.#delete(), { className: "delete" });
    const bring = button("Import a styles.csv", () => this.#choose());
    const space = element("span", { className: "space" });
    this.#dialog = sheet("Styles", "styles-sheet", write, put, remove, space, bring);
    const create = button("New style", () => this.#show(NEW), { sign: "add" });
    this.#dialog.body.append(
      element("div", { className: "side" }, create, this.#search, this.#list),
      element(
        "div",
        { className: "stack" },
        this.#problem,
        element("div", { className: "fields" }, field("Name", this.#name), this.#fileField),
        field("Prompt", this.#prompt, "{prompt} is where your own words go; without it they stand in front."),
        field("Negative prompt", this.#negative),
        element("section", { className: "preview" }, element("h3", { textContent: "What is made of the prompt" }), this.#result, this.#negativeResult),
      ),
    );
    for (const input of [this.#prompt, this.#negative]) input.addEventListener("input", () => this.#soon());
    this.#search.addEventListener("input", () => this.#renderList());
  }

  async open(tab) {
    this.#tab = tab;
    this.#take(await askAt("atelier/styles"));
    const [chosen] = window.atelierValues?.[tab]?.styles ?? [];
    this.#show(this.#find(chosen) ? chosen : (this.#all.styles[0]?.name ?? NEW));
    this.#dialog.showModal();
    (this.#open ? this.#prompt : this.#name).focus();
  }

  #find(name) {
    return this.#all.styles.find((style) => style.name === name);
  }

  #take(all) {
    this.#all = all;
    fillChoice(this.#file, all.files.map((file) => [file, file]));
    this.#fileField.hidden = all.files.length < 2;
    this.#search.hidden = all.styles.length <= MANY;
    this.#renderList();
  }

  #show(name) {
    const style = this.#find(name);
    this.#open = style ? name : NEW;
    this.#name.value = style?.name ?? "";
    this.#prompt.value = style?.prompt ?? "";
    this.#negative.value = style?.negative_prompt ?? "";
    this.#file.value = style?.file ?? this.#all.files[0];
    this.#problem.hidden = true;
    if (this.#all.problems.length) this.#complain(this.#all.problems.join(" "));
    for (const kind of ["put", "delete"]) this.#dialog.querySelector(`.${kind}`).disabled = !style;
    this.#renderList();
    this.#preview();
    if (!style && this.#dialog.open) this.#name.focus();
  }

  #complain(sentence) {
    this.#problem.hidden = false;
    say(this.#problem, sentence);
  }

  #renderList() {
    const wanted = this.#search.hidden ? "" : this.#search.value.trim().toLowerCase();
    const shown = this.#all.styles.filter(({ name, prompt }) => `${name} ${prompt}`.toLowerCase().includes(wanted));
    reconcile(this.#list, shown, {
      key: ({ name }) => name,
      make: ({ name }) => element("li", {}, element("button", { type: "button", textContent: name, onclick: () => this.#show(name) })),
      renew: (row, { name }) => row.firstChild.setAttribute("aria-pressed", String(name === this.#open)),
    });
  }

  async #save() {
    const name = this.#name.value.trim();
    const style = { name, prompt: this.#prompt.value, negative_prompt: this.#negative.value, file: this.#file.value };
    const all = await attempt(this.#problem, () => askAt("atelier/styles/save", { ...style, replaces: this.#open }));
    if (!all) return;
    this.#take(all);
    this.#show(name);
    toast(`The style ${name} is saved`);
  }

  async #delete() {
    const style = this.#find(this.#open);
    const all = await attempt(this.#problem, () => askAt("atelier/styles/delete", { name: style.name }));
    if (!all) return;
    this.#take(all);
    this.#show(this.#all.styles[0]?.name ?? NEW);
    const again = () => askAt("atelier/styles/save", { ...style, replaces: "" }).catch((error) => toast(error.message));
    toast(`The style ${style.name} is deleted`, again);
  }

  #put() {
    this.#dialog.close();
    wish("materialise", { tab: this.#tab, styles: [this.#open] });
  }

  #choose() {
    const input = element("input", { type: "file", accept: ".csv,text/csv" });
    input.addEventListener("change", async () => {
      const [file] = input.files;
      const address = `atelier/styles/files?name=${encodeURIComponent(file.name)}`;
      const all = await attempt(this.#problem, () => askAt(address, new Blob([file])));
      if (!all) return;
      this.#take(all);
      this.#show(all.styles.at(-1)?.name ?? NEW);
      toast(all.count === 1 ? "One style was imported" : `${all.count} styles were imported`);
    });
    input.click();
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#preview(), SETTLE);
  }

  async #preview() {
    const { prompt = "", negative_prompt = "", styles = [] } = window.atelierValues?.[this.#tab] ?? {};
    const others = (styles ?? []).filter((name) => name !== this.#open && this.#find(name));
    const words = { style_prompt: this.#prompt.value, style_negative_prompt: this.#negative.value };
    const made = await askAt("atelier/styles/preview", { prompt: prompt ?? "", negative_prompt: negative_prompt ?? "", styles: others, ...words }).catch(() => null);
    say(this.#result, made?.prompt || "Nothing yet");
    say(this.#negativeResult, made?.negative_prompt ? `Negative: ${made.negative_prompt}` : "");
  }
}

let editor = null;

document.addEventListener("click", ({ target }) => {
  const tab = target.closest?.(".tab-tools button.styles-editor")?.id.replace(/_styles_edit_button$/, "");
  if (!tab) return;
  editor ??= new StylesEditor();
  editor.open(tab).catch(({ message }) => toast(message));
});
