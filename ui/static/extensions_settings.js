// A form made from the schema of an extension's settings.

import { element } from "./elements.js";
import { area, attempt, button, choice, complaint, field, textInput } from "./models_forms.js";

/** @param save(values) keeps those that were changed, and gives the values as they are then */
export function settingsForm({ schema, values }, save) {
  const problem = complaint();
  const done = element("span", { className: "hint", attributes: { role: "status" } });
  const inputs = Object.entries(schema.properties ?? {}).map(([name, row]) => input(name, resolved(row, schema.$defs), values[name]));
  const form = element("form", { className: "stack settings-of", onsubmit: (event) => event.preventDefault() }, ...inputs.map(({ place }) => place));
  const keep = button("Save", async () => {
    const changed = inputs.filter(({ name, read }) => JSON.stringify(read()) !== JSON.stringify(values[name]));
    const now = await attempt(problem, () => save(Object.fromEntries(changed.map(({ name, read }) => [name, read()]))));
    if (!now) return;
    values = now;
    delete form.dataset.dirty;
    done.textContent = "Saved.";
  });
  form.addEventListener("input", () => ((form.dataset.dirty = ""), (done.textContent = "")));
  form.append(problem, element("div", { className: "line" }, keep, done));
  return form;
}

/** A row of a schema with what it refers to, and of one that may be null as well the other. */
function resolved(row, named = {}) {
  const found = (row.anyOf ?? []).find(({ type }) => type !== "null") ?? {};
  const reference = row.$ref ?? found.$ref ?? row.allOf?.[0]?.$ref;
  const target = reference ? named[reference.split("/").at(-1)] : {};
  return { ...target, ...found, ...row, title: row.title ?? target.title, optional: Boolean(row.anyOf) };
}

function input(name, row, value) {
  const title = row.title ?? name;
  const note = row.description ?? limits(row);
  if (row.type === "boolean") {
    const box = element("input", { type: "checkbox", checked: Boolean(value) });
    const line = element("label", { className: "tick" }, box, element("span", { textContent: title }));
    const place = element("div", { className: "field" }, line, note ? element("span", { className: "hint", textContent: note }) : null);
    return { name, place, read: () => box.checked };
  }
  const options = row.enum ?? (row.const === undefined ? null : [row.const]);
  if (options) {
    const select = choice(options.map((each) => [String(each), String(each)]), String(value));
    return { name, place: field(title, select, note), read: () => options[select.selectedIndex] };
  }
  if (row.type === "integer" || row.type === "number") {
    const step = row.step ?? row.multipleOf ?? (row.type === "integer" ? 1 : "any");
    const box = textInput({ type: "number", value: value ?? "", min: row.minimum ?? "", max: row.maximum ?? "", step });
    return { name, place: field(title, box, note), read: () => (box.value === "" ? null : Number(box.value)) };
  }
  if (row.type === "string") {
    const box = row.lines > 1 ? area(value ?? "") : textInput({ value: value ?? "" });
    if (row.lines > 1) box.rows = row.lines;
    return { name, place: field(title, box, note), read: () => (row.optional && box.value === "" ? null : box.value) };
  }
  const box = area(JSON.stringify(value));
  const read = () => {
    try {
      return JSON.parse(box.value);
    } catch {
      return box.value; // Atelier says what is wrong with it
    }
  };
  return { name, place: field(title, box, note || "As JSON."), read };
}

function limits({ minimum, maximum }) {
  if (minimum !== undefined && maximum !== undefined) return `${minimum} to ${maximum}`;
  if (minimum !== undefined) return `At least ${minimum}`;
  return maximum === undefined ? "" : `At most ${maximum}`;
}
