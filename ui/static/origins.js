// What jobs began with: their tab, and the pictures that results can be held against. Asked for when there is a job that
// is not known yet (ui/origins.py).

import { studio } from "./studio.js";

const origins = new Map(); // job's id -> {tab, pictures, place}
let asking = null;

/** {tab, pictures: [names], place: {left, top} | null}, or null while it is not known. */
export const originOf = (job) => origins.get(job) ?? null;

/** The address of the picture that a result was made of, or "". */
export function before({ job, index }) {
  const { pictures = [] } = originOf(job) ?? {};
  const name = pictures[index] ?? pictures[0];
  return name ? `atelier/inputs/${name}` : "";
}

const unknown = () => studio.jobs.some(({ id }) => !origins.has(id));

async function ask() {
  const answer = await fetch("atelier/origins").catch(() => null);
  if (!answer?.ok) return;
  for (const [id, origin] of Object.entries(await answer.json())) origins.set(id, origin);
  studio.dispatchEvent(new CustomEvent("change"));
}

studio.addEventListener("change", () => {
  if (asking || !unknown()) return;
  asking = ask().finally(() => setTimeout(() => (asking = null), 250)); // one that is gone again is asked for in peace
});
