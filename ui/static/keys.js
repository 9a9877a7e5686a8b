// Keys that work everywhere on the page: Ctrl Enter generates, Esc interrupts.

const visible = (id) => {
  const button = document.getElementById(id);
  return button?.offsetParent ? button : null;
};

/** Something open that Esc closes first. */
const opened = () => document.querySelector("dialog[open], [role=listbox]:not([hidden])");

document.addEventListener(
  "keydown",
  (event) => {
    if (event.isComposing) return; // Enter and Esc belong to the input method then
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const generate = visible("txt2img_generate");
      if (!generate || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      event.stopPropagation();
      generate.click();
    } else if (event.key === "Escape" && !event.defaultPrevented && !opened()) {
      const interrupt = visible("txt2img_interrupt");
      if (interrupt && !interrupt.disabled) interrupt.click();
    }
  },
  true,
);
