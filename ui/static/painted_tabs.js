// The tabs with a canvas: what lies on it goes with the form, and results come back as proposals.

import { canvasOf } from "./canvas/canvas.js";
import { originOf } from "./origins.js";
import { filesOf } from "./picture_files.js";
import { studio } from "./studio.js";

const KEY = "atelier-offered";
const MOST = 400; // addresses that are remembered
const PROPOSING = "inpaint"; // the tab whose results come over the canvas
const address = (name) => `atelier/inputs/${name}`;

/** Put `value()` as JSON at `place` among the values of a form; where it fails, the sentence. */
async function put(values, place, value) {
  const all = [...values];
  try {
    all[place] = JSON.stringify(await value());
  } catch (error) {
    all[place] = JSON.stringify({ problem: error.message });
  }
  return all;
}

/** Whether the server still has a picture: its answer has no body then. */
async function isThere(name) {
  const headers = { "If-None-Match": `"${name}"` };
  const answer = await fetch(address(name), { headers, cache: "no-store" }).catch(() => null);
  return answer?.status !== 404;
}

/** What lies on the canvas, in the server's store; one that was emptied, or is another one, gets all of it again. */
async function delivered(tab) {
  const canvas = await canvasOf(tab);
  const sent = await canvas.commit();
  const there = await Promise.all([sent.picture, sent.mask, sent.sketch].filter(Boolean).map(isThere));
  return there.every(Boolean) ? sent : canvas.commit({ again: true });
}

/** The values of a form with what lies on the tab's canvas. */
export const withPainting = (tab, values, place) => put(values, place, () => delivered(tab));

/** The values of a form with the pictures that were chosen from the disk. */
export const withFiles = (tab, values, place) => put(values, place, async () => (await filesOf(`${tab}_files`)).sent());

/** Bring what a request began with back onto the canvas of its tab: names of inputs, and a box. */
export async function bring(tab, { picture, mask, sketch, box }) {
  const canvas = await canvasOf(tab);
  const layers = Object.fromEntries(Object.entries({ mask, sketch }).filter(([, name]) => name).map(([layer, name]) => [layer, address(name)]));
  await canvas.load(address(picture), { layers });
  if (box) canvas.setBox(box);
}

// Proposals. A result is offered once in a window, and only over the picture that it was made of.

function remembered() {
  try {
    return new Set(JSON.parse(sessionStorage.getItem(KEY)) ?? []);
  } catch {
    return new Set(); // storage is forbidden, or something else wrote there
  }
}

const offered = remembered();
let history = null; // jobs that had ended when this window was opened: what they made is offered no more
let working = Promise.resolve();

function remember(pictures) {
  for (const { url } of pictures) offered.add(url);
  try {
    sessionStorage.setItem(KEY, JSON.stringify([...offered].slice(-MOST)));
  } catch {
    // then a reload may offer some again
  }
}

/** Pictures of the tab that were not offered yet. */
function fresh() {
  const ours = studio.jobs.filter(({ id }) => originOf(id)?.tab === PROPOSING && !history.has(id));
  return ours.flatMap(({ id }) => studio.pictures(id)).filter(({ url }) => !offered.has(url));
}

async function propose(pictures) {
  const canvas = await canvasOf(PROPOSING);
  const { picture } = canvas.state.hasPicture ? await canvas.commit() : {};
  const fitting = pictures.filter(({ job }) => originOf(job)?.pictures[0] === picture);
  if (!fitting.length) return;
  const more = fitting.map(({ url, job, width, height }) => ({ url, ...(originOf(job).place ?? { left: 0, top: 0 }), width, height }));
  await canvas.propose([...canvas.proposals, ...more]);
}

studio.addEventListener("change", () => {
  if (!studio.told) return;
  history ??= new Set(studio.jobs.filter(({ state }) => !["queued", "running"].includes(state)).map(({ id }) => id));
  const pictures = fresh(); // of jobs whose origin is known by now
  if (!pictures.length) return;
  remember(pictures);
  working = working.then(() => propose(pictures)).catch((error) => studio.dispatchEvent(new CustomEvent("problem", { detail: error.message })));
});
