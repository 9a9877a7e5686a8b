// The live view: draws what the studio knows, and passes wishes on.

import { say } from "./elements.js";
import { atelier } from "./form.js";
import { History } from "./history.js";
import { JobList } from "./job_list.js";
import { Lightbox } from "./lightbox.js";
import { onStage, shareDone, Stage } from "./stage.js";
import { studio } from "./studio.js";

const PROBLEM_STAYS = 9000; // milliseconds
const LONGEST_WAIT = 200;

/** @param wishes {reuse({job, index?}), reuseSeed({job, index})}: told to Python */
export function start(root, wishes) {
  const view = root.querySelector(".live");
  let pinned = null; // the picture that was picked; null follows what happens
  const pick = ({ job, index }) => (index === undefined ? { job } : { job, index });
  const acts = {
    pin: (picture) => ((pinned = picture), render()),
    follow: () => ((pinned = null), render()),
    open: (picture) => lightbox.open(picture),
    reuse: (picture) => (wishes.reuse(pick(picture)), tell("The form is filled in")),
    reuseSeed: (picture) => (wishes.reuseSeed(pick(picture)), tell("The seed is filled in")),
  };
  const stage = new Stage(view.querySelector(".stage"), acts);
  const jobs = new JobList(view.querySelector(".queue"), acts);
  const history = new History(view.querySelector(".history"), acts);
  const lightbox = new Lightbox(acts);
  const tell = (sentence) => say(view.querySelector(".told"), sentence);

  function render() {
    const shown = onStage(pinned);
    stage.render(shown);
    jobs.render();
    history.render(shown.picture);
    lightbox.renew();
    view.toggleAttribute("data-connected", studio.connected);
    for (const name of ["interrupt", "skip"]) {
      const button = document.getElementById(`txt2img_${name}`);
      if (button) button.disabled = !studio.running;
    }
    document.body.toggleAttribute("data-running", studio.running !== null);
    document.body.style.setProperty("--done", shareDone());
    document.title = studio.running ? `${Math.round(shareDone() * 100)} % · Atelier` : "Atelier";
    atelier.shownSeed = () => shown.picture?.seed ?? shown.job?.seed;
  }

  studio.addEventListener("change", coalesced(render));
  studio.addEventListener("submitted", () => (pinned = null));
  studio.addEventListener("ended", ({ detail }) => tell(ending(detail)));
  studio.addEventListener("problem", ({ detail }) => complain(view.querySelector(".problem"), detail));
  render();
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

let hiding = 0;

function complain(place, sentence) {
  say(place, sentence);
  place.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (place.hidden = true), PROBLEM_STAYS);
}
