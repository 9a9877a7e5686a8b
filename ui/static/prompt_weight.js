// Ctrl Up and Ctrl Down: more or less of the word at the caret, of what is selected, or of a LoRA; by AUTOMATIC1111's rules.

import { brackets } from "./prompt_brackets.js";
import { loras, WEIGHTS, withWeight } from "./prompt_tokens.js";

const STEP = 0.1;
const FACTORS = { "(": 1.1, "[": 1 / 1.1 };
const WEIGHT = /:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*$/;
const PARTED = /[\s.,/!?%^*;:{}=`~()[\]|<>\\]/;

/**
 * What another weight makes of `text`, of which `start` to `end` is selected: {start, end, text, selected}, where `text`
 * takes the place of what stood from `start` to `end`; null where there is nothing to weigh.
 */
export function weighed(text, start, end, up) {
  while (start < end && /\s/.test(text[end - 1])) end--;
  while (start < end && /\s/.test(text[start])) start++;
  const token = loras(text).find((each) => each.start <= start && end <= each.end);
  if (token) return ofLora(text, token, [start, end], up);
  const { pairs } = brackets(text);
  const found = start === end ? aroundCaret(text, pairs, start) : aroundSelection(text, pairs, start, end);
  return found && written(text, found, [start, end], up);
}

function ofLora(text, token, [start, end], up) {
  if (!Number.isFinite(token.weight)) return null;
  const changed = withWeight(text, token, token.weight + (up ? WEIGHTS.step : -WEIGHTS.step));
  const word = changed.slice(token.start, changed.length - (text.length - token.end));
  const within = (place) => Math.min(place, token.start + word.length);
  return { start: token.start, end: token.end, text: word, selected: [within(start), within(end)] };
}

/** {open, close, from, to, weight}: brackets, what stands in them, and how much it counts. */
function weighedBy(text, pair, pairs) {
  const inside = text.slice(pair.open + 1, pair.close);
  const said = pair.sign === "(" ? WEIGHT.exec(inside) : null;
  if (pair.sign === "{" || (pair.sign === "[" && changes(inside))) return null;
  const block = { open: pair.open, close: pair.close, from: pair.open + 1, to: said ? pair.open + 1 + said.index : pair.close };
  if (said) return { ...block, weight: Number(said[1]) };
  // ((one)) in brackets that say nothing else are one weight
  let levels = 1;
  const around = (open, close) => pairs.find((each) => each.sign === pair.sign && each.open === open && each.close === close);
  const into = () => around(block.from, block.to - 1);
  while (into()) [block.from, block.to, levels] = [block.from + 1, block.to - 1, levels + 1];
  while (around(block.open - 1, block.close + 1)) [block.open, block.close, levels] = [block.open - 1, block.close + 1, levels + 1];
  return { ...block, weight: Math.round(FACTORS[pair.sign] ** levels / STEP) * STEP };
}

/** Whether square brackets hold words that change from step to step. */
function changes(inside) {
  const { pairs } = brackets(inside);
  const nested = (place) => pairs.some(({ open, close }) => open < place && place < close);
  return [...inside.matchAll(/[:|]/g)].some(({ index }) => inside[index - 1] !== "\\" && !nested(index));
}

function aroundCaret(text, pairs, caret) {
  const inner = pairs.filter(({ open, close }) => open < caret && caret <= close).sort((a, b) => b.open - a.open);
  for (const pair of inner) {
    const block = weighedBy(text, pair, pairs);
    if (block) return block;
  }
  let [from, to] = [caret, caret];
  while (from > 0 && !PARTED.test(text[from - 1])) from--;
  while (to < text.length && !PARTED.test(text[to])) to++;
  if (from < to) return { open: from, close: to - 1, from, to, weight: 1 };
  const touched = pairs.find(({ open, close }) => open === caret || close === caret - 1);
  return touched ? weighedBy(text, touched, pairs) : null;
}

function aroundSelection(text, pairs, start, end) {
  for (const pair of pairs) {
    const block = weighedBy(text, pair, pairs);
    const same = block && ((block.from === start && block.to === end) || (block.open === start && block.close + 1 === end));
    if (same) return block;
  }
  const selected = brackets(text.slice(start, end));
  return selected.lone.length ? null : { open: start, close: end - 1, from: start, to: end, weight: 1 };
}

function written(text, { open, close, from, to, weight }, [start, end], up) {
  const words = text.slice(from, to);
  const next = Number((weight + (up ? STEP : -STEP)).toFixed(4));
  const plain = next === 1;
  const begins = open + (plain ? 0 : 1);
  // Words in a row stay selected, so that the next press means all of them again.
  const whole = start < end || /\s/.test(words);
  const caret = begins + Math.max(0, Math.min(words.length, start - from));
  return {
    start: open,
    end: close + 1,
    text: plain ? words : `(${words}:${next})`,
    selected: whole ? [begins, begins + words.length] : [caret, caret],
  };
}
