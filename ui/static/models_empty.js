// What is said where there is nothing to show: what a thing is for, and how to get one.

import { element } from "./elements.js";
import { button } from "./models_forms.js";
import { SHELVES } from "./models_shelves.js";

const WHAT = {
  checkpoints: "A checkpoint is the model that draws. Download one, or name the folder where yours lie.",
  loras: "A LoRA adds a style, a person or a thing to a checkpoint. Files go into models/loras, or into any folder you name.",
  embeddings: "An embedding is a word that a checkpoint learned later. Files go into models/embeddings.",
  vaes: "A VAE turns what was drawn into pixels; checkpoints bring their own, and another can make clearer eyes and faces.",
  controlnet: "A ControlNet lets a picture follow lines, a pose or a depth. Files go into models/controlnet.",
  upscalers: "An upscaler makes pictures larger and keeps them sharp. Files go into models/upscalers.",
  other: "What Atelier finds and knows no use for yet would stand here.",
};

/** @param looking {shelf, folder, words}; @param acts {panel(name), clear()} */
export function empty(looking, acts, waiting) {
  const shelf = SHELVES.find(({ name }) => name === looking.shelf);
  if (waiting) return [element("p", { textContent: `Looking into ${waiting.toLocaleString()} files.` })];
  if (looking.words || looking.folder) {
    return [
      element("h2", { textContent: "Nothing fits" }),
      element("p", { textContent: `No ${shelf.one} ${looking.folder ? `in ${looking.folder} ` : ""}has all of these words.` }),
      button("Show all", () => acts.clear()),
    ];
  }
  const parts = [element("h2", { textContent: `No ${shelf.one} yet` }), element("p", { textContent: WHAT[shelf.name] })];
  if (shelf.name === "other") return parts;
  const line = element("div", { className: "line" });
  line.append(
    button("Add models", () => acts.panel("add"), { primary: true, sign: "download" }),
    button("Name a folder", () => acts.panel("folders"), { sign: "folder" }),
  );
  return [...parts, line];
}
