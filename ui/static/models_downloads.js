// What is being fetched, as rows that say how far each is.

import { element, iconButton, reconcile, say } from "./elements.js";
import { bar } from "./models_forms.js";
import { models } from "./models_store.js";
import { orderOf } from "./models_works.js";
import { bytes, duration } from "./words.js";

const GOING = ["queued", "running", "checking"];
const STATES = {
  queued: "Waiting",
  running: "",
  checking: "Checking what came",
  paused: "Paused",
  failed: "Stopped",
  finished: "Done",
  cancelled: "Cancelled",
};

/** How many downloads are under way. */
export function underWay() {
  return models.downloads.filter(({ state }) => GOING.includes(state)).length;
}

/** Show all downloads in a list; `drawn(number)` is called with how many there are. */
export function showDownloads(list, drawn) {
  const render = () => {
    reconcile(list, models.downloads, { key: ({ id }) => id, make, renew });
    drawn(models.downloads.length);
  };
  models.addEventListener("works", render);
  render();
}

function make({ id, name }) {
  const order = (what) => () => orderOf(`/downloads/${id}/${what}`);
  return element(
    "li",
    { className: "work download" },
    element("p", { className: "title" }),
    element("p", { className: "doing" }),
    bar(name),
    element("p", { className: "sentence" }),
    iconButton("interrupted", "Pause", order("pause"), "pause"),
    iconButton("running", "Resume", order("resume"), "resume"),
    iconButton("close", "Cancel, and remove what came so far", order("cancel"), "cancel"),
    iconButton("close", "Remove from the list", order("forget"), "forget"),
  );
}

function renew(row, item) {
  const going = GOING.includes(item.state);
  const done = item.state === "finished" || item.state === "cancelled";
  row.dataset.state = item.state;
  say(row.querySelector(".title"), item.name);
  const amount = item.size ? `${bytes(item.received)} of ${bytes(item.size)}` : bytes(item.received);
  const pace = item.state === "running" && item.rate > 0 ? `${bytes(item.rate)}/s` : "";
  const left = item.state === "running" && item.remaining !== null ? duration(item.remaining) : "";
  const words = [STATES[item.state], done ? bytes(item.size ?? item.received) : amount, pace, left && `${left} left`];
  say(row.querySelector(".doing"), words.filter(Boolean).join(" · "));
  const line = row.querySelector(".bar-of-work");
  line.hidden = done;
  line.show(item.size ? item.received / item.size : going ? null : 0);
  say(row.querySelector(".sentence"), item.problem || item.note || "");
  row.querySelector(".pause").hidden = item.state !== "running" && item.state !== "queued";
  row.querySelector(".resume").hidden = item.state !== "paused" && item.state !== "failed";
  row.querySelector(".cancel").hidden = done;
  row.querySelector(".forget").hidden = !done;
}
