// What can be done with a picture that was made.

import { canvasOf } from "./canvas/canvas.js";
import { compare } from "./compare.js";
import { element, icon, iconButton } from "./elements.js";
import { pictureActs } from "./extension_slots.js";
import { before, originOf } from "./origins.js";
import { filesOf } from "./picture_files.js";
import { goTo } from "./tabs.js";
import { complain, wish } from "./wishes.js";

const FARTHER = 1.5; // how much is painted around a picture when nothing else is said

const which = ({ job, index }) => ({ job, index });
const vary = (strength) => (picture) => wish("vary", { ...which(picture), strength });

/** Put the picture on the canvas of a tab, and the words it was made with beside it. */
async function take(picture, tab) {
  goTo(tab);
  wish("take", { ...which(picture), tab });
  const canvas = await canvasOf(tab);
  await canvas.load(picture.url);
  return canvas;
}

async function upscale(picture) {
  goTo("extras");
  await (await filesOf("extras_files")).add([picture.url]);
}

function hold(picture) {
  const { place } = originOf(picture.job);
  compare(before(picture), picture.url, place);
}

/** In the order in which they are shown; `offered` says for which pictures, `does` what is said aloud. */
const STEPS = [
  { name: "subtle", title: "Vary subtly", run: vary("subtle"), does: "A subtle variation is queued" },
  { name: "strong", title: "Vary strongly", run: vary("strong"), does: "A strong variation is queued" },
  { name: "brush", title: "Inpaint", run: (picture) => take(picture, "inpaint") },
  { name: "outpaint", title: "Outpaint", run: async (picture) => (await take(picture, "inpaint")).zoomOut(FARTHER) },
  { name: "enlarge", title: "Upscale", run: upscale },
  { name: "image", title: "Use as input", run: (picture) => take(picture, "img2img") },
  { name: "compare", title: "Compare", run: hold, offered: (picture) => before(picture) !== "" },
];

async function go(step, picture, done) {
  try {
    await step.run(picture);
    if (step.does) done(step.does);
  } catch (error) {
    complain(error);
  }
}

/** Buttons for all steps, and a place for those of extensions; `of()` is the picture that is meant. `done(sentence)` is
 * told of what cannot be seen. */
export function stepButtons(of, { className = "step", done = () => {} } = {}) {
  const own = STEPS.map((step) =>
    element(
      "button",
      {
        type: "button",
        className,
        title: step.title,
        data: { step: step.name },
        attributes: { "aria-label": step.title },
        onclick: () => of() && go(step, of(), done),
      },
      icon(step.name),
      element("span", { textContent: step.title }),
    ),
  );
  return [...own, pictureActs(of, className)];
}

/** Show only the buttons that there is something to do for. */
export function renewSteps(root, picture) {
  for (const { name, offered = () => true } of STEPS) {
    const button = root.querySelector(`[data-step="${name}"]`);
    if (button) button.hidden = Boolean(picture) && !offered(picture);
  }
}

// The same as a menu, for places with room for one button.

let menu = null;
let meant = null;
let told = () => {};

function build() {
  const buttons = stepButtons(() => meant, { className: "item", done: (sentence) => told(sentence) });
  menu = element("div", { className: "step-menu", popover: "auto", attributes: { role: "menu", "aria-label": "Next steps" } }, ...buttons);
  menu.addEventListener("click", ({ target }) => target.closest("button") && menu.hidePopover());
  menu.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const shown = [...menu.querySelectorAll("button:not([hidden])")];
    shown.at((shown.indexOf(document.activeElement) + step) % shown.length).focus();
  });
  document.body.append(menu);
}

/** A button that opens the menu for a picture. */
export function menuButton(picture, done = () => {}) {
  const button = iconButton("more", "Next steps", () => open(button, picture, done), "more");
  button.setAttribute("aria-haspopup", "menu");
  return button;
}

function open(button, picture, done) {
  if (!menu) build();
  [meant, told] = [picture, done];
  renewSteps(menu, picture);
  for (const button of menu.querySelectorAll("button")) button.setAttribute("role", "menuitem");
  menu.showPopover();
  const at = button.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const below = at.bottom + height + 8 < innerHeight;
  menu.style.left = `${Math.max(8, Math.min(at.right - width, innerWidth - width - 8))}px`;
  menu.style.top = `${below ? at.bottom + 4 : Math.max(8, at.top - height - 4)}px`;
  menu.querySelector("button:not([hidden])").focus();
}
