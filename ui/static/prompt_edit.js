// Changes to a prompt as if they had been typed: each is one step of the browser's own undo.

let writing = false;

/** Whether a change comes from here and not from a person's keys. */
export const isWriting = () => writing;

/** Put `text` in place of what stands from `start` to `end`, and select what `selected` says, else set the caret behind it. */
export function replace(area, start, end, text, selected = [start + text.length, start + text.length]) {
  writing = true;
  try {
    if (area.value.slice(start, end) !== text) {
      area.focus({ preventScroll: true });
      area.setSelectionRange(start, end);
      // One that is hidden takes no focus, and the command would change whatever was selected last.
      const typed = document.activeElement === area && document.execCommand(text ? "insertText" : "delete", false, text);
      if (!typed) byHand(area, start, end, text);
    }
    area.setSelectionRange(...selected);
  } finally {
    writing = false;
  }
}

/** Replace all of a prompt, but touch only what differs. */
export function rewrite(area, text) {
  const before = area.value;
  const shorter = Math.min(before.length, text.length);
  let same = 0;
  while (same < shorter && before[same] === text[same]) same++;
  let last = 0;
  while (last < shorter - same && before.at(-1 - last) === text.at(-1 - last)) last++;
  replace(area, same, before.length - last, text.slice(same, text.length - last), [text.length, text.length]);
}

/** The same for who is not typing there: whatever had the focus keeps it. */
export function rewriteAside(area, text) {
  const before = document.activeElement;
  rewrite(area, text);
  if (before === area || document.activeElement !== area) return;
  area.blur();
  before?.focus?.({ preventScroll: true });
}

function byHand(area, start, end, text) {
  area.setRangeText(text, start, end, "end");
  area.dispatchEvent(new Event("input", { bubbles: true }));
}
