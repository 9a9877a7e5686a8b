// The canvas: the surface that is painted on. This is its public face; see `canvasOf` for how a tab comes by one.

import { compare } from "../compare.js";
import { element } from "../elements.js";
import { known, selected } from "../extension_slots.js";
import { Autosave } from "./autosave.js";
import { around, BoxFrame, extended, ofRatio, snapped, within } from "./box.js";
import { canvases, place } from "./canvases.js";
import { Delivery, namesIn } from "./delivery.js";
import { Foot } from "./foot.js";
import { Gestures } from "./gestures.js";
import { listen } from "./keys.js";
import { addMask, changeMask, clear, maskFile } from "./layer_acts.js";
import { Painting } from "./painting.js";
import { blank, bytesOf, pictureIn } from "./picture.js";
import { Presses } from "./presses.js";
import { Proposals } from "./proposals.js";
import { Pointer } from "./ring.js";
import { Settings } from "./settings.js";
import { Tools } from "./tools.js";
import { View } from "./view.js";
import { toggleWhole } from "./whole.js";

const SIZE = 1024; // of a blank picture, where the form names none

export { canvasOf } from "./canvases.js";

/** Events: "change" (detail: `state`), "commit" (detail: what `commit` gave), "accept" (detail: the proposal). */
export class Canvas extends EventTarget {
  settings = new Settings();
  memory = null; // what the page wants kept with the painting, as `remember` was given it
  view;
  ready; // resolves when what was kept is there again
  #root;
  #painting;
  #autosave;
  #delivery;
  #proposals;
  #frame;
  #gestures;
  #ring;
  #foot;
  #tools;
  #forget; // takes the keys away
  #wanted = 0; // how often a picture was chosen, and of which of these the bytes are here
  #here = 0;

  /** @param root the element of ../canvas.html  @param offers {mask, sketch, box}, what this canvas has */
  constructor(root, name, offers = { mask: true, sketch: true, box: true }) {
    super();
    this.#root = root;
    const more = { get: () => this.#kept(), put: (values) => this.#resume(values) };
    this.#painting = new Painting((n) => this.#autosave.step(n));
    this.#autosave = new Autosave(this.#painting, name, more, {
      tell: (how) => this.#foot.tell(how),
      say: (sentence) => this.#complain(new Error(sentence)),
    });
    this.#delivery = new Delivery(this.#painting);
    if (!offers.mask) this.settings.set(offers.sketch ? { layer: "sketch" } : { tool: "hand" });
    this.#assemble(offers);
    this.#connect(name);
    this.ready = this.#autosave.resume().then(() => this.#changed());
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  #assemble(offers) {
    const painting = this.#painting;
    this.view = new View(this.#find(".easel-view > canvas"), painting);
    this.#frame = new BoxFrame(this.#find(".easel-box"), painting, this.view);
    this.#ring = new Pointer(this.#find(".easel-view"), this.view, this.settings);
    this.#proposals = new Proposals(this.#find(".proposals"), this.view, painting, {
      changed: () => (this.#changed(), this.#autosave.schedule()),
      accepted: (proposal) => this.dispatchEvent(new CustomEvent("accept", { detail: proposal })),
      compare: (proposal) => this.#compareWith(proposal),
      fault: (error) => this.#complain(error),
    });
    const presses = new Presses(painting, this.settings, this.#ring, (tool, point) => this.#select(tool, point));
    this.#gestures = new Gestures(this.view, {
      begin: (event, point) => (this.#proposals.list.length ? null : presses.begin(event, point)),
      hover: (event) => this.#ring.at(event),
    });
    this.#tools = new Tools(this.#find(".easel-rail"), this.#find(".easel-options"), this, this.settings, offers);
    this.#foot = new Foot(this.#root, this, painting);
  }

  #connect(name) {
    const root = this.#root;
    this.#painting.addEventListener("change", () => this.#changed());
    this.settings.addEventListener("change", () => (this.#renderTool(), this.#autosave.schedule()));
    this.#forget = listen(root, this);
    root.addEventListener("dragover", (event) => event.preventDefault());
    root.addEventListener("drop", (event) => this.take(event, event.dataTransfer));
    for (const name of ["dragenter", "dragleave", "drop"]) {
      root.addEventListener(name, (event) => {
        if (name !== "dragleave" || !root.contains(event.relatedTarget))
          root.toggleAttribute("data-over", name === "dragenter");
      });
    }
    // After a click on a button the keys are the canvas's again.
    root.addEventListener("click", (event) => event.detail && event.target.closest("button") && this.#focus());
    this.#find(".choose").addEventListener("click", () => this.choose());
    this.#find(".blank").addEventListener("click", () => {
      const [width, height] = window.atelier?.sizes[name] ?? [];
      this.#loadOrSay(blank(Number(width) || SIZE, Number(height) || SIZE));
    });
  }

  #focus() {
    this.#find(".easel-view").focus({ preventScroll: true });
  }

  // What others call

  get state() {
    const painting = this.#painting;
    const { position, count } = painting.steps;
    const list = this.#proposals?.list ?? [];
    return Object.freeze({
      hasPicture: painting.picture !== null,
      pictureSize: [painting.width, painting.height],
      hasMask: !painting.mask.empty,
      hasSketch: !painting.sketch.empty,
      box: painting.box && { ...painting.box },
      layer: this.settings.layer,
      tool: this.settings.tool,
      undoable: position > painting.steps.first,
      redoable: position < count,
      steps: count,
      position,
      proposals: list.length,
      proposal: list.indexOf(this.#proposals?.current),
      zoom: this.view?.scale ?? 1,
      saved: this.#foot?.saved ?? "saved",
    });
  }

  /** What lies over the canvas: [{url, left, top, width, height}]. */
  get proposals() {
    return this.#proposals.list;
  }

  get picture() {
    return this.#painting.picture?.blob ?? null;
  }

  /**
   * Begin with another picture, and with `layers` {mask, sketch} that were painted on it before: Blobs or addresses, as
   * the picture itself. Rejects with a sentence, and then all is as it was.
   */
  async load(source, { layers = {} } = {}) {
    const number = ++this.#wanted;
    await this.ready;
    const read = async ([name, from]) => [name, await bytesOf(from)];
    const blob = await bytesOf(source);
    const files = Object.fromEntries(await Promise.all(Object.entries(layers).map(read)));
    if (number < this.#here) throw new Error("Another picture was put here meanwhile.");
    this.#here = number;
    this.#gestures.finish(); // a line that is being drawn belongs to the picture before
    await this.#painting.replace(blob, { what: "Another picture", layers: files });
    this.#delivery.names = namesIn({ picture: source, ...layers });
    await this.discard();
    this.view.fit();
  }

  /** Send what changed, and say what the server calls it. */
  async commit({ again = false } = {}) {
    await this.ready;
    // Only the beginning waits for its turn: one paints on while it is sent.
    const { delivery } = await this.#painting.inTurn(() => ({ delivery: this.#delivery.commit(again) }));
    const delivered = await delivery;
    this.#autosave.schedule(); // the names are kept too
    this.dispatchEvent(new CustomEvent("commit", { detail: delivered }));
    return delivered;
  }

  /** Show results over the canvas: [{url, left, top, width, height}]. */
  async propose(list) {
    await this.ready;
    this.#gestures.finish();
    await this.#proposals.show(list);
  }

  accept() {
    return this.#proposals.accept();
  }

  discard() {
    return this.#proposals.discard();
  }

  browse(places) {
    return this.#proposals.go(places);
  }

  /** @param place where the corner of `before` lies in `after`, where that is a larger canvas */
  compare(before, after, place = null) {
    return compare(before, after, place);
  }

  #compareWith({ url, left, top, resized }) {
    this.compare(URL.createObjectURL(this.picture), url, resized ? null : { left, top });
  }

  /** Have `memory` kept with the painting. */
  remember(memory) {
    this.memory = memory;
    this.#autosave.schedule();
  }

  undo() {
    if (this.#gestures.cancel() || this.#proposals.list.length) return this.ready;
    return this.#painting.undo().catch((error) => this.#complain(error));
  }

  redo() {
    if (this.#gestures.acting || this.#proposals.list.length) return this.ready;
    return this.#painting.redo().catch((error) => this.#complain(error));
  }

  setBox(box) {
    this.#painting.placeBox(box && snapped(box));
    this.view.fit();
  }

  outpaint(sides) {
    this.setBox(extended(this.#painting.box ?? this.#painting.mask.bounds, sides));
  }

  zoomOut(factor) {
    const { width, height } = this.#painting;
    this.setBox(around(width, height, width * factor, height * factor));
  }

  fitRatio(across, down) {
    this.setBox(ofRatio(this.#painting.width, this.#painting.height, across, down));
  }

  /** Save, and take nothing more: another canvas has come in this one's place. */
  async close() {
    this.#forget();
    this.view.close();
    this.#foot.close();
    this.#tools.close();
    await this.#autosave.close();
    await this.#proposals.close();
    this.#painting.close();
  }

  // What the tools and keys call

  pick(tool, erasing = this.settings.erasing) {
    if (tool === "box" && !this.#painting.box && this.#painting.picture) {
      this.#painting.placeBox(within(this.#painting.width, this.#painting.height));
    }
    this.settings.set({ tool, erasing });
  }

  async maskAct(name) {
    this.#gestures.finish();
    this.#root.toggleAttribute("data-busy", true);
    await changeMask(this.#painting, name, this.settings.by)
      .catch((error) => this.#complain(error))
      .finally(() => this.#root.removeAttribute("data-busy"));
  }

  /**
   * Add a mask to what is painted, or take it off where that is chosen: a Blob of the picture's size. One step. With
   * `of`, the picture it was made for, it rejects where another one lies here by now.
   */
  async paintMask(blob, title, how = {}) {
    this.#gestures.finish();
    await addMask(this.#painting, blob, title, how);
  }

  /** The mask as a PNG, or null where nothing is painted. */
  maskFile() {
    return maskFile(this.#painting);
  }

  /** Let a tool of an extension select what is at a place; another press waits until it has. */
  async #select(tool, point) {
    const slot = known.canvas.find(({ id, number }) => tool === `extension ${id} ${number}`);
    const { erasing } = this.settings;
    const { picture } = this;
    const [width, height] = this.state.pictureSize;
    const within = point.x >= 0 && point.y >= 0 && point.x < width && point.y < height;
    if (!within || this.#root.hasAttribute("data-busy")) return;
    this.#root.toggleAttribute("data-busy", true);
    try {
      if (!slot) throw new Error("The extension with this tool is off: choose another one.");
      await this.paintMask(await selected(slot, picture, point), slot.title, { erasing, of: picture });
    } catch (error) {
      this.#complain(error);
    } finally {
      this.#root.removeAttribute("data-busy");
    }
  }

  clearLayer(name) {
    this.#gestures.finish();
    return clear(this.#painting, name);
  }

  toggleLayer(name) {
    const { hidden } = this.view;
    if (!hidden.delete(name)) hidden.add(name);
    this.view.spoil();
    this.settings.set({});
  }

  /** Space is held, or not any more: the pointer moves the view. */
  hold(held) {
    this.#gestures.spaceHeld = held;
    this.#find(".easel-view").classList.toggle("held", held);
  }

  /** What Esc ends here, or null. */
  escape() {
    if (this.#gestures.acting) return () => this.#gestures.cancel();
    if (this.#frame.cancel()) return () => {};
    if (this.#proposals.list.length) return () => this.discard();
    if (this.settings.tool === "dropper") return () => this.pick("brush");
    if (this.#root.hasAttribute("data-whole")) return () => this.toggleWhole();
    return null;
  }

  toggleWhole() {
    return toggleWhole(this.#root);
  }

  choose() {
    const input = element("input", { type: "file", accept: "image/*" });
    input.addEventListener("change", () => input.files[0] && this.#loadOrSay(input.files[0]));
    input.click();
  }

  /** What was dropped or pasted, where it is a picture. */
  take(event, transfer) {
    if (event.type === "drop") event.preventDefault();
    const picture = pictureIn(transfer);
    if (picture) {
      event.preventDefault();
      event.stopPropagation();
      this.#loadOrSay(picture);
    } else if (event.type === "drop") this.#complain(new Error("What was dropped is no picture."));
  }

  async #loadOrSay(source) {
    try {
      await this.load(source);
      this.#focus();
    } catch (error) {
      this.#complain(error);
    }
  }

  // Showing

  #kept() {
    const { settings, memory } = this;
    return { settings: settings.get(), sent: this.#delivery.names, proposals: this.#proposals.list, memory };
  }

  #resume({ settings = {}, sent = {}, proposals = [], memory = null }) {
    // A tool of an extension is not taken up again: that may be off by now.
    this.settings.set(settings.tool?.startsWith("extension ") ? { ...settings, tool: "brush" } : settings);
    this.#delivery.names = sent;
    this.memory = memory;
    this.#proposals.show(proposals);
  }

  #changed() {
    const { state } = this;
    this.#root.dataset.state = !state.hasPicture ? "empty" : state.proposals ? "proposing" : "ready";
    this.#foot.render();
    this.#renderTool();
    this.dispatchEvent(new CustomEvent("change", { detail: state }));
  }

  #renderTool() {
    this.#root.dataset.tool = this.settings.tool;
    this.#ring?.render();
  }

  #complain(error) {
    this.#foot.complain(error);
  }
}

/** Called by Gradio's component. */
export async function start(root, { name, ...offers }) {
  const before = canvases.get(name)?.canvas;
  if (before) canvases.delete(name);
  await before?.close();
  const canvas = new Canvas(root.querySelector(".easel"), name, offers);
  const kept = place(name);
  kept.canvas = canvas;
  await canvas.ready;
  kept.resolve(canvas);
}
