// What a person says of a model: notes beside the file, and what Atelier is to take it for.

import { element } from "./elements.js";
import { area, attempt, button, choice, complaint, field, textInput } from "./models_forms.js";
import { ask, models } from "./models_store.js";
import { toast } from "./models_toast.js";

const PREDICTIONS = { epsilon: "noise (epsilon)", v: "velocity (v)", flow: "flow", edm: "EDM" };
const DESCRIBED = ["checkpoint", "lora"]; // kinds that have variants

/** The notes of a model as a form. They are kept in the `.json` beside it, as AUTOMATIC1111 keeps its own. */
export function notesForm(model, notes) {
  const inputs = {
    description: area(notes.description),
    notes: area(notes.notes),
    activation_text: textInput({ value: notes.activation_text }),
    negative_text: textInput({ value: notes.negative_text }),
    preferred_weight: textInput({ type: "number", min: -2, max: 2, step: 0.05, value: notes.preferred_weight || "" }),
  };
  const isLora = model.kind === "lora";
  const problem = complaint();
  const save = button("Save", async () => {
    const weight = inputs.preferred_weight.valueAsNumber;
    const given = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value]));
    const order = { ...notes, ...given, preferred_weight: Number.isFinite(weight) ? weight : 0 };
    const said = await attempt(problem, () => ask(`/${model.id}/notes`, order));
    if (!said) return;
    form.removeAttribute("data-dirty");
    toast("Saved beside the model.");
    await models.load();
  }, { primary: true });
  const fields = [
    field("Description", inputs.description),
    field("Notes", inputs.notes),
    isLora ? field("Activation text", inputs.activation_text, "goes into the prompt with it, and out again") : null,
    isLora ? field("Negative text", inputs.negative_text, "goes into the negative prompt with it") : null,
    isLora ? field("Weight it is put in with", inputs.preferred_weight, "1 where nothing is said") : null,
  ];
  const form = element("div", { className: "stack notes" }, ...fields, problem, element("div", { className: "line" }, save));
  form.addEventListener("input", () => form.setAttribute("data-dirty", ""));
  return form;
}

/** What Atelier takes a file for, and a way to say otherwise. `done()` is called when it was. */
export function typeForm(model, details, done) {
  const { kinds, families, variants, predictions, distilled, titles } = details.choices;
  const words = (names, named = titles) => names.map((name) => [name, named[name] ?? name]);
  const kind = choice(words(kinds), model.kind);
  const family = choice([["", "not said"], ...words(families)], model.family);
  const variant = choice([["", "the plain kind"], ...words(variants)], model.variant);
  const prediction = choice([["", "as the file says"], ...words(predictions, PREDICTIONS)], details.prediction);
  const steps = choice([["", "no"], ...words(distilled.filter(Boolean))], details.distilled);
  const problem = complaint();
  const send = async (order) => {
    const said = await attempt(problem, () => ask(`/${model.id}/type`, order));
    if (!said) return;
    await models.load();
    done();
  };
  const [varies, predicts] = [field("Variant", variant), field("It predicts", prediction)];
  const quick = field("Distilled to few steps", steps);
  const follow = () => {
    varies.hidden = !DESCRIBED.includes(kind.value);
    predicts.hidden = quick.hidden = kind.value !== "checkpoint";
  };
  kind.addEventListener("change", follow);
  follow();
  const say = button("Take it for this", () =>
    send({
      kind: kind.value,
      family: family.value,
      ...(varies.hidden ? {} : { variant: variant.value }),
      ...(predicts.hidden || !prediction.value ? {} : { prediction: prediction.value }),
      ...(quick.hidden ? {} : { distilled: steps.value }),
    }),
  );
  const back = button("Let the file speak", () => send({}));
  back.hidden = !model.chosen;
  return element(
    "details",
    { className: "type", open: model.suggested.length > 0 },
    element("summary", {}, `Atelier takes this for ${article(model.title)}; say otherwise`),
    element(
      "div",
      { className: "stack" },
      model.suggested.length > 0
        ? element("p", { className: "note", textContent: `Guessed from the name of the file: ${model.suggested.join(", ")}. Confirm it here.` })
        : null,
      element("div", { className: "fields" }, field("Kind", kind), field("Family", family), varies, predicts, quick),
      problem,
      element("div", { className: "line" }, say, back),
    ),
  );
}

function article(title) {
  if (!title) return "something unknown";
  return /^(unknown|not )/i.test(title) ? title : `“${title}”`;
}
