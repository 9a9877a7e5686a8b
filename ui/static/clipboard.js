// Copying text.

import { element } from "./elements.js";

/** Whether it could be copied. The clipboard of a page that came without https is reached the old way, `near` what is open. */
export async function copyText(text, near) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element("textarea", { value: text, className: "visually-hidden" });
    near.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
