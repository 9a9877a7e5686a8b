// What clicking a model does: choose a checkpoint, put a LoRA or an embedding into a prompt, and take it out.

import { models } from "./models_store.js";
import { cutOut, loras, plain, prompts, withWeight } from "./prompt_tokens.js";

const acts = { choose: () => {} };

/** `choose(name)` makes a checkpoint the current one, in Gradio's selector too. */
export function chooseWith(choose) {
  acts.choose = choose;
}

const same = (a, b) => a.localeCompare(b, undefined, { sensitivity: "base" }) === 0;

/** The LoRA that a token names; null if there is none. */
function loraNamed(name) {
  const all = models.list.filter((model) => model.kind === "lora");
  const by = (key) => all.find((model) => model[key] === name);
  return by("token") ?? by("name") ?? by("label") ?? all.find((model) => same(model.token || model.label, name)) ?? null;
}

/** The LoRAs in the prompt with their models: [{...token, model}]. */
export function lorasInPrompt() {
  return loras(prompts.text()).map((token) => ({ ...token, model: loraNamed(token.name) }));
}

/** How a model is used now: {on, weight, where}. */
export function useOf(model, inPrompt = lorasInPrompt()) {
  if (model.kind === "checkpoint") return { on: model.name === models.checkpoint };
  if (model.kind === "lora") {
    const token = inPrompt.find((each) => each.model?.id === model.id);
    return { on: Boolean(token), weight: token?.weight };
  }
  if (model.kind !== "embedding") return { on: false };
  const where = ["prompt", "negative"].filter((which) => prompts.has(which, model.token || model.label));
  return { on: where.length > 0, where };
}

/** Act as a click does. Returns whether there was something to do; without it the details are what a click is for. */
export function act(model, { negative = false } = {}) {
  if (model.problem) return false;
  if (model.kind === "checkpoint") acts.choose(model.name);
  else if (model.kind === "lora") toggleLora(model);
  else if (model.kind === "embedding") toggleWord(model.token || model.label, negative ? "negative" : "prompt");
  else return false;
  return true;
}

function toggleLora(model) {
  if (useOf(model).on) takeLora(model);
  else putLora(model);
}

function putLora(model) {
  const token = `<lora:${model.token || model.label}:${plain(model.weight || 1)}>`;
  const trigger = model.trigger?.trim();
  const wanted = trigger && !prompts.has("prompt", trigger);
  prompts.put("prompt", wanted ? `${token} ${trigger}` : token, { commas: Boolean(wanted) });
  const negative = model.negative?.trim();
  if (negative && !prompts.has("negative", negative)) prompts.put("negative", negative, { commas: true });
}

/** Every token of a LoRA, each with the trigger words that stand right behind it. */
function takeLora(model) {
  const found = lorasInPrompt().filter((token) => token.model?.id === model.id);
  let text = prompts.text();
  for (const token of found.reverse()) text = without(text, token, model.trigger?.trim());
  prompts.set("prompt", text);
  if (model.negative?.trim()) prompts.take("negative", model.negative);
}

function without(text, { start, end }, trigger) {
  const behind = text.slice(end);
  const lead = behind.match(/^[\s,]*/)[0].length;
  const follows = trigger && behind.slice(lead).startsWith(trigger);
  return cutOut(text, start, follows ? end + lead + trigger.length : end, { commas: Boolean(follows) });
}

/** Take one token out, the n-th in the prompt. */
export function takeToken(place) {
  const token = lorasInPrompt()[place];
  if (token) prompts.set("prompt", without(prompts.text(), token, token.model?.trigger?.trim()));
}

/** Write another weight into the n-th token of the prompt. */
export function weigh(place, weight) {
  const token = loras(prompts.text())[place];
  if (token && Number.isFinite(weight)) prompts.set("prompt", withWeight(prompts.text(), token, weight));
}

/** The place of a LoRA's first token among all of the prompt; -1 where it has none. */
export function placeOf(model) {
  return lorasInPrompt().findIndex((token) => token.model?.id === model.id);
}

export function toggleWord(word, which = "prompt") {
  if (!prompts.take(which, word)) prompts.put(which, word, { commas: true });
}
