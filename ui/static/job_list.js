// The jobs that run, wait, or ended without having made everything.

import { element, icon, iconButton, reconcile, say } from "./elements.js";
import { cancelGrid, openGrids } from "./grid_sheet.js";
import { shareDone } from "./stage.js";
import { studio } from "./studio.js";
import { complain } from "./wishes.js";
import { about, promptOf, summary } from "./words.js";

const ICON = { running: "running", queued: "waiting", failed: "failed", interrupted: "interrupted" };
const STATE = { running: "Running", queued: "Waiting", failed: "Failed", interrupted: "Interrupted" };

export class JobList {
  #root;
  #acts;

  /** @param acts {reuse({job})} */
  constructor(root, acts) {
    this.#root = root;
    this.#acts = acts;
    root.querySelector(".cancel-queued").addEventListener("click", () => studio.order("cancel_queued"));
    root.querySelector(".clear").addEventListener("click", () => {
      for (const job of troubled()) studio.order("forget", { job: job.id });
    });
  }

  render() {
    const queued = studio.jobs.filter((job) => job.state === "queued");
    const jobs = [...(studio.running ? [studio.running] : []), ...queued, ...troubled()];
    reconcile(this.#root.querySelector("ol"), jobs, {
      key: (job) => `${job.id} ${job.state}`,
      make: (job) => this.#row(job),
      renew: (row, job) => this.#renew(row, job, queued),
    });
    this.#root.querySelector(".none").hidden = jobs.length > 0;
    this.#root.querySelector(".cancel-queued").hidden = queued.length === 0;
    this.#root.querySelector(".clear").hidden = troubled().length < 2;
    say(this.#root.querySelector(".count"), queued.length ? `${queued.length} waiting` : "");
  }

  #row(job) {
    const state = element("span", { className: "visually-hidden", textContent: `${STATE[job.state]}. ` });
    return element(
      "li",
      { data: { state: job.state, job: job.id } },
      element("span", { className: "mark", title: STATE[job.state] }, icon(ICON[job.state])),
      element("p", { className: "prompt", title: job.prompt }, state, promptOf(job)),
      element("p", { className: "meta", textContent: summary(job), title: summary(job) }),
      job.state === "queued" ? element("p", { className: "place" }) : null,
      job.message ? element("p", { className: "sentence", textContent: job.message }) : null,
      element("span", { className: "acts" }, ...this.#buttons(job)),
    );
  }

  #buttons(job) {
    if (job.grid && ["running", "queued"].includes(job.state)) {
      return [
        iconButton("cells", "Cells of this grid", () => openGrids(job.grid)),
        iconButton("close", "Cancel this grid", () => cancelGrid(job.grid).catch(complain), "end"),
      ];
    }
    const send = (op, details = {}) => () => studio.order(op, { job: job.id, ...details });
    switch (job.state) {
      case "running":
        return [iconButton("stop", "Interrupt this job", send("cancel"), "end")];
      case "queued":
        return [
          iconButton("up", "Earlier", send("move", { places: -1 }), "earlier"),
          iconButton("down", "Later", send("move", { places: 1 }), "later"),
          iconButton("close", "Cancel this job", send("cancel"), "end"),
        ];
      default:
        return [
          iconButton("retry", "Retry", send("retry"), "again"),
          iconButton("sliders", "Reuse parameters", () => this.#acts.reuse({ job: job.id })),
          iconButton("close", "Remove from the list", send("forget"), "end"),
        ];
    }
  }

  #renew(row, job, queued) {
    if (job.state === "running") row.style.setProperty("--done", shareDone());
    if (job.state !== "queued") return;
    const begins = studio.beginsIn(job);
    const place = `${job.place} in line`;
    // Few words where the time is known: they share one line of a narrow column.
    if (job.place && begins !== null) say(row.querySelector(".place"), `Number ${place}, in ${about(begins)}`);
    else say(row.querySelector(".place"), job.place ? `Waiting, number ${place}` : "Waiting");
    // The place counts everybody's jobs; a job moves among one's own.
    if (job.grid) return; // it stays behind its cells
    row.querySelector(".earlier").disabled = job === queued[0];
    row.querySelector(".later").disabled = job === queued.at(-1);
    for (const name of ["earlier", "later"]) row.querySelector(`.${name}`).hidden = queued.length === 1;
  }
}

/** Jobs that ended badly or early and have not been removed, the newest first. */
function troubled() {
  return studio.jobs.filter((job) => job.state === "failed" || job.state === "interrupted").reverse();
}
