// Everything about one model, in a drawer beside the grid.

import { copyText } from "./clipboard.js";
import { element, iconButton, say } from "./elements.js";
import { modelActs } from "./extension_slots.js";
import { picture, warmth } from "./models_card.js";
import { attempt, button, complain, complaint, textInput } from "./models_forms.js";
import { notesForm, typeForm } from "./models_notes.js";
import { ask, models } from "./models_store.js";
import { toast } from "./models_toast.js";
import { act, toggleWord, useOf } from "./models_use.js";
import { isConverting } from "./models_works.js";
import { prompts } from "./prompt_tokens.js";
import { studio } from "./studio.js";
import { bytes } from "./words.js";

const LARGE = 768; // pixels of the preview
const FEW_TAGS = 24;
const MOMENT = 80; // milliseconds: who walks through the cards quickly asks for the last one only
const PICKLE =
  "This is a pickle: a file that can run a program when it is opened. Atelier never opens it here. Convert reads its " +
  "numbers in a separate process without network, runs nothing of it, and writes a safetensors file beside it.";

export class Details {
  #root;
  #model = null;
  #said = null;
  #problem = complaint();
  #tags = false; // whether all are shown
  #back = null; // where the focus was
  #asking = 0;

  constructor(root) {
    this.#root = root;
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || !root.checkVisibility()) return;
      event.preventDefault();
      this.close();
    });
    for (const news of ["change", "works"]) models.addEventListener(news, () => this.#follow());
    for (const news of ["state", "checkpoint"]) models.addEventListener(news, () => this.#renew());
    prompts.addEventListener("change", () => this.#renew());
  }

  get open() {
    return this.#model?.id ?? "";
  }

  /** Open the drawer for a model. */
  show(model) {
    this.#back = document.activeElement;
    this.#root.hidden = false;
    this.#root.closest(".models").toggleAttribute("data-drawer", true);
    this.follow(model);
    this.#root.querySelector(".close").focus({ preventScroll: true });
  }

  /** Show another model in the open drawer; the focus stays where it is. */
  follow(model) {
    this.#model = model;
    this.#said = null;
    this.#tags = false;
    this.#draw();
    this.#root.scrollTop = 0;
    clearTimeout(this.#asking);
    this.#asking = setTimeout(() => this.#load(), MOMENT);
  }

  close() {
    const within = this.#root.contains(document.activeElement) || document.activeElement === document.body;
    this.#model = null;
    this.#root.hidden = true;
    this.#root.closest(".models").toggleAttribute("data-drawer", false);
    this.#root.replaceChildren();
    if (within && this.#back?.isConnected) this.#back.focus({ preventScroll: true });
  }

  async #load() {
    const { id } = this.#model;
    const said = await attempt(this.#problem, () => ask(`/${id}`));
    if (!said || this.#model?.id !== id) return;
    this.#said = said;
    this.#draw();
  }

  /** The list is new: what is being written stays. */
  #follow() {
    if (!this.#model) return;
    const now = models.find(this.#model.id);
    if (!now) return models.loaded && this.close();
    const same = ["kind", "title", "preview", "modified", "problem", "chosen"].every((key) => now[key] === this.#model[key]);
    this.#model = now;
    if (same || this.#root.querySelector("[data-dirty]")) this.#renew();
    else this.#load();
  }

  #draw() {
    const [model, said] = [this.#model, this.#said];
    const kept = this.#root.scrollTop;
    const focused = this.#root.contains(document.activeElement);
    this.#root.replaceChildren(
      element(
        "header",
        {},
        element("div", {}, element("h2", { textContent: model.label }), element("p", { className: "title", textContent: model.title })),
        iconButton("close", "Close the details (Esc)", () => this.close(), "close"),
      ),
      element("div", { className: "art large" }, picture(model, LARGE)),
      this.#sentences(),
      this.#problem,
      this.#buttons(),
      this.#facts(),
      ...(said ? this.#rest() : []),
    );
    this.#root.scrollTop = kept;
    if (focused) this.#root.querySelector(".close").focus({ preventScroll: true });
    this.#renew();
  }

  #sentences() {
    const model = this.#model;
    const lines = [model.convertible ? PICKLE : model.problem, models.misfits.get(model.id), model.remark];
    const all = [...lines, ...(this.#said?.problems ?? [])].filter(Boolean);
    return element("div", { className: "sentences" }, ...all.map((words) => element("p", { className: "note", textContent: words })));
  }

  #buttons() {
    const model = this.#model;
    const order = (path, body = {}) => attempt(this.#problem, () => ask(`/${model.id}/${path}`, body));
    const row = element("div", { className: "line acts-of" });
    const use = button("", () => act(models.find(model.id) ?? model), { primary: true, className: "use" });
    if (["checkpoint", "lora", "embedding"].includes(model.kind) && !model.problem) row.append(use);
    if (model.convertible && models.local) {
      row.append(button("Convert to safetensors", async () => (await order("convert"), models.loadWorks()), { primary: true, className: "convert" }));
    }
    if (model.kind === "checkpoint" && !model.problem) {
      const keep = button("Keep warm", async () => {
        await order("keep", { kept: !models.state(model.id)?.kept });
        await models.loadState();
      }, { sign: "pin", className: "keep" });
      const unload = button("Unload", async () => (await order("unload"), models.loadState()), { className: "unload" });
      row.append(keep, unload);
    }
    row.append(...modelActs(model).map(({ title, run }) => button(title, run, { sign: "extension" })));
    row.append(button("Use last picture as preview", () => this.#preview(), { className: "preview" }));
    if (models.local) row.append(button("Move to trash", () => this.#trash(), { sign: "trash", className: "trash" }));
    return row;
  }

  async #preview() {
    const last = studio.newest;
    if (!last) return complain(this.#problem, "There is no picture yet: make one, then come back.");
    const said = await attempt(this.#problem, () => ask(`/${this.#model.id}/preview`, { job: last.job, index: last.index }));
    if (!said) return undefined;
    await models.load();
    const { id, label } = this.#model;
    return toast(`Your last picture stands for ${label} now.`, async () => {
      await ask(`/${id}/preview/remove`, {}).catch((error) => toast(error.message));
      await models.load();
    });
  }

  async #trash() {
    const { id, label } = this.#model;
    const said = await attempt(this.#problem, () => ask(`/${id}/trash`, {}));
    if (!said) return;
    this.close();
    await models.load();
    toast(`${label} is in the trash.`, async () => {
      try {
        await ask("/restore", { trashed: said.trashed });
      } catch (error) {
        toast(error.message);
      }
      await models.load();
    });
  }

  #facts() {
    const [model, said] = [this.#model, this.#said];
    const date = new Date(model.modified * 1000);
    const rows = [
      ["Family", model.title],
      ["Format", model.format],
      ["Size", bytes(model.size)],
      ["Changed", Number.isFinite(date.getTime()) ? date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : ""],
      ["Made for", said?.resolution.replace(" x ", " × ") ?? ""],
      ["Written as", model.problem ? "" : model.kind === "lora" ? `<lora:${model.token}:1>` : model.token],
      ["Fits", said?.fits?.length && !model.problem ? said.fits.slice(0, 6).join(", ") + (said.fits.length > 6 ? ` and ${said.fits.length - 6} more` : "") : ""],
      ["Folder", model.folder],
    ];
    const list = element("dl", { className: "facts-of" });
    for (const [what, value] of rows) if (value) list.append(element("dt", { textContent: what }), element("dd", { textContent: value }));
    if (said) {
      list.append(element("dt", { textContent: "File" }), element("dd", {}, this.#copyable(said.path)));
      list.append(element("dt", { textContent: "SHA-256" }), element("dd", {}, this.#hash(said)));
    }
    return list;
  }

  #copyable(text) {
    const sign = iconButton("copy", "Copy", async () => {
      const done = await copyText(text, this.#root);
      toast(done ? "Copied." : "Select the text and press Ctrl C.");
    });
    return element("span", { className: "copyable" }, element("code", { textContent: text }), sign);
  }

  #hash(said) {
    if (said.hash) return this.#copyable(said.hash);
    const place = element("span", {});
    const take = button("Take it", async () => {
      const answer = await attempt(this.#problem, () => ask(`/${this.#model.id}/hash`, {}));
      if (answer) place.replaceChildren(this.#copyable((said.hash = answer.hash)));
    });
    place.append(take);
    return place;
  }

  #rest() {
    const [model, said] = [this.#model, this.#said];
    const parts = [];
    const words = [...(said.civitai?.trained_words ?? [])];
    if (words.length) parts.push(heading("Trigger words"), this.#words("triggers", words.map((word) => [word])));
    if (said.tags.length) parts.push(heading("Words it was trained with"), this.#words("tags", said.tags));
    const about = said.civitai && [said.civitai.name, said.civitai.version, said.civitai.base_model].filter(Boolean).join(" · ");
    if (about) parts.push(heading("From Civitai"), element("p", { className: "about" }, link(said.civitai.page, about)));
    if (said.civitai?.description) parts.push(element("p", { className: "about long", textContent: said.civitai.description }));
    parts.push(heading("Your notes"), notesForm(model, said.notes), typeForm(model, said, () => this.#load()));
    if (Object.keys(said.metadata).length) parts.push(metadata(said.metadata));
    return parts;
  }

  /** Words to click into the prompt; [word, how often]. */
  #words(kind, words) {
    const list = element("ul", { className: `words-of ${kind}` });
    const draw = () => {
      const shown = this.#tags ? words : words.slice(0, FEW_TAGS);
      const chips = shown.map(([word, count]) =>
        element(
          "li",
          {},
          element(
            "button",
            { type: "button", className: "word", data: { word }, onclick: () => toggleWord(word) },
            element("span", { textContent: word }),
            count ? element("small", { textContent: count }) : null,
          ),
        ),
      );
      if (shown.length < words.length) {
        const more = button(`${words.length - shown.length} more`, () => ((this.#tags = true), draw(), this.#renew()));
        chips.push(element("li", {}, more));
      }
      list.replaceChildren(...chips);
    };
    draw();
    return list;
  }

  /** What changes while the drawer is open. */
  #renew() {
    if (!this.#model || this.#root.hidden) return;
    const model = this.#model;
    const use = useOf(model);
    const words = {
      checkpoint: use.on ? "Current checkpoint" : "Use this checkpoint",
      lora: use.on ? "Take out of the prompt" : `Put into the prompt${models.misfits.has(model.id) ? " anyway" : ""}`,
      embedding: use.where?.includes("prompt") ? "Take out of the prompt" : "Put into the prompt",
    };
    const button = this.#root.querySelector(".use");
    if (button) {
      say(button.querySelector("span"), words[model.kind] ?? "");
      button.disabled = model.kind === "checkpoint" && use.on;
    }
    const state = models.state(model.id);
    const keep = this.#root.querySelector(".keep");
    if (keep) {
      keep.setAttribute("aria-pressed", String(Boolean(state?.kept)));
      say(keep.querySelector("span"), state?.kept ? "Kept warm" : "Keep warm");
      this.#root.querySelector(".unload").disabled = warmth(model)?.state === "cold";
    }
    const convert = this.#root.querySelector(".convert");
    if (convert) convert.disabled = isConverting(model);
    for (const word of this.#root.querySelectorAll(".word")) {
      word.setAttribute("aria-pressed", String(prompts.has("prompt", word.dataset.word)));
    }
  }
}

function heading(words) {
  return element("h3", { textContent: words });
}

/** Words that lead to a page elsewhere, if its address is one. */
function link(address, words) {
  if (!URL.canParse(address ?? "") || new URL(address).protocol !== "https:") return words;
  return element("a", { href: address, target: "_blank", rel: "noopener noreferrer", textContent: words });
}

/** Everything the file says of itself, to be searched. */
function metadata(said) {
  const rows = Object.entries(said).sort(([a], [b]) => a.localeCompare(b));
  const list = element("dl", { className: "facts-of metadata" });
  const search = textInput({ type: "search", placeholder: "Search", attributes: { "aria-label": "Search the metadata" } });
  const draw = () => {
    const wanted = search.value.toLowerCase();
    const found = rows.filter(([key, value]) => `${key} ${value}`.toLowerCase().includes(wanted));
    list.replaceChildren(...found.flatMap(([key, value]) => [element("dt", { textContent: key }), element("dd", { textContent: value })]));
  };
  search.addEventListener("input", draw);
  draw();
  return element(
    "details",
    { className: "about-file" },
    element("summary", { textContent: `Metadata (${rows.length})` }),
    element("div", { className: "stack" }, search, list),
  );
}
