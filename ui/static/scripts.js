// The scripts of a form: which fields are seen, what it will cost, and the doors to the grids.

import { canvasOf } from "./canvas/canvas.js";
import { element, say } from "./elements.js";
import { cancelGrid, openGrids } from "./grid_sheet.js";
import { button } from "./models_forms.js";
import { studio } from "./studio.js";
import { complain } from "./wishes.js";

const NONE = "None";
const PAUSE = 350; // milliseconds after the last change

/**
 * Called by Gradio's component.
 * @param scripts those of the list: {title, id, grid, needs: [{id, axis}], fills: [{id, axis}]}, where `id` is that of
 *   an element and `axis` the name of the value that chooses an axis
 * @param listed the axes that have choices  @param nothing the one that is none
 * @param estimate asks Python for the cost
 */
export function start(root, { tab, scripts, listed, nothing, props, watch, estimate }) {
  const place = root.querySelector(".script-cost");
  const sentence = place.querySelector(".sentence");
  const cancel = button("Cancel the grid", () => cancelGrid(going().grid).catch(complain), { className: "cancel-grid" });
  place.querySelector(".line").append(button("Grids", () => openGrids(), { className: "show-grids" }), cancel);
  let timer = 0;
  let asked = 0;
  let answered = 0; // two may be under way: an older answer comes too late

  function show() {
    const values = window.atelierValues?.[tab] ?? {};
    const script = values.script ?? NONE;
    const chosen = scripts.find(({ title }) => title === script);
    const part = document.getElementById(`${tab}_script`);
    if (part) part.dataset.script = script;
    for (const each of scripts) document.getElementById(each.id)?.toggleAttribute("data-shown", each === chosen);
    place.hidden = script === NONE;
    place.querySelector(".line").hidden = !chosen?.grid;
    for (const { id, axis } of scripts.flatMap(({ needs }) => needs)) {
      document.getElementById(id)?.toggleAttribute("data-idle", values[axis] === nothing);
    }
    for (const { id, axis } of scripts.flatMap(({ fills }) => fills)) {
      const row = document.getElementById(id)?.closest(".axis");
      row?.toggleAttribute("data-listed", listed.includes(values[axis]));
      row?.toggleAttribute("data-nothing", values[axis] === nothing);
    }
    clearTimeout(timer);
    if (script !== NONE) timer = setTimeout(ask, PAUSE);
  }

  async function ask() {
    const canvas = document.getElementById(`${tab}_canvas`) && (await canvasOf(tab));
    const size = canvas?.state.pictureSize ?? null;
    estimate({ number: ++asked, size: size?.every((side) => side > 0) ? size : null });
  }

  watch("value", () => {
    const { sentence: words = "", problem = "", number = 0 } = props.value ?? {};
    if (number < answered) return;
    answered = number;
    say(sentence, problem || words);
    place.toggleAttribute("data-problem", Boolean(problem));
  });
  addEventListener("atelier-values", ({ detail }) => detail === tab && show());
  const renew = () => (cancel.hidden = !going());
  studio.addEventListener("change", renew);
  renew();
  show();
}

/** The job that will draw the newest grid that is being made. */
const going = () => studio.jobs.findLast(({ grid, state }) => grid && ["queued", "running"].includes(state));

/** Put a text into a field as if it had been typed. */
function type(area, text) {
  area.value = text;
  area.dispatchEvent(new Event("input", { bubbles: true }));
}

async function read(part, file) {
  const area = part?.querySelector("textarea");
  if (area && file) type(area, await file.text());
}

document.addEventListener("click", ({ target }) => {
  const chosen = target.closest?.("button.lines-file");
  if (!chosen) return;
  const input = element("input", { type: "file", accept: ".txt,.csv,text/*" });
  input.addEventListener("change", () => read(chosen.closest(".with-file"), input.files[0]));
  input.click();
});

const linesOf = ({ target }) => target.closest?.(".with-file textarea")?.closest(".with-file");
const files = ({ dataTransfer }) => [...(dataTransfer?.items ?? [])].some(({ kind }) => kind === "file");
document.addEventListener("dragover", (event) => linesOf(event) && files(event) && event.preventDefault());
document.addEventListener("drop", (event) => {
  const part = linesOf(event);
  const file = event.dataTransfer?.files[0];
  if (!part || !file) return;
  event.preventDefault();
  read(part, file);
});
