// What is being typed into a prompt, completed: LoRAs behind <, wildcards behind __, and embeddings, LoRAs, styles and
// what extensions offer, such as tags, by their names. Ctrl Space asks for it; otherwise it comes while one types, and goes when nothing fits.
//
// Enter is the text's own until a row was chosen with the arrows; Tab takes the first one. Behind a sign the first row is
// chosen from the start.

import { element, say } from "./elements.js";
import { askAt } from "./json_door.js";
import { isWriting, replace, rewrite } from "./prompt_edit.js";
import { areaOf, askAbout, isNegative, pairOf, promptArea } from "./prompt_fields.js";
import { mirrorOf } from "./prompt_mirror.js";
import { complain } from "./wishes.js";

const PAUSE = 60; // milliseconds
const LONGEST = 200; // characters that are sent
const MOST_AT_ONCE = 4; // characters that one key gives; more are pasted
const MOST_ROWS = 24;
const TYPES = new Set(["insertText", "insertCompositionText"]);
const WORDS = { lora: "LoRA", embedding: "embedding", wildcard: "wildcard", style: "style", tag: "" };
const MARGIN = 8; // to the window's edges
const INSET = 13; // of the words in the list: they stand below what is typed
const FINDS = [
  { sign: "<", pattern: /<([^<>\n,]*)$/ },
  { sign: "__", pattern: /__((?:(?!__)[^\n,<>|{}()])*)$/ },
  { sign: "", pattern: /([^,\n()[\]{}|<>:;]*)$/ },
];

/** What is typed before the caret, as {sign, before}; null where nothing is. */
export function typingAt(text, caret) {
  const behind = text.slice(0, caret);
  const line = behind.slice(behind.lastIndexOf("\n") + 1);
  for (const { sign, pattern } of FINDS) {
    const found = pattern.exec(line);
    if (!found || (sign === "__" && (line.match(/__/g)?.length ?? 0) % 2 === 0)) continue;
    const before = sign ? found[1] : found[1].trimStart();
    if (!sign && (!/\S$/.test(before) || /^[\d.\s]*$/.test(before))) return null;
    return { sign, before: sign ? before.slice(0, LONGEST) : before.slice(-LONGEST) };
  }
  return null;
}

const completers = [];

/**
 * Let an extension offer words too. `find({sign, before, negative, signal})` gives {typed, rows} or a promise of it: `typed`
 * is the end of `before` that the rows are for, a row is {what, label, text, note, type, fits, rank}. One that fails is left
 * out from then on, and `failed(error)` told. Returns the function that takes it away.
 */
export function addCompleter(find, failed = () => {}) {
  const one = { find, failed };
  completers.push(one);
  return () => completers.includes(one) && completers.splice(completers.indexOf(one), 1);
}

async function answerOf(one, typing) {
  try {
    return await one.find(typing);
  } catch (error) {
    if (!typing.signal.aborted && completers.includes(one)) {
      completers.splice(completers.indexOf(one), 1);
      one.failed(error);
    }
    return null;
  }
}

/** What Atelier and extensions offer, as one: for the longest text that somebody has rows for, the best first. */
async function found(typing) {
  const { signal, ...about } = typing;
  const all = await Promise.all([askAbout("/suggestions", about, signal), ...completers.map((one) => answerOf(one, typing))]);
  const said = all.filter((each) => each?.rows?.length);
  const typed = said.reduce((longest, each) => (each.typed.length > longest.length ? each.typed : longest), "");
  const rows = said.filter((each) => each.typed === typed).flatMap((each) => each.rows);
  if (said.length > 1) rows.sort((a, b) => Number(b.fits ?? true) - Number(a.fits ?? true) || (a.rank ?? 0) - (b.rank ?? 0));
  return { typed, rows: rows.slice(0, MOST_ROWS) };
}

class Completion {
  #list = element("ul", { id: "prompt_completions", attributes: { role: "listbox", "aria-label": "Suggestions" } });
  #popup = element("div", { className: "prompt-completions", hidden: true }, this.#list);
  #told = element("div", { className: "visually-hidden", attributes: { role: "status" } });
  #area = null;
  #rows = [];
  #chosen = -1;
  #start = 0; // of what is typed, in the text; more may have been typed since the rows came
  #sign = "";
  #due = 0;
  #waiting = null;

  constructor() {
    this.#list.hidden = true; // the page's keys see it open by this
    this.#popup.addEventListener("pointerdown", (event) => event.preventDefault()); // the caret stays
    this.#popup.addEventListener("click", ({ target }) => {
      const row = target.closest("[role=option]");
      if (row) this.#take([...this.#list.children].indexOf(row));
    });
    document.body.append(this.#popup, this.#told);
  }

  get open() {
    return !this.#popup.hidden;
  }

  /** Look for what fits at the caret, after a moment. */
  ask(area, pause = PAUSE) {
    clearTimeout(this.#due);
    this.#waiting?.abort();
    this.#due = setTimeout(() => this.#look(area), pause);
  }

  close() {
    clearTimeout(this.#due);
    this.#waiting?.abort();
    if (!this.open) return;
    this.#popup.hidden = this.#list.hidden = true;
    this.#list.replaceChildren();
    for (const name of ["aria-controls", "aria-activedescendant"]) this.#area.removeAttribute(name);
    say(this.#told, "");
  }

  /** A key of the text area; whether it was for the list. */
  key(event) {
    if (!this.open || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return false;
    const last = this.#rows.length - 1;
    if (event.key === "ArrowDown") this.#choose(this.#chosen >= last ? 0 : this.#chosen + 1);
    else if (event.key === "ArrowUp") this.#choose(this.#chosen <= 0 ? last : this.#chosen - 1);
    else if (event.key === "Tab") this.#take(Math.max(0, this.#chosen));
    else if (event.key === "Enter" && this.#chosen >= 0) this.#take(this.#chosen);
    else if (event.key === "Escape") this.close();
    else return false;
    return true;
  }

  /** Beside what is typed, and within the window. */
  place() {
    if (!this.open) return;
    const { left, top, bottom } = mirrorOf(this.#area).place(this.#start);
    const { width, height } = this.#popup.getBoundingClientRect();
    const room = window.visualViewport?.height ?? innerHeight;
    const below = bottom + 4 + height <= room || top < room / 2;
    this.#popup.style.left = `${Math.max(MARGIN, Math.min(left - INSET, document.documentElement.clientWidth - width - MARGIN))}px`;
    this.#popup.style.top = `${below ? bottom + 4 : top - 4 - height}px`;
  }

  async #look(area) {
    const caret = area.selectionStart;
    const typing = caret === area.selectionEnd ? typingAt(area.value, caret) : null;
    if (!typing || document.activeElement !== area) return this.close();
    const text = area.value;
    const waiting = (this.#waiting = new AbortController());
    const offered = await found({ ...typing, negative: isNegative(area), signal: waiting.signal });
    if (waiting.signal.aborted || area.value !== text || area.selectionStart !== caret || document.activeElement !== area) return;
    const { rows, typed } = offered;
    if (!rows.length || (rows.length === 1 && says(rows[0], typed))) return this.close();
    this.#show(area, offered, typing.sign);
  }

  #show(area, { typed, rows }, sign) {
    if (this.#area !== area) this.close();
    Object.assign(area, { ariaAutoComplete: "list", ariaHasPopup: "listbox" });
    area.setAttribute("aria-controls", this.#list.id);
    [this.#area, this.#rows, this.#sign] = [area, rows, sign];
    this.#start = area.selectionStart - typed.length - sign.length;
    this.#list.replaceChildren(...rows.map((row, k) => drawn(row, k, typed)));
    this.#popup.hidden = this.#list.hidden = false;
    this.#popup.scrollTop = 0;
    this.#choose(sign ? 0 : -1);
    this.place();
    say(this.#told, `${rows.length} ${rows.length === 1 ? "suggestion" : "suggestions"}`);
  }

  #choose(place) {
    this.#chosen = place;
    [...this.#list.children].forEach((row, k) => row.setAttribute("aria-selected", String(k === place)));
    const row = this.#list.children[place];
    row?.scrollIntoView({ block: "nearest" });
    if (row) this.#area.setAttribute("aria-activedescendant", row.id);
    else this.#area.removeAttribute("aria-activedescendant");
  }

  #take(place) {
    const [area, row, sign, start] = [this.#area, this.#rows[place], this.#sign, this.#start];
    this.close();
    const { value: text, selectionStart: caret } = area;
    const ending = { "<": /^[^<>\n,]*>/, __: /^[\w/-]*__/ }[sign]?.exec(text.slice(caret));
    const end = caret + (ending ? ending[0].length : 0);
    if (row.what === "style") takeStyle(area, row.label, start, end).catch(complain);
    else replace(area, start, end, spaced(row, text.slice(0, start), text.slice(end)));
  }
}

/** What is put in for a row, parted from what follows; a list of tags goes on with a comma. */
function spaced(row, before, after) {
  const known = row.words && `${before}\n${after}`.toLowerCase().includes(row.words.toLowerCase());
  const text = row.words && !known ? `${row.text} ${row.words}` : row.text;
  const atEnd = /^[^\S\n]*(\n|$)/.test(after);
  if (row.what === "tag" && atEnd) return `${text}, `;
  return row.what === "lora" && (/^[^\s,]/.test(after) || after === "") ? `${text} ` : text;
}

/** Into both prompts, where the style says. */
async function takeStyle(area, style, start, end) {
  const own = isNegative(area) ? "negative_prompt" : "prompt";
  const [words, areas] = [{}, { prompt: areaOf(pairOf(area), "prompt"), negative_prompt: areaOf(pairOf(area), "negative") }];
  for (const [name, each] of Object.entries(areas)) words[name] = each?.value ?? "";
  words[own] = (area.value.slice(0, start) + area.value.slice(end)).replace(/[\s,]+$/, "");
  const before = area.value;
  const styled = await askAt("atelier/styles/preview", { ...words, styles: [style] });
  if (area.value !== before) return; // somebody went on writing
  const other = own === "prompt" ? "negative_prompt" : "prompt";
  if (areas[other]) rewrite(areas[other], styled[other]);
  rewrite(area, styled[own]);
}

const says = (row, typed) => row.text === typed;

function drawn({ what, label, note, type = 0, fits = true }, k, typed) {
  const at = label.toLowerCase().replaceAll("_", " ").indexOf(typed.replace(/^(lora|lyco):/, "").toLowerCase().replaceAll("_", " "));
  const length = at < 0 ? 0 : typed.replace(/^(lora|lyco):/, "").length;
  const name = element("span", { className: "name" });
  if (length) name.append(label.slice(0, at), element("b", { textContent: label.slice(at, at + length) }), label.slice(at + length));
  else name.append(label);
  return element(
    "li",
    {
      id: `prompt_completion_${k}`,
      title: fits ? "" : "Made for another kind of checkpoint",
      data: { what, type, fits },
      attributes: { role: "option", "aria-selected": "false" },
    },
    name,
    element("span", { className: "note", textContent: note }),
    element("span", { className: "what", textContent: WORDS[what] ?? "" }),
  );
}

const completion = new Completion();

document.addEventListener("input", (event) => {
  const area = promptArea(event.target);
  if (!area || isWriting()) return completion.close();
  const typed = TYPES.has(event.inputType) && (event.data?.length ?? 0) <= MOST_AT_ONCE;
  if (typed || (completion.open && event.inputType === "deleteContentBackward")) completion.ask(area);
  else completion.close();
});
document.addEventListener(
  "keydown",
  (event) => {
    const area = promptArea(event.target);
    if (!area || event.isComposing) return;
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      completion.ask(area, 0);
    } else if (completion.key(event)) {
      event.preventDefault();
      event.stopPropagation();
    } else if (["ArrowLeft", "ArrowRight", "Home", "End", "PageUp", "PageDown", "Enter", "Escape"].includes(event.key) || event.ctrlKey || event.metaKey) {
      completion.close();
    }
  },
  true,
);
document.addEventListener("focusout", ({ target }) => promptArea(target) && completion.close());
document.addEventListener("pointerdown", ({ target }) => promptArea(target) && completion.close());
document.addEventListener("scroll", () => completion.place(), { capture: true, passive: true });
addEventListener("resize", () => completion.place());
