// LoRAs and words in the two prompts: found, put in where the caret was, and taken out again.

import { painter } from "./tabs.js";

const AREAS = { prompt: "prompt", negative: "neg_prompt" };
const TOKEN = /<(lora|lyco):([^>]+)>/g;
const NAMED = ["te", "unet", "dyn"]; // the values of a token in their order; backend/prompt/grammar.py

export const WEIGHTS = { least: -2, most: 2, step: 0.05 };

/** The LoRAs of a prompt: {kind, name, values, weight, start, end}; a weight that is no number is NaN. */
export function loras(text) {
  return [...text.matchAll(TOKEN)].map((found) => {
    const [name, ...values] = found[2].split(":");
    const [start, end] = [found.index, found.index + found[0].length];
    return { kind: found[1], name: name.trim(), values, weight: Number(valueOf(values, "te") ?? 1), start, end };
  });
}

function valueOf(values, wanted) {
  let place = 0;
  let found;
  for (const value of values) {
    const [key, text] = value.includes("=") ? value.split("=") : [NAMED[place++], value];
    if (key.trim() === wanted) found = text;
  }
  return found;
}

/** A number as people write it: 1, 0.8, -0.25. */
export function plain(number) {
  return String(Number(number.toFixed(2)));
}

export function within(weight) {
  const stepped = Math.round(weight / WEIGHTS.step) * WEIGHTS.step;
  return Math.min(WEIGHTS.most, Math.max(WEIGHTS.least, stepped));
}

/** The text with another weight in a token; where text encoder and UNet have weights of their own, both move alike. */
export function withWeight(text, token, weight) {
  const change = weight - (Number.isFinite(token.weight) ? token.weight : weight);
  let place = 0;
  const values = token.values.map((value) => {
    const [key, said] = value.includes("=") ? value.split("=") : ["", value];
    const name = key.trim() || NAMED[place++];
    if (name === "dyn") return value;
    const moved = plain(Number.isFinite(Number(said)) ? Number(said) + change : weight);
    return key ? `${key}=${moved}` : moved;
  });
  if (valueOf(values, "te") === undefined) values.unshift(plain(weight));
  const written = `<${token.kind}:${[token.name, ...values].join(":")}>`;
  return text.slice(0, token.start) + written + text.slice(token.end);
}

/** Put `word` into a text at `place`, parted by spaces, or by commas where it is a part of speech of its own. */
export function putIn(text, place, word, { commas = false } = {}) {
  const at = outside(text, place);
  let [before, after] = [text.slice(0, at), text.slice(at)];
  if (commas) {
    if (/[^\s,][^\S\n]*$/.test(before)) before = `${before.trimEnd()}, `;
    else if (before.endsWith(",")) before += " ";
    if (/^[^\S\n]*[^\s,]/.test(after)) after = `, ${after.trimStart()}`;
  } else {
    if (/\S$/.test(before)) before += " ";
    if (/^[^\s,]/.test(after)) after = ` ${after}`;
  }
  return { text: before + word + after, caret: before.length + word.length };
}

/** Where nothing is split: not within a token, and not within a word. */
function outside(text, place) {
  const token = [...text.matchAll(/<[^<>]*>/g)].find(({ index, 0: { length } }) => index < place && place < index + length);
  let at = token ? token.index + token[0].length : place;
  if (/[\p{L}\p{N}]/u.test(text[at - 1] ?? "")) while (/[\p{L}\p{N}]/u.test(text[at] ?? "")) at++;
  return at;
}

/** Cut `text[start:end]` out, with what parted it from its neighbours. */
export function cutOut(text, start, end, { commas = false } = {}) {
  const [before, after] = [text.slice(0, start), text.slice(end)];
  if (!commas) {
    if (before.endsWith(" ")) return before.slice(0, -1) + after;
    return before + (before === "" || before.endsWith("\n") ? after.replace(/^ /, "") : after);
  }
  if (/^[\s,]*$/.test(before)) return before.replace(/[ ,]*$/, "") + after.replace(/^[ ,]*/, "");
  if (/^[ ,]*(\n|$)/.test(after)) return before.replace(/[ ,]*$/, "") + after.replace(/^[ ,]*/, "");
  return before.replace(/[ ,]*$/, before.endsWith("\n") ? "" : ", ") + after.replace(/^[ ,]*/, "");
}

/** Where `word` stands by itself in a text, as [start, end]; null where it does not. */
function findWord(text, word) {
  const clean = word.trim();
  if (!clean) return null;
  const quoted = clean.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const found = new RegExp(`(?<![\\p{L}\\p{N}_])${quoted}(?![\\p{L}\\p{N}_])`, "iu").exec(text);
  return found && [found.index, found.index + found[0].length];
}

/** Where a caret stands when one text has become another: by the words that it stood at. */
function moved(caret, before, after) {
  const shorter = Math.min(before.length, after.length);
  let same = 0;
  while (same < shorter && before[same] === after[same]) same++;
  if (caret <= same) return caret;
  let last = 0;
  while (last < shorter - same && before.at(-1 - last) === after.at(-1 - last)) last++;
  return caret >= before.length - last ? caret + after.length - before.length : same;
}

/** The two prompts of the tab that makes pictures. Emits "change" when either is different, by whomever. */
class Prompts extends EventTarget {
  #carets = {};
  #known = "";

  constructor() {
    super();
    document.addEventListener("focusout", ({ target }) => {
      const which = Object.keys(AREAS).find((name) => target === this.#area(name));
      if (which) this.#carets[which] = { place: target.selectionEnd, text: target.value };
    });
    document.addEventListener("input", ({ target }) => target.matches?.("textarea") && this.#look());
    for (const news of ["atelier-prompts", "atelier-tab"]) window.addEventListener(news, () => this.#look());
  }

  text(which = "prompt") {
    return this.#area(which)?.value ?? "";
  }

  /** Replace a prompt as if it had been typed. */
  set(which, text, caret = null) {
    const area = this.#area(which);
    if (!area || area.value === text) return;
    const place = caret ?? moved(this.#caret(which), area.value, text);
    area.value = text;
    area.setSelectionRange(place, place);
    this.#carets[which] = { place, text };
    area.dispatchEvent(new Event("input", { bubbles: true }));
    this.#look();
  }

  /** Put a word or a token in where the caret was last. */
  put(which, word, options) {
    const { text, caret } = putIn(this.text(which), this.#caret(which), word, options);
    this.set(which, text, caret);
  }

  /** Take a word out; whether it was there. */
  take(which, word) {
    const text = this.text(which);
    const found = findWord(text, word);
    if (found) this.set(which, cutOut(text, ...found, { commas: true }));
    return found !== null;
  }

  has(which, word) {
    return findWord(this.text(which), word) !== null;
  }

  #caret(which) {
    const area = this.#area(which);
    const kept = this.#carets[which];
    if (area && document.activeElement === area) return area.selectionEnd;
    return kept && kept.text === area?.value ? kept.place : (area?.value.length ?? 0);
  }

  #area(which) {
    return document.querySelector(`#${painter()}_${AREAS[which]} textarea`);
  }

  #look() {
    const now = Object.keys(AREAS).map((which) => this.text(which)).join("\u0000");
    if (now === this.#known) return;
    this.#known = now;
    this.dispatchEvent(new Event("change"));
  }
}

export const prompts = new Prompts();
