// What was filled into a form can be taken back once: by the button in the sentence that tells of it, or by Ctrl Z
// outside of fields and of the canvas, which have their own.

import { canvasOf } from "./canvas/canvas.js";
import { toast } from "./models_toast.js";
import { wish } from "./wishes.js";

const FIELDS = "input:not([type=range], [type=checkbox], [type=radio], [type=color]), textarea, select, [contenteditable=true]";

let last = null; // {tab, values, canvas}

/** @param undo {tab, values}, what stood there before  @param canvas how many steps its canvas had */
export function undoable(undo, words, canvas = null) {
  last = { ...undo, canvas };
  toast(words, takeBack);
}

async function takeBack() {
  if (!last) return;
  const { tab, values, canvas } = last;
  last = null;
  wish("restore", { tab, values });
  if (canvas === null) return;
  const easel = await canvasOf(tab);
  while (easel.state.position > canvas && easel.state.undoable) await easel.undo();
}

/** How many steps the canvas of a tab has now. */
export async function steps(tab) {
  return (await canvasOf(tab)).state.position;
}

document.addEventListener("keydown", (event) => {
  const wanted = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "z";
  if (!wanted || !last || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (event.target.matches?.(FIELDS)) return;
  event.preventDefault();
  takeBack();
  toast("Undone");
});
