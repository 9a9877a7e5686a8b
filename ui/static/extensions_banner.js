// Says on top of the page that the extensions are others than when this window was opened.

import { extensions } from "./extensions_store.js";

export function start(root) {
  const banner = root.querySelector(".renewed");
  banner.querySelector(".again").addEventListener("click", () => location.reload());
  const render = () => (banner.hidden = !extensions.old);
  extensions.addEventListener("renewed", render);
  render();
}
