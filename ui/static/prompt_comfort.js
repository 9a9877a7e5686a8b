// What helps while a prompt is typed: its tokens are counted, faults are shown where they stand, and so are brackets that
// belong together; Ctrl Up and Down weigh words. The text itself is only changed by keys that are meant to.

import { element, icon, say } from "./elements.js";
import { models } from "./models_store.js";
import { bracketAt } from "./prompt_brackets.js";
import { replace } from "./prompt_edit.js";
import { areaOf, askAbout, formOf, isNegative, pairOf, promptArea, promptAreas } from "./prompt_fields.js";
import { openHistory } from "./prompt_history.js";
import { mirrorOf } from "./prompt_mirror.js";
import { prompts } from "./prompt_tokens.js";
import { weighed } from "./prompt_weight.js";
import "./prompt_completion.js";

const PAUSE = 250; // milliseconds without a key until tokens are counted
const SETTLED = 900; // until faults are shown: what is being typed is not wrong yet
const QUIET = 1500; // until prompts are looked over that nobody types in
const STARTED = 5000; // after the page was asked for: before it, what nobody types waits too
const MOST_SHOWN = 3;

/** One text area with all that is shown for it. */
class Prompt {
  #area;
  #mirror;
  #count;
  #list;
  #text;
  #problems = [];
  #typed = 0;

  constructor(area) {
    this.#area = area;
    this.#text = area.value;
    this.#mirror = mirrorOf(area);
    const block = area.closest(".block");
    this.#count = element("span", { className: "count", id: `${block.id}_tokens` });
    this.#list = element("ul", { className: "prompt-faults", id: `${block.id}_faults`, hidden: true });
    const tools = element("div", { className: "prompt-tools" });
    if (!isNegative(area) && !pairOf(area).endsWith("_hr")) tools.append(historyButton(area));
    tools.append(this.#count);
    block.append(tools, this.#list);
    area.setAttribute("aria-describedby", `${this.#count.id} ${this.#list.id}`);
    this.changed();
  }

  /** The text is another one, by whomever. */
  changed({ byKeys = false } = {}) {
    const text = this.#area.value;
    if (byKeys) this.#typed = performance.now();
    this.#problems = shifted(this.#problems, this.#text, text);
    this.#text = text;
    if (!text) this.#tell({ tokens: 0, limit: 75 });
    else if (!heard.anything) say(this.#count, "…"); // the first answer takes seconds
    this.draw();
  }

  /** What Atelier found in a text; it may be another one by now. */
  found(text, { tokens, limit, problems }) {
    if (text !== this.#area.value) return;
    this.#tell({ tokens, limit });
    const rest = this.#typed ? SETTLED - (performance.now() - this.#typed) : 0;
    if (rest > 0 && problems.length) {
      // Those that were shown and are mended go at once.
      this.#problems = this.#problems.filter((old) => problems.some((each) => each.message === old.message));
      setTimeout(() => this.found(text, { tokens, limit, problems }), rest);
    } else this.#problems = problems;
    this.draw();
  }

  draw() {
    const marks = this.#problems.map(({ start, end }) => ({ start, end: Math.max(end, start + 1), kind: "fault" }));
    if (document.activeElement === this.#area && this.#area.selectionStart === this.#area.selectionEnd) {
      const { pair, lone } = bracketAt(this.#area.value, this.#area.selectionStart);
      const at = pair ? [pair.open, pair.close] : lone === undefined ? [] : [lone];
      for (const place of at) marks.push({ start: place, end: place + 1, kind: pair ? "matched" : "unmatched" });
    }
    this.#mirror.draw(marks);
    this.#drawList();
  }

  #tell({ tokens, limit }) {
    say(this.#count, `${tokens}/${limit}`);
    this.#count.title = `${tokens} ${tokens === 1 ? "token" : "tokens"} of ${limit} that ${limit === 75 ? "one chunk has" : `${limit / 75} chunks have`} room for`;
    this.#count.classList.toggle("more", limit > 75);
    this.#count.hidden = !this.#area.value && pairOf(this.#area).endsWith("_hr");
  }

  #drawList() {
    const shown = this.#problems.slice(0, MOST_SHOWN);
    const rest = this.#problems.length - shown.length;
    const rows = shown.map(({ message, start, end }) => ({ message, act: () => this.#show(start, end) }));
    if (rest) rows.push({ message: rest === 1 ? "and one more" : `and ${rest} more`, act: null });
    const drawn = JSON.stringify([rows, shown]);
    if (this.#list.dataset.drawn === drawn) return;
    this.#list.dataset.drawn = drawn;
    this.#list.hidden = !rows.length;
    this.#area.setAttribute("aria-invalid", String(rows.length > 0));
    this.#list.replaceChildren(...rows.map(({ message, act }) => element("li", {}, act ? faultButton(message, act) : message)));
  }

  #show(start, end) {
    this.#area.focus();
    this.#area.setSelectionRange(start, end);
  }
}

const faultButton = (message, onclick) =>
  element("button", { type: "button", title: "Show where", onclick, textContent: message });

function historyButton(area) {
  return element(
    "button",
    {
      type: "button",
      className: "act",
      title: "Earlier prompts (Alt Up)",
      onclick: () => openHistory(area),
      attributes: { "aria-label": "Earlier prompts" },
    },
    icon("waiting"),
  );
}

/** Faults where they stand now: those that were touched are gone, those behind a change have moved with it. */
function shifted(problems, before, after) {
  if (before === after) return problems;
  const shorter = Math.min(before.length, after.length);
  let same = 0;
  while (same < shorter && before[same] === after[same]) same++;
  let last = 0;
  while (last < shorter - same && before.at(-1 - last) === after.at(-1 - last)) last++;
  const by = after.length - before.length;
  return problems
    .filter(({ start, end }) => end <= same || start >= before.length - last)
    .map((each) => (each.end <= same ? each : { ...each, start: each.start + by, end: each.end + by }));
}

const heard = { anything: false };
const known = new WeakMap();
const due = new Map();
const asking = new Map();

function adopt(area) {
  if (!known.has(area)) known.set(area, new Prompt(area));
  return known.get(area);
}

/** Look a pair of prompts over, once nothing has been typed for a while. */
function lookOver(pair, pause = PAUSE) {
  clearTimeout(due.get(pair));
  due.set(pair, setTimeout(() => ask(pair), pause));
}

async function ask(pair) {
  const areas = ["prompt", "negative"].map((which) => areaOf(pair, which));
  const [prompt, negative] = areas.map((area) => area?.value ?? "");
  if (!areas[0]?.isConnected || !(prompt || negative)) return;
  asking.get(pair)?.abort();
  const waiting = new AbortController();
  asking.set(pair, waiting);
  const said = await askAbout("", { prompt, negative, ...reading(pair) }, waiting.signal);
  if (!said) return;
  heard.anything = true;
  for (const [area, text, which] of [[areas[0], prompt, "prompt"], [areas[1], negative, "negative"]])
    if (area) adopt(area).found(text, said[which]);
}

/** What else of the form decides how many tokens there are. */
function reading(pair) {
  const { styles, emphasis, comma_backtrack: backtrack } = formOf(pair);
  return {
    ...(styles?.length ? { styles } : {}),
    ...(emphasis ? { emphasis } : {}),
    ...(Number.isInteger(backtrack) ? { comma_backtrack: backtrack } : {}),
  };
}

function lookAgain(pause) {
  for (const area of promptAreas()) {
    if (!known.has(area)) continue;
    known.get(area).changed();
    lookOver(pairOf(area), pause);
  }
}

document.addEventListener("focusin", ({ target }) => {
  const area = promptArea(target);
  if (!area) return;
  const news = !known.has(area);
  adopt(area).draw();
  if (news) lookOver(pairOf(area));
});
document.addEventListener("focusout", ({ target }) => promptArea(target) && known.get(target)?.draw());
document.addEventListener("input", ({ target }) => {
  const area = promptArea(target);
  if (!area) return;
  adopt(area).changed({ byKeys: document.activeElement === area });
  lookOver(pairOf(area));
});
document.addEventListener("selectionchange", () => {
  const area = promptArea(document.activeElement);
  if (area) known.get(area)?.draw();
});
document.addEventListener("keydown", (event) => {
  const area = promptArea(event.target);
  if (!area || event.isComposing || event.shiftKey || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
  const up = event.key === "ArrowUp";
  if ((event.ctrlKey || event.metaKey) && !event.altKey) {
    event.preventDefault();
    const change = weighed(area.value, area.selectionStart, area.selectionEnd, up);
    if (change) replace(area, change.start, change.end, change.text, change.selected);
  } else if (event.altKey && !event.ctrlKey && !event.metaKey && up && !/^(Mac|iP)/.test(navigator.platform)) {
    // There it moves the caret by a paragraph.
    event.preventDefault();
    openHistory(area);
  }
});

// Whoever changes one of these does so with a click or a key somewhere else on the page.
let read = "";
for (const type of ["click", "change", "focusout"]) {
  document.addEventListener(type, () => {
    setTimeout(() => {
      const now = JSON.stringify(["txt2img", "img2img", "inpaint"].map(reading));
      if (now !== read && read) lookAgain(PAUSE);
      read = now;
    }, PAUSE);
  });
}

/** Called when the prompts of a tab are there. */
export function start(words) {
  promptAreas(words).forEach(adopt);
  lookAgain(QUIET);
}

prompts.addEventListener("change", () => lookAgain(performance.now() < STARTED ? QUIET : PAUSE));
models.addEventListener("checkpoint", () => lookAgain(QUIET));
let loras = "";
models.addEventListener("change", () => {
  const now = models.list.filter(({ kind }) => kind === "lora" || kind === "embedding").map(({ name }) => name).join("\n");
  if (now !== loras) lookAgain(QUIET);
  loras = now;
});
