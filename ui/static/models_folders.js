// Where models are looked for, and what lies there and was left out.

import { element, iconButton, reconcile, say } from "./elements.js";
import { attempt, button, complaint, field, section, showByPlace, textInput } from "./models_forms.js";
import { ask, models } from "./models_store.js";
import { toast } from "./models_toast.js";

const KINDS = {
  checkpoint: "checkpoints",
  lora: "LoRAs",
  embedding: "embeddings",
  vae: "VAEs",
  controlnet: "ControlNet",
  upscaler: "upscalers",
  unknown: "models of every kind",
};
const MOST_SKIPPED = 300;

export class FoldersPanel {
  #root;
  #list = element("ul", { className: "folders" });
  #problem = complaint();
  #skipped = element("ul", { className: "skipped" });
  #skippedPart;

  constructor(root) {
    this.#root = root;
    this.#skippedPart = section("Left out", this.#skipped);
    root.append(this.#searched(), this.#skippedPart);
    models.addEventListener("change", () => this.#renew());
  }

  open() {
    this.#load();
    this.#renew();
  }

  #searched() {
    const path = textInput({ placeholder: "the full path of a folder" });
    const add = button("Add", async () => {
      if (!path.value.trim()) return;
      const said = await attempt(this.#problem, () => ask("/folders", { path: path.value.trim() }));
      if (!said) return;
      path.value = "";
      await this.#load();
      await models.load();
    }, { primary: true, sign: "add" });
    path.addEventListener("keydown", (event) => event.key === "Enter" && add.click());
    const form = element(
      "div",
      { data: { local: "" }, className: "stack" },
      element("div", { className: "line" }, field("Another folder", path), add),
      element("p", {
        className: "lead",
        textContent:
          "Name the folder of an AUTOMATIC1111, Forge or ComfyUI installation and everything in it is used as it lies; " +
          "nothing is copied or changed. A folder of your own order works as well: what a file is, Atelier reads from the file.",
      }),
    );
    return section(
      "Searched folders",
      this.#list,
      this.#problem,
      form,
      element("p", { className: "note", hidden: true, data: { remote: "" } }, "Folders are added only from the machine that Atelier runs on: open this page there."),
    );
  }

  async #load() {
    const said = await attempt(this.#problem, () => ask("/folders"));
    if (!said) return;
    reconcile(this.#list, said.folders, {
      key: ({ path, kind }) => `${path} ${kind}`,
      make: ({ path }) =>
        element(
          "li",
          {},
          element("code", { textContent: path }),
          element("span", { className: "what" }),
          iconButton("close", `Search ${path} no longer`, () => this.#remove(path), "remove"),
        ),
      renew: (row, folder) => {
        const what = [folder.title || KINDS[folder.kind] || folder.kind, folder.there ? "" : "not there now"];
        say(row.querySelector(".what"), what.filter(Boolean).join(" · "));
        row.toggleAttribute("data-missing", !folder.there);
        row.querySelector(".remove").hidden = !folder.added || !models.local;
      },
    });
  }

  async #remove(path) {
    const said = await attempt(this.#problem, () => ask("/folders/remove", { path }));
    if (!said) return;
    await this.#load();
    toast(`${path} is searched no longer. Its files are untouched.`, async () => {
      await attempt(this.#problem, () => ask("/folders", { path }));
      await this.#load();
    });
  }

  #renew() {
    showByPlace(this.#root);
    const left = models.skipped;
    this.#skippedPart.hidden = left.length === 0;
    const rows = left.slice(0, MOST_SKIPPED).map(({ path, reason }) =>
      element("li", {}, element("code", { textContent: path }), element("span", { className: "what", textContent: reason })),
    );
    const rest = left.length - rows.length;
    if (rest > 0) rows.push(element("li", { textContent: `and ${rest} more` }));
    this.#skipped.replaceChildren(...rows);
  }
}
