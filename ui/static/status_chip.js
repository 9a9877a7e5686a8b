// What is loaded and on which device, in the page's header.

import { applyAppearance, nextAppearance } from "./appearance.js";
import { say } from "./elements.js";
import { studio } from "./studio.js";

export function start(root) {
  const chip = root.querySelector(".status");
  const words = chip.querySelector(".words");
  const button = root.querySelector(".appearance");

  function render() {
    const [state, text, more] = describe();
    chip.dataset.state = state;
    chip.title = more;
    say(words, text);
  }

  function name() {
    button.title = `Appearance: ${document.documentElement.dataset.appearance}`;
    button.setAttribute("aria-label", button.title);
  }

  studio.addEventListener("change", render);
  button.addEventListener("click", () => (nextAppearance(), name()));
  applyAppearance();
  name();
  render();
}

/** The chip's state, its words, and the rest for who points at it. */
function describe() {
  const { status, connected } = studio;
  if (!connected) return status ? ["lost", "Reconnecting", "Atelier does not answer"] : ["connecting", "Connecting", ""];
  if (!status) return ["connecting", "Connecting", ""];
  if (status.problem) return ["problem", status.problem, status.problem];
  if (status.loading) return ["loading", `Loading ${status.loading}`, ""];
  if (!status.checkpoint) return ["idle", `Nothing loaded yet${status.device ? ` · ${status.device}` : ""}`, ""];
  const text = [status.checkpoint, status.device].filter(Boolean).join(" · ");
  return ["ready", text, [text, status.family, status.attention].filter(Boolean).join("\n")];
}
