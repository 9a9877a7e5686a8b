// What the form does by itself, and what user scripts may call.

import { withFiles, withPainting } from "./painted_tabs.js";
import { studio } from "./studio.js";
import { painter } from "./tabs.js";

const STEP = 8;
const RANGE = [64, 2048];

/** A size of the given ratio with the same area, in multiples of 8. */
function withRatio(width, height, across, down) {
  const side = (share) => {
    const exact = Math.sqrt(width * height * share);
    return Math.max(RANGE[0], Math.min(RANGE[1], Math.round(exact / STEP) * STEP));
  };
  return [side(across / down), side(down / across)];
}

function setPrompt(text) {
  const tab = painter();
  const area = document.querySelector(`#${tab}_prompt textarea`);
  area.value = text;
  area.dispatchEvent(new Event("input", { bubbles: true }));
  document.getElementById(`${tab}_generate`).focus();
}

/** The size that a tab's form has: shown as a ratio, and what a blank canvas begins with. */
function tellSize(tab, [width, height]) {
  atelier.sizes[tab] = [width, height];
  for (const chip of document.querySelectorAll(`#${tab}_ratios button`)) {
    const [across, down] = chip.textContent.split(":").map(Number);
    const [likeWidth, likeHeight] = withRatio(width, height, across, down);
    chip.setAttribute("aria-pressed", String(likeWidth === width && likeHeight === height));
  }
}

/** What the form's buttons and user scripts call. */
export const atelier = {
  withRatio,
  withPainting,
  withFiles,
  setPrompt,
  tellSize,
  sizes: {}, // [width, height] of the forms, by tab
  shownSeeds: {}, // of the pictures on the stages, by tab
  shownSeed: (tab = painter()) => atelier.shownSeeds[tab]?.(),
  interrupt: () => studio.order("interrupt"),
  skip: () => studio.order("skip"),
};

window.atelier = atelier;

// On the document, because Gradio makes and removes the form's elements as it likes.
document.addEventListener("click", (event) => {
  if (event.target.closest?.("button.ender.interrupt")) atelier.interrupt();
  else if (event.target.closest?.("button.ender.skip")) atelier.skip();
});

// A button that shows an icon only says in a tooltip what it does.
document.addEventListener("pointerover", (event) => {
  const button = event.target.closest?.(".icon-button");
  if (button && !button.title) button.title = button.textContent.trim();
});
