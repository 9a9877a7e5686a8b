// What the document as a whole shows of a job that runs: its title, a line on phones, and the buttons that end it.

import { shareDone } from "./stage.js";
import { studio } from "./studio.js";

function render() {
  const running = studio.running !== null;
  const share = shareDone();
  document.body.toggleAttribute("data-running", running);
  document.body.style.setProperty("--done", share);
  document.title = running ? `${Math.round(share * 100)} % · Atelier` : "Atelier";
  for (const button of document.querySelectorAll("button.ender")) button.disabled = !running;
}

// A tab's buttons are made when it is opened for the first time.
for (const news of ["change", "view"]) studio.addEventListener(news, render);
