// A sentence at the lower edge that goes away by itself, with a way to undo what it tells of.

import { element, iconButton, say } from "./elements.js";

const STAYS = 12000; // milliseconds
let timer = 0;
let place = null;

/** @param undo what the button "Undo" does; without it there is none */
export function toast(words, undo = null) {
  place ??= make();
  // In the dialog that is open: what is outside of one cannot be pressed.
  (document.querySelector("dialog[open]") ?? document.querySelector(".gradio-container") ?? document.body).append(place);
  say(place.querySelector(".words"), words);
  const button = place.querySelector(".undo");
  button.hidden = !undo;
  button.onclick = () => (hide(), undo());
  place.hidden = false;
  again();
}

function make() {
  const made = element(
    "div",
    { className: "models-toast", attributes: { role: "status" } },
    element("span", { className: "words" }),
    element("button", { type: "button", className: "undo", textContent: "Undo" }),
    iconButton("close", "Close", hide),
  );
  // Who points at it or stands in it is not rushed.
  for (const stop of ["pointerenter", "focusin"]) made.addEventListener(stop, () => clearTimeout(timer));
  for (const go of ["pointerleave", "focusout"]) made.addEventListener(go, again);
  return made;
}

function again() {
  clearTimeout(timer);
  timer = setTimeout(hide, STAYS);
}

function hide() {
  if (place) place.hidden = true;
}
