// The bars of the canvas: tools at the side, and what the chosen tool can be set to above.

import { element, icon, iconButton, say } from "../elements.js";
import { slots } from "../extension_slots.js";
import { scrolls } from "./scrolling.js";
import { hex, SIZES, unhex } from "./settings.js";

const TOOLS = [
  { name: "brush", erasing: false, icon: "brush", title: "Brush (B)" },
  { name: "brush", erasing: true, icon: "eraser", title: "Eraser (E)" },
  { name: "rectangle", icon: "rectangle", title: "Rectangle (R)" },
  { name: "lasso", icon: "lasso", title: "Lasso (L)" },
  { name: "fill", icon: "bucket", title: "Fill a region (G)" },
  { name: "box", icon: "frame", title: "Box: the area to generate (C)" },
  { name: "hand", icon: "hand", title: "Move the view (H, or hold Space)" },
];
const RATIOS = ["1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16"];
const LAYERS = { mask: "Mask", sketch: "Sketch" };
const [SMALLEST, LARGEST] = SIZES;

/** A slider's places are the sizes' roots, so that small sizes can be told apart. */
const toSlider = (size) => Math.sqrt(size / LARGEST) * 100;
const fromSlider = (place) => Math.max(SMALLEST, Math.round((place / 100) ** 2 * LARGEST));

export class Tools {
  #rail;
  #options;
  #settings;
  #canvas;
  #offers;
  #buttons = [];
  #ends; // what looks at the page no more

  /** @param offers {mask, sketch, box}: what this canvas has */
  constructor(rail, options, canvas, settings, offers) {
    [this.#rail, this.#options, this.#canvas, this.#settings, this.#offers] = [rail, options, canvas, settings, offers];
    this.#build();
    settings.addEventListener("change", () => this.render());
    canvas.addEventListener("change", () => this.render());
    this.render();
    this.#ends = [rail, options].map(scrolls);
  }

  close() {
    for (const end of this.#ends) end();
  }

  #build() {
    const { box, mask, sketch } = this.#offers;
    for (const tool of TOOLS) {
      if ((tool.name === "box" && !box) || (!["box", "hand"].includes(tool.name) && !mask && !sketch)) continue;
      const { name, erasing } = tool;
      const pick = () => this.#canvas.pick(name, erasing);
      const button = iconButton(tool.icon, tool.title, pick, `tool ${erasing ? "eraser" : name}`);
      this.#buttons.push({ button, tool });
      this.#rail.append(button);
    }
    const parts = [
      element("span", { className: "gap" }),
      iconButton("undo", "Undo (Ctrl Z)", () => this.#canvas.undo(), "undo"),
      iconButton("redo", "Redo (Ctrl Y)", () => this.#canvas.redo(), "redo"),
    ];
    this.#rail.append(...parts);
    if (mask) slots.then(({ canvas }) => this.#ofExtensions(canvas, parts[0]));
    this.#options.append(
      this.#layers(),
      this.#brush(),
      this.#way(),
      this.#colours(),
      this.#maskActs(),
      this.#boxActs(),
    );
  }

  /** Tools of extensions: pressed at a place of the picture, they select a part of it. */
  #ofExtensions(tools, before) {
    for (const slot of tools) {
      const tool = { name: `extension ${slot.id} ${slot.number}` };
      const title = [slot.title, slot.hint].filter(Boolean).join(": ");
      const button = iconButton("extension", title, () => this.#canvas.pick(tool.name), "tool of-extension");
      button.dataset.initial = slot.title.slice(0, 1).toUpperCase();
      this.#buttons.push({ button, tool });
      before.before(button);
    }
    if (tools.length) this.render();
  }

  #group(name, label, ...children) {
    return element(
      "div",
      { className: `group ${name}`, role: "group", attributes: { "aria-label": label } },
      ...children,
    );
  }

  #choice(text, className, onclick) {
    return element("button", { type: "button", className, textContent: text, onclick });
  }

  #layers() {
    const offered = Object.keys(LAYERS).filter((name) => this.#offers[name]);
    const choices = offered.map((name) =>
      this.#choice(LAYERS[name], `choice ${name}`, () => this.#settings.set({ layer: name })),
    );
    const eye = iconButton(
      "eye",
      "Show or hide this layer",
      () => this.#canvas.toggleLayer(this.#settings.layer),
      "eye",
    );
    const hidden = choices.length < 2;
    return this.#group("layers", "Layer", element("span", { className: "segments", hidden }, ...choices), eye);
  }

  #brush() {
    const size = this.#slider("Size", "size", { max: 100, step: 0.5 }, (place) => ({ size: fromSlider(place) }));
    const hardness = this.#slider("Hardness", "hardness", { max: 100, step: 1 }, (place) => ({
      hardness: place / 100,
    }));
    const pen = iconButton(
      "pen",
      "The pen's pressure sets the width",
      () => this.#settings.set({ pressure: !this.#settings.pressure }),
      "pressure",
    );
    return this.#group("brush", "Brush", size, hardness, pen);
  }

  #slider(label, name, range, values) {
    const input = element("input", { type: "range", min: 0, ...range, className: name, ariaLabel: label });
    input.addEventListener("input", () => this.#settings.set(values(Number(input.value))));
    return element(
      "label",
      { className: "slider" },
      element("span", { textContent: label }),
      input,
      element("output", { className: name }),
    );
  }

  #way() {
    const way = (text, erasing) =>
      this.#choice(text, `choice ${erasing ? "remove" : "add"}`, () => this.#settings.set({ erasing }));
    return this.#group(
      "way",
      "What an area does",
      element("span", { className: "segments" }, way("Add", false), way("Remove", true)),
    );
  }

  #colours() {
    const colour = element("input", { type: "color", className: "colour", ariaLabel: "Colour", title: "Colour" });
    colour.addEventListener("input", () => this.#settings.set({ colour: unhex(colour.value) }));
    const other = element("button", {
      type: "button",
      className: "other",
      title: "Exchange the colours (X)",
      onclick: () => this.#settings.exchange(),
    });
    other.setAttribute("aria-label", "Exchange the colours (X)");
    const dropper = iconButton(
      "dropper",
      "Take a colour from the picture (hold Alt)",
      () => this.#canvas.pick("dropper"),
      "dropper",
    );
    return this.#group("colours", "Colour", colour, other, dropper);
  }

  #maskActs() {
    const act = (name, title, wish) => iconButton(name, title, () => this.#canvas.maskAct(wish), wish);
    const clear = iconButton("trash", "Clear this layer", () => this.#canvas.clearLayer(this.#settings.layer), "clear");
    return this.#group(
      "mask-acts",
      "The whole layer",
      act("invert", "Invert the mask", "invert"),
      act("grow", "Grow the mask", "grow"),
      act("shrink", "Shrink the mask", "shrink"),
      act("feather", "Feather the mask", "feather"),
      this.#number("by", "Grow, shrink and feather by so many pixels", 1, 64),
      clear,
    );
  }

  #number(name, label, least, most, step = 1) {
    const input = element("input", {
      type: "number",
      min: least,
      max: most,
      step,
      className: name,
      ariaLabel: label,
      title: label,
    });
    input.addEventListener("change", () => {
      const value = Math.round(Number(input.value)) || least;
      this.#settings.set({ [name]: Math.max(least, Math.min(most, value)) });
    });
    return element("label", { className: "number" }, input, element("span", { textContent: "px" }));
  }

  #boxActs() {
    const canvas = this.#canvas;
    const arrow = (side) =>
      iconButton(
        side === "top" ? "up" : side === "bottom" ? "down" : side,
        `Extend to the ${side}`,
        () => canvas.outpaint({ [side]: this.#settings.reach }),
        `extend ${side}`,
      );
    const arrows = this.#group(
      "arrows",
      "Extend",
      ...["left", "top", "bottom", "right"].map(arrow),
      this.#number("reach", "Extend by so many pixels", 8, 2048, 8),
    );
    const out = (factor) => this.#choice(`${factor}×`, "choice out", () => canvas.zoomOut(factor));
    const wider = this.#group(
      "wider",
      "Zoom out",
      element("span", { className: "word", textContent: "Zoom out" }),
      out(1.5),
      out(2),
    );
    const ratio = element(
      "select",
      { className: "ratio", ariaLabel: "Fit to a ratio" },
      element("option", { value: "", textContent: "Ratio" }),
    );
    ratio.append(...RATIOS.map((text) => element("option", { value: text, textContent: text })));
    ratio.addEventListener("change", () => {
      if (ratio.value) canvas.fitRatio(...ratio.value.split(":").map(Number));
      ratio.value = "";
    });
    const whole = this.#choice("Whole picture", "choice whole", () => canvas.setBox(null));
    return this.#group("box-acts", "Box", arrows, wider, ratio, whole);
  }

  render() {
    const { tool, erasing, layer, size, hardness, pressure, colour, other } = this.#settings;
    const { hasPicture, undoable, redoable, box, proposals } = this.#canvas.state;
    for (const { button, tool: one } of this.#buttons) {
      const chosen = one.name === tool && (one.erasing === undefined || one.erasing === erasing);
      button.setAttribute("aria-pressed", String(chosen));
      button.disabled = !hasPicture || proposals > 0;
    }
    this.#rail.querySelector(".undo").disabled = !undoable || proposals > 0;
    this.#rail.querySelector(".redo").disabled = !redoable || proposals > 0;
    const find = (selector) => this.#options.querySelector(selector);
    this.#options.inert = !hasPicture || proposals > 0;
    const paints = !["box", "hand"].includes(tool);
    const shown = {
      layers: paints && (this.#offers.mask || this.#offers.sketch),
      brush: tool === "brush",
      way: ["rectangle", "lasso", "fill"].includes(tool) || tool.startsWith("extension "),
      colours: paints && layer === "sketch",
      "mask-acts": paints,
      "box-acts": tool === "box",
    };
    for (const [name, visible] of Object.entries(shown)) find(`.${name}`).hidden = !visible;
    for (const name of Object.keys(LAYERS))
      find(`.choice.${name}`)?.setAttribute("aria-pressed", String(name === layer));
    for (const name of ["invert", "grow", "shrink", "feather"]) find(`button.${name}`).hidden = layer !== "mask";
    find("input.by").parentElement.hidden = layer !== "mask";
    find(".choice.add").setAttribute("aria-pressed", String(!erasing));
    find(".choice.remove").setAttribute("aria-pressed", String(erasing));
    find(".pressure").setAttribute("aria-pressed", String(pressure));
    find(".dropper").setAttribute("aria-pressed", String(tool === "dropper"));
    find(".whole").disabled = !box;
    this.#renderEye();
    for (const [name, value] of Object.entries({ by: this.#settings.by, reach: this.#settings.reach }))
      find(`input.${name}`).value = value;
    find("input.size").value = toSlider(size);
    find("input.size").setAttribute("aria-valuetext", `${size} pixels`);
    say(find("output.size"), `${size}`);
    find("input.hardness").value = hardness * 100;
    say(find("output.hardness"), `${Math.round(hardness * 100)}`);
    find(".colour").value = hex(colour);
    find(".other").style.background = hex(other);
  }

  #renderEye() {
    const eye = this.#options.querySelector(".eye");
    const hidden = this.#canvas.view.hidden.has(this.#settings.layer);
    eye.setAttribute("aria-pressed", String(!hidden));
    eye.replaceChildren(icon(hidden ? "hidden" : "eye"));
  }
}
