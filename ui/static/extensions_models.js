// The models that an extension works with: which are there, and fetching one that is not.

import { element, say } from "./elements.js";
import { ask, at, extensions } from "./extensions_store.js";
import { attempt, button, complaint } from "./models_forms.js";
import { models } from "./models_store.js";

const GOING = ["queued", "running", "checking"];

/** A model as a row of a list. It keeps itself up to date while it is shown; of a `plan`, nothing can be fetched yet. */
export function modelRow({ id, plan }, model) {
  const problem = complaint();
  const act = async () => {
    await attempt(problem, () => ask(at({ id }, "models"), { name: model.name }));
    await models.loadWorks();
  };
  const get = button("Get it", act, { sign: "download", className: "get" });
  get.setAttribute("aria-label", `Get it: ${model.name}`);
  const page = model.page
    ? element("a", { href: model.page, target: "_blank", rel: "noopener noreferrer", textContent: model.page })
    : element("span", { textContent: model.source });
  const state = element("span", { className: "whether", attributes: { role: "status" } });
  const row = element("li", { className: "needed" }, element("strong", { textContent: model.name }), state, page, get, problem);
  const renew = () => {
    const now = extensions.find(id)?.models.find(({ name }) => name === model.name) ?? model;
    const download = models.downloads.find(({ name, state }) => name === model.file && state !== "finished");
    say(state, now.there ? "It is there." : download ? underWay(download) : missing(now, plan));
    get.hidden = plan !== undefined || now.there || Boolean(download) || !now.fetched || !extensions.may.fetch;
    page.hidden = now.there;
  };
  follow(row, renew);
  return row;
}

/** Call `renew` now and after each change, until the row is taken off the page. */
function follow(row, renew) {
  let shown = false;
  const over = new AbortController();
  const hear = () => {
    if (shown && !row.isConnected) return over.abort();
    shown = row.isConnected;
    renew();
  };
  models.addEventListener("works", hear, { signal: over.signal });
  extensions.addEventListener("change", hear, { signal: over.signal });
  hear();
}

function underWay({ state, received, size, problem }) {
  if (!GOING.includes(state)) return `${problem || "It is paused."} Go on with it in Models, Add models.`;
  const share = size ? `, ${Math.floor((100 * received) / size)} %` : "";
  return `It is being fetched${share}: see Models, Add models.`;
}

function missing({ fetched }, plan) {
  if (!fetched) return "It is not among your models: this is where it comes from.";
  return plan === undefined ? "It is not among your models." : "It is not among your models, and can be fetched afterwards.";
}
