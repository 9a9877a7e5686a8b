// Which brackets of a prompt belong together; a backslash makes one a plain sign, and comments have none.

const OPENS = { ")": "(", "]": "[", "}": "{" };
const SIGN = /\\[()[\]{}\\]?|#[^\n]*|[()[\]{}]/g;

/** {pairs: [{sign, open, close}], lone: [place]}, both in the order in which they end. */
export function brackets(text) {
  const pairs = [];
  const lone = [];
  const opened = [];
  for (const { 0: sign, index } of text.matchAll(SIGN)) {
    if (sign in OPENS) {
      const at = opened.findLastIndex((each) => each.sign === OPENS[sign]);
      if (at < 0) lone.push(index);
      else {
        lone.push(...opened.splice(at + 1).map(({ open }) => open));
        const { sign: first, open } = opened.pop();
        pairs.push({ sign: first, open, close: index });
      }
    } else if (sign.length === 1 && "([{".includes(sign)) opened.push({ sign, open: index });
  }
  lone.push(...opened.map(({ open }) => open));
  return { pairs, lone };
}

/** What is to be shown for the bracket that the caret touches: {pair}, {lone} or nothing. */
export function bracketAt(text, caret) {
  const { pairs, lone } = brackets(text);
  for (const place of [caret - 1, caret]) {
    const pair = pairs.find(({ open, close }) => open === place || close === place);
    if (pair) return { pair };
    // One that was opened just now is not wrong yet.
    if (text[place] in OPENS && text[place] !== "}" && lone.includes(place)) return { lone: place };
  }
  return {};
}
