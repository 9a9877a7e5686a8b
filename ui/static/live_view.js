// The live view of a tab: draws what the studio knows, and passes wishes on.

import { say } from "./elements.js";
import { atelier } from "./form.js";
import { History } from "./history.js";
import { JobList } from "./job_list.js";
import { Lightbox } from "./lightbox.js";
import { onStage, Stage } from "./stage.js";
import { studio } from "./studio.js";
import { wish } from "./wishes.js";

const PROBLEM_STAYS = 9000; // milliseconds
const LONGEST_WAIT = 200;

// What an empty stage says where it is not the prompt that begins it.
const INVITES = {
  img2img: ["Your pictures appear here", "Put one on the canvas, describe what it shall become, then press Generate."],
  inpaint: ["Your pictures appear here", "And over the canvas, where you accept or discard them."],
  extras: ["Your pictures appear here", "Drop some on the left, then press Upscale."],
};

let lightbox = null; // one for all tabs

function invite(place, tab) {
  const [head, words] = INVITES[tab] ?? [];
  if (!head) return;
  say(place.querySelector("h2"), head);
  say(place.querySelector("p"), words);
  for (const part of place.querySelectorAll(".try, .examples")) part.hidden = true;
}

/** @param about {tab}, whose live view it is */
export function start(root, { tab }) {
  const view = root.querySelector(".live");
  let pinned = null; // the picture that was picked; null follows what happens
  const pick = ({ job, index }) => (index === undefined ? { job } : { job, index });
  const tell = (sentence) => say(view.querySelector(".told"), sentence);
  const acts = {
    pin: (picture) => ((pinned = picture), render()),
    follow: () => ((pinned = null), render()),
    open: (picture) => lightbox.open(picture, acts),
    reuse: (picture) => (wish("reuse", pick(picture)), tell("The form is filled in")),
    reuseSeed: (picture) => (wish("reuse_seed", { ...pick(picture), tab }), tell("The seed is filled in")),
    tell,
  };
  lightbox ??= new Lightbox();
  view.querySelector(".strip").id = `${tab}_gallery`;
  const stage = new Stage(view.querySelector(".stage"), acts);
  invite(view.querySelector(".invite"), tab);
  const jobs = new JobList(view.querySelector(".queue"), acts);
  const history = new History(view.querySelector(".history"), acts);
  let shown = { job: null, picture: null };

  function render() {
    view.toggleAttribute("data-connected", studio.connected);
    if (!view.querySelector(".stage").offsetParent) return; // another tab is open
    shown = onStage(pinned);
    stage.render(shown);
    jobs.render();
    history.render(shown.picture);
    lightbox.renew();
  }

  atelier.shownSeeds[tab] = () => shown.picture?.seed ?? shown.job?.seed;
  const drawn = coalesced(render);
  studio.addEventListener("change", drawn);
  studio.addEventListener("submitted", () => (pinned = null));
  studio.addEventListener("ended", ({ detail }) => tell(ending(detail)));
  studio.addEventListener("problem", ({ detail }) => complain(view.querySelector(".problem"), detail));
  // When its tab is opened it catches up. The stage, because on a phone the view itself has no box.
  new ResizeObserver(drawn).observe(view.querySelector(".stage"));
  render();
  studio.dispatchEvent(new Event("view"));
}

/** Once a frame is enough; in a hidden window, where there are no frames, a timer does. */
function coalesced(act) {
  let due = false;
  const run = () => {
    if (!due) return;
    due = false;
    act();
  };
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(run);
    setTimeout(run, LONGEST_WAIT);
  };
}

function ending(job) {
  if (job.state === "failed") return `Failed. ${job.message}`;
  return job.state === "finished" ? "The picture is done" : "Interrupted";
}

const hiding = new Map(); // place -> timer

function complain(place, sentence) {
  say(place, sentence);
  place.hidden = false;
  clearTimeout(hiding.get(place));
  hiding.set(
    place,
    setTimeout(() => (place.hidden = true), PROBLEM_STAYS),
  );
}
