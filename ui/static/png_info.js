// The PNG Info tab: what a file says of how it was made, and where it can go with that.

import { canvasOf } from "./canvas/canvas.js";
import { fetched, ownAddressIn } from "./canvas/picture.js";
import { element, say } from "./elements.js";
import { button } from "./models_forms.js";
import { toast } from "./models_toast.js";
import { filesOf } from "./picture_files.js";
import { left, missing, remarks } from "./recipe_dialog.js";
import { pairs, prompts } from "./recipe_words.js";
import { readRecipe } from "./recipes.js";
import { goTo } from "./tabs.js";
import { wish } from "./wishes.js";

const SENDS = [
  ["txt2img", "txt2img"],
  ["img2img", "img2img"],
  ["inpaint", "Inpaint"],
  ["extras", "Extras"],
];

/** Called by Gradio's component. */
export function start(root) {
  new PngInfo(root.querySelector(".png-info"));
}

class PngInfo {
  #root;
  #file = null; // the Blob, or null
  #recipe = null;
  #turn = 0;

  constructor(root) {
    this.#root = root;
    const place = this.#find(".drop-place");
    this.#find(".choose").addEventListener("click", () => this.#choose());
    for (const name of ["dragenter", "dragleave", "drop"]) {
      place.addEventListener(name, (event) => {
        if (name !== "dragleave" || !place.contains(event.relatedTarget)) place.toggleAttribute("data-over", name === "dragenter");
      });
    }
    place.addEventListener("dragover", (event) => event.preventDefault());
    place.addEventListener("drop", (event) => (event.preventDefault(), this.#take(event.dataTransfer)));
    document.addEventListener("paste", (event) => {
      if (root.offsetParent && !event.target.matches?.("input, textarea")) this.#take(event.clipboardData);
    });
    this.#find(".sends .line").append(...SENDS.map(([tab, words]) => button(words, () => this.#send(tab), { className: `to-${tab}` })));
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  #choose() {
    const input = element("input", { type: "file", accept: "image/*,.txt,.json" });
    input.addEventListener("change", () => input.files[0] && this.#show(input.files[0]));
    input.click();
  }

  #take(transfer) {
    const text = transfer?.getData("text/plain");
    const source = ownAddressIn(transfer) ?? transfer?.files[0] ?? (text ? new Blob([text], { type: "text/plain" }) : null);
    if (source) this.#show(source);
  }

  async #show(source) {
    const turn = (this.#turn += 1);
    let problem = "";
    let found = null;
    try {
      this.#file = typeof source === "string" ? await fetched(source) : source;
      found = await readRecipe(this.#file);
    } catch (error) {
      problem = error.message;
    }
    if (turn !== this.#turn) return; // another file came meanwhile
    this.#recipe = found?.recipe ?? null;
    await this.#picture();
    this.#find(".problem").hidden = !problem;
    say(this.#find(".problem"), problem);
    this.#tell(found);
  }

  async #picture() {
    const image = this.#find(".shown");
    if (image.src) URL.revokeObjectURL(image.src);
    image.removeAttribute("src");
    image.hidden = true;
    say(this.#find(".ask"), this.#file.name ?? "Drop another one here, or paste it");
    if (this.#file.type.startsWith("text/")) return;
    image.src = URL.createObjectURL(this.#file);
    image.alt = this.#file.name ?? "The picture";
    image.hidden = !(await image.decode().then(
      () => true,
      () => false,
    ));
  }

  get #hasPicture() {
    return !this.#find(".shown").hidden;
  }

  #tell(found) {
    const { recipe, about } = found ?? {};
    this.#find(".told").hidden = !recipe;
    this.#find(".sends").hidden = !recipe && !this.#hasPicture;
    for (const [tab] of SENDS) {
      const offered = tab === "extras" ? this.#hasPicture : tab === "txt2img" ? Boolean(recipe) : true;
      this.#find(`.to-${tab}`).hidden = !offered;
    }
    if (!recipe) return;
    const { infotext } = recipe;
    say(this.#find(".origin"), recipe.origin === "text" ? "Words without parameters" : `Written by ${recipe.origin} · ${recipe.place}`);
    this.#find(".words").replaceChildren(...prompts(infotext));
    this.#find(".pairs tbody").replaceChildren(...pairs(infotext));
    this.#find(".pairs").hidden = infotext.pairs.length === 0;
    this.#find(".about").replaceChildren(...[missing(about.missing), left(about.not_applied), remarks(about.remarks)].filter(Boolean));
    say(this.#find(".raw pre"), recipe.text);
  }

  async #send(tab) {
    try {
      if (tab === "extras") {
        goTo("extras");
        await (await filesOf("extras_files")).add([this.#file]);
        return;
      }
      goTo(tab);
      const with_picture = tab !== "txt2img" && this.#hasPicture;
      if (this.#recipe) wish("apply", { recipe: this.#recipe, tab, way: "all", with_picture });
      if (with_picture) await (await canvasOf(tab)).load(this.#file);
    } catch ({ message }) {
      toast(message);
    }
  }
}
