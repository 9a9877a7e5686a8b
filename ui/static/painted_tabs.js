// The tabs with a canvas: what lies on it goes with the form, and comes back with one.

import { canvasOf } from "./canvas/canvas.js";
import { expect } from "./offers.js";
import { filesOf } from "./picture_files.js";

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
  const all = there.every(Boolean) ? sent : await canvas.commit({ again: true });
  if (all.picture) expect(canvas, all.picture);
  return all;
}

/** The depth map that a tab was given, if it was. */
async function depthOf(tab) {
  const files = document.getElementById(`${tab}_depth`) && (await filesOf(`${tab}_depth`));
  const [depth] = (await files?.sent()) ?? [];
  if (depth?.problem) throw new Error(`Depth map: ${depth.problem}`);
  return depth?.name ?? "";
}

/** The values of a form with what lies on the tab's canvas. */
export const withPainting = (tab, values, place) =>
  put(values, place, async () => ({ ...(await delivered(tab)), depth: await depthOf(tab) }));

/** The values of a form with the pictures that were chosen from the disk. */
export const withFiles = (tab, values, place) => put(values, place, async () => (await filesOf(`${tab}_files`)).sent());

/** Bring what a request began with back onto the canvas of its tab: names of inputs, a box, and a depth map. */
export async function bring(tab, { picture, mask, sketch, box, depth }) {
  const canvas = await canvasOf(tab);
  const layers = Object.fromEntries(Object.entries({ mask, sketch }).filter(([, name]) => name).map(([layer, name]) => [layer, address(name)]));
  await canvas.load(address(picture), { layers });
  if (box) canvas.setBox(box);
  if (document.getElementById(`${tab}_depth`)) (await filesOf(`${tab}_depth`)).show(depth ? [depth] : []);
}
