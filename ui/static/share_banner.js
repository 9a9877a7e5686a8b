// Says on top of the page that a public link leads here, and ends it.

import { say } from "./elements.js";
import { duration } from "./words.js";

const ADDRESS = "atelier/share"; // relative: it works below a proxy's path too
const AGAIN = 5000; // milliseconds: also while there is no link, because it opens after the page

export function start(root) {
  const banner = root.querySelector(".shared");
  const link = banner.querySelector(".address");
  const stop = banner.querySelector(".stop");

  function render({ url, left, may_stop }) {
    banner.hidden = !url;
    stop.hidden = !may_stop;
    if (!url) return;
    link.href = url;
    say(link, url);
    say(banner.querySelector(".left"), `ends in ${duration(left)}`);
  }

  async function look(order) {
    const answer = await fetch(order ? `${ADDRESS}/stop` : ADDRESS, { method: order ? "POST" : "GET" }).catch(() => null);
    if (answer?.ok) render(await answer.json());
  }

  stop.addEventListener("click", () => look(true));
  look(false);
  setInterval(() => document.hidden || look(false), AGAIN);
}
