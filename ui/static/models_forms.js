// What the forms of the Models tab are made of.

import { element, icon, say } from "./elements.js";
import { models } from "./models_store.js";

/** An input with its label, and a line below it. */
export function field(label, input, note = "") {
  return element(
    "label",
    { className: "field" },
    element("span", { className: "label", textContent: label }),
    input,
    note ? element("span", { className: "hint", textContent: note }) : null,
  );
}

export function textInput(properties = {}) {
  return element("input", { type: "text", autocomplete: "off", spellcheck: false, className: "text", ...properties });
}

export function area(value) {
  return element("textarea", { className: "text", value, rows: 2 });
}

/** A selector; `options` are [value, words]. */
export function choice(options, value = "") {
  const select = element("select", { className: "text" });
  fillChoice(select, options, value);
  return select;
}

/** Give a selector other options; what was chosen stays where it can. */
export function fillChoice(select, options, value = select.value) {
  select.replaceChildren(...options.map(([name, words]) => element("option", { value: name, textContent: words })));
  if (options.some(([name]) => name === value)) select.value = value;
}

/** A place for a sentence about what went wrong. */
export function complaint() {
  return element("p", { className: "complaint", hidden: true, attributes: { role: "alert" } });
}

export function complain(place, words) {
  say(place, words);
  place.hidden = !words;
}

/** Do what may fail: the sentence is shown at `place`, and undefined comes back. */
export async function attempt(place, act) {
  complain(place, "");
  try {
    return await act();
  } catch (error) {
    complain(place, error.message);
    return undefined;
  }
}

/** A button with words; while `act` is under way it cannot be pressed again. */
export function button(words, act, { primary = false, sign = "", className = "" } = {}) {
  const made = element(
    "button",
    { type: "button", className: `plain ${primary ? "primary" : ""} ${className}`.trim() },
    sign ? icon(sign) : null,
    element("span", { textContent: words }),
  );
  made.addEventListener("click", async (event) => {
    if (made.ariaBusy === "true") return;
    made.ariaBusy = "true";
    try {
      await act(event);
    } finally {
      made.ariaBusy = "false";
    }
  });
  return made;
}

/** Show what may be done at the machine itself (`data-local`) there only, and elsewhere what says so (`data-remote`). */
export function showByPlace(root) {
  for (const part of root.querySelectorAll("[data-local]")) part.hidden = !models.local;
  for (const part of root.querySelectorAll("[data-remote]")) part.hidden = models.local || !models.loaded;
}

/** A part of a panel with its heading. */
export function section(title, ...children) {
  return element("section", { className: "part" }, title ? element("h3", { textContent: title }) : null, ...children);
}

/** A bar that says how much is done, from 0 to 1; null where that is not known. */
export function bar(name) {
  const made = element(
    "div",
    { className: "bar-of-work", attributes: { role: "progressbar", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": 100 } },
    element("span"),
  );
  made.show = (share) => {
    made.classList.toggle("unknown", share === null);
    made.style.setProperty("--share", share ?? 1);
    if (share === null) made.removeAttribute("aria-valuenow");
    else made.setAttribute("aria-valuenow", Math.round(share * 100));
  };
  return made;
}
