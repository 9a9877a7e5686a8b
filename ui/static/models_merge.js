// Mixing checkpoints, and making an inpainting one of a plain one.

import { element, say } from "./elements.js";
import { attempt, button, choice, complaint, field, fillChoice, section, showByPlace, textInput } from "./models_forms.js";
import { familyOf } from "./models_shelves.js";
import { ask, models } from "./models_store.js";
import { showWorks } from "./models_works.js";

const METHODS = [
  ["weighted sum", "Weighted sum: A × (1 − M) + B × M"],
  ["add difference", "Add difference: A + (B − C) × M"],
];
const PRECISIONS = [
  ["float16", "Half (float16), the usual size"],
  ["keep", "As in A"],
];
const INPAINTING = "inpainting";

export class MergePanel {
  #root;
  #selects = new Map(); // selector to which models it offers

  constructor(root) {
    this.#root = root;
    const list = element("ul", { className: "works" });
    showWorks(list, (work) => work.kind === "merge");
    root.append(
      element("p", { className: "note", hidden: true, data: { remote: "" } }, "Models are merged only from the machine that Atelier runs on: open this page there."),
      list,
      this.#mix(),
      this.#inpainting(),
    );
    models.addEventListener("change", () => this.#renew());
    this.#renew();
  }

  open() {
    this.#renew();
  }

  #pick(wanted, none = "") {
    const select = choice([]);
    this.#selects.set(select, { wanted, none });
    return select;
  }

  #renew() {
    for (const [select, { wanted, none }] of this.#selects) {
      const fitting = models.list.filter((model) => !model.problem && wanted(model));
      const options = fitting.map((model) => [model.id, `${model.name}${familyOf(model) ? ` · ${familyOf(model)}` : ""}`]);
      options.sort((a, b) => a[1].localeCompare(b[1], undefined, { numeric: true }));
      fillChoice(select, [["", none || "Choose one"], ...options]);
    }
    showByPlace(this.#root);
  }

  #mix() {
    const isCheckpoint = (model) => model.kind === "checkpoint";
    const [a, b, c] = [this.#pick(isCheckpoint), this.#pick(isCheckpoint), this.#pick(isCheckpoint)];
    const vae = this.#pick((model) => model.kind === "vae", "The one in A");
    const [method, precision] = [choice(METHODS), choice(PRECISIONS)];
    const name = textInput({ placeholder: "how the new checkpoint is called" });
    const multiplier = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0.3, className: "range" });
    const shown = element("output", { textContent: "0.3" });
    const third = field("C, what is taken away from B", c);
    const follow = () => {
      const adds = method.value === "add difference";
      third.hidden = !adds;
      multiplier.max = adds ? 2 : 1;
      say(shown, multiplier.value);
    };
    method.addEventListener("change", follow);
    multiplier.addEventListener("input", follow);
    follow();
    const problem = complaint();
    const go = button("Merge", async () => {
      const order = {
        a: a.value,
        b: b.value,
        c: method.value === "add difference" ? c.value : "",
        method: method.value,
        multiplier: multiplier.valueAsNumber,
        precision: precision.value,
        vae: vae.value,
        name: name.value.trim(),
      };
      await this.#send(problem, order);
    }, { primary: true, sign: "merge" });
    const part = section(
      "Mix checkpoints",
      element("p", { className: "lead", textContent: "The result is a new file; A, B and C stay as they are." }),
      element("div", { className: "fields" }, field("A, the base", a), field("B", b), third),
      element(
        "div",
        { className: "fields wide" },
        field("Method", method),
        field("Multiplier M", element("span", { className: "line" }, multiplier, shown)),
      ),
      element("div", { className: "fields" }, field("Precision", precision), field("VAE", vae), field("Name", name)),
      problem,
      go,
    );
    part.dataset.local = "";
    return part;
  }

  #inpainting() {
    const plain = (model) => model.kind === "checkpoint" && model.variant !== INPAINTING;
    const checkpoint = this.#pick(plain);
    const base = this.#pick(plain);
    const inpaintingBase = this.#pick((model) => model.kind === "checkpoint" && model.variant === INPAINTING);
    const name = textInput({ placeholder: "name-inpainting" });
    const problem = complaint();
    checkpoint.addEventListener("change", () => {
      const chosen = models.find(checkpoint.value);
      if (chosen) name.value = `${chosen.label}-inpainting`;
    });
    const go = button("Make it", () => this.#send(problem, {
      inpainting: true,
      checkpoint: checkpoint.value,
      base: base.value,
      inpainting_base: inpaintingBase.value,
      name: name.value.trim(),
    }), { primary: true });
    const part = section(
      "Make an inpainting version",
      element("p", {
        className: "lead",
        textContent: "Gives a checkpoint the skill to fill in what a mask leaves out: what it learned beyond its plain base is added to the inpainting base.",
      }),
      element(
        "div",
        { className: "fields" },
        field("Your checkpoint", checkpoint),
        field("The plain base it comes from", base, "such as Stable Diffusion 1.5"),
        field("The inpainting base", inpaintingBase, "such as Stable Diffusion 1.5 Inpainting"),
        field("Name", name),
      ),
      problem,
      go,
    );
    part.dataset.local = "";
    return part;
  }

  async #send(problem, order) {
    const missing = Object.entries(order).find(([key, value]) => value === "" && !["vae", "c"].includes(key));
    const third = order.method === "add difference" && !order.c;
    const said = await attempt(problem, () => {
      if (missing || third) throw new Error(missing?.[0] === "name" ? "Give the new checkpoint a name." : "Choose every checkpoint first.");
      return ask("/merge", order);
    });
    if (said) await models.loadWorks();
  }
}
