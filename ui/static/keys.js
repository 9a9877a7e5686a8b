// Keys that work everywhere on the page: Ctrl Enter generates, Esc interrupts.

const visible = (kind) => [...document.querySelectorAll(`.tab-buttons button.${kind}`)].find((button) => button.offsetParent);

/** Something open that Esc closes first. */
const opened = () => document.querySelector("dialog[open], [role=listbox]:not([hidden])");

document.addEventListener(
  "keydown",
  (event) => {
    if (event.isComposing) return; // Enter and Esc belong to the input method then
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const generate = visible("generate");
      if (!generate || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      event.stopPropagation();
      generate.click();
    } else if (event.key === "Escape" && !event.defaultPrevented && !opened()) {
      const interrupt = visible("interrupt");
      if (interrupt && !interrupt.disabled) interrupt.click();
    }
  },
  true,
);
