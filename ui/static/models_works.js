// What takes its time: conversions and merges, each as a row that says how far it is.

import { element, icon, iconButton, reconcile, say } from "./elements.js";
import { bar } from "./models_forms.js";
import { ask, models } from "./models_store.js";
import { toast } from "./models_toast.js";

const STATES = {
  queued: "Waiting",
  running: "",
  finished: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
};

const going = ({ state }) => state === "queued" || state === "running";

/** Show works that `wanted(work)` in a list. */
export function showWorks(list, wanted) {
  const render = () => {
    const works = models.works.filter(wanted);
    reconcile(list, works, { key: ({ id }) => id, make, renew });
    list.hidden = works.length === 0;
  };
  models.addEventListener("works", render);
  render();
}

/** Whether a model is being converted now. */
export function isConverting(model) {
  return models.works.some((work) => work.kind === "convert" && going(work) && work.title.includes(model.file));
}

/** Order something of a work or a download; why it could not be is told. */
export async function orderOf(path) {
  try {
    await ask(path, {});
    await models.loadWorks();
  } catch (error) {
    toast(error.message);
  }
}

function make({ id, title }) {
  const order = (what) => () => orderOf(`/works/${id}/${what}`);
  return element(
    "li",
    { className: "work" },
    element("span", { className: "sign" }),
    element("p", { className: "title", textContent: title }),
    element("p", { className: "doing" }),
    bar(title),
    element("p", { className: "sentence" }),
    iconButton("close", "Cancel", order("cancel"), "cancel"),
    iconButton("close", "Remove from the list", order("forget"), "forget"),
  );
}

function renew(row, work) {
  if (row.dataset.state !== work.state) {
    row.dataset.state = work.state;
    row.querySelector(".sign").replaceChildren(icon({ failed: "failed", finished: "check" }[work.state] ?? "waiting"));
  }
  say(row.querySelector(".title"), work.title);
  const percent = work.share > 0 ? `${Math.floor(work.share * 100)} %` : "";
  const words = going(work) ? [STATES[work.state] || work.doing, percent] : [STATES[work.state]];
  say(row.querySelector(".doing"), words.filter(Boolean).join(" · "));
  const line = row.querySelector(".bar-of-work");
  line.hidden = !going(work);
  line.show(work.state === "running" && work.share > 0 ? work.share : null);
  say(row.querySelector(".sentence"), work.problem || work.note || "");
  row.querySelector(".cancel").hidden = !going(work);
  row.querySelector(".forget").hidden = going(work);
}
