// Dialogs of the page: a sheet of paper with a title, what it is about, and buttons at its foot.

import { element, iconButton } from "./elements.js";

/** A dialog that is closed; `foot` are its buttons. `sheet.body` is where its content goes. */
export function sheet(title, className, ...foot) {
  const head = element("h2", { textContent: title, id: `${className}-title` });
  const body = element("div", { className: "sheet-body", tabIndex: -1 });
  const made = element(
    "dialog",
    { className: `sheet ${className}`, attributes: { "aria-labelledby": head.id } },
    element("header", {}, head, iconButton("close", "Close (Esc)", () => made.close())),
    body,
    element("footer", {}, ...foot),
  );
  // A press that begins and ends beside the sheet closes it; one that begins in a field does not.
  let began = false;
  made.addEventListener("pointerdown", ({ target }) => (began = target === made));
  made.addEventListener("click", ({ target }) => target === made && began && made.close());
  (document.querySelector(".gradio-container") ?? document.body).append(made);
  made.body = body;
  made.head = head;
  return made;
}

/** A list of sentences under a heading, folded where there are many; nothing where there are none. */
export function notes(title, rows, { className = "", folded = false } = {}) {
  if (!rows.length) return null;
  const list = element("ul", {}, ...rows);
  const words = element("span", { className: "count", textContent: String(rows.length) });
  return element(
    "details",
    { className: `notes ${className}`.trim(), open: !folded },
    element("summary", {}, `${title} `, words),
    list,
  );
}
