// The text areas that hold prompts: which pair one belongs to, and what stands in both.

import { models } from "./models_store.js";

const AREAS = '.tab-layout [id$="_prompt"] textarea';

/** The area that an event is about, if it is a prompt's. */
export const promptArea = (target) => (target?.matches?.(AREAS) ? target : null);

export const promptAreas = (root = document) => [...root.querySelectorAll(AREAS)];

/** `txt2img` for the prompts of that tab, `txt2img_hr` for those of its second pass. */
export const pairOf = (area) => area.closest('[id$="_prompt"]').id.replace(/(_neg)?_prompt$/, "");

export const isNegative = (area) => area.closest('[id$="_prompt"]').id.endsWith("_neg_prompt");

/** The area of a pair. */
export const areaOf = (pair, which) => document.querySelector(`#${pair}${which === "negative" ? "_neg" : ""}_prompt textarea`);

/** What stands in the rest of the form that a pair is part of. */
export const formOf = (pair) => window.atelierValues?.[pair.replace(/_hr$/, "")] ?? {};

/** Ask Atelier about what is typed; nothing where it does not answer, or somebody does not wait for it any more. */
export async function askAbout(path, order, signal) {
  try {
    const answer = await fetch(`atelier/prompt${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...order, checkpoint: models.checkpoint }),
      signal,
    });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
