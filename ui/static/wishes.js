// What Python is asked to do, and what it leaves for this page to do (ui/next_steps.py).

import { bring } from "./painted_tabs.js";
import { filesOf } from "./picture_files.js";
import { studio } from "./studio.js";
import { goTo } from "./tabs.js";
import { steps, undoable } from "./undo.js";

const sends = {};
const hearers = new Map();

/** Wish for something: "reuse", "reuse_seed", "take", "vary", "propose", "apply", "restore", "materialise", "preset",
 * "save_preset". */
export function wish(name, details) {
  if (sends[name]) sends[name](details);
  else complain("The page is not ready yet: wait a moment, and try again.");
}

/** Let `hear(value)` do what comes back under this name. */
export function heard(name, hear) {
  hearers.set(name, hear);
}

/** Say what went wrong, where the person is. */
export function complain(problem) {
  studio.dispatchEvent(new CustomEvent("problem", { detail: problem.message ?? String(problem) }));
}

/** Called by Gradio's component. */
export function start(all, props, watch) {
  Object.assign(sends, all);
  watch("value", () => props.value && follow(props.value).catch(complain));
}

async function follow({ problem, tab, canvas, files, undo, done, ...more }) {
  for (const [name, value] of Object.entries(more)) hearers.get(name)?.(value);
  if (problem) return complain(problem);
  if (tab) goTo(tab);
  const before = canvas ? await steps(tab) : null;
  if (files) (await filesOf("extras_files")).show(files);
  if (canvas) await bring(tab, canvas);
  if (undo) undoable(undo, done ?? "The form is filled in", before);
}
