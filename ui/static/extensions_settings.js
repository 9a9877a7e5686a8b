// A form made from the schema of an extension's settings.

import { element } from "./elements.js";
import { area, attempt, button, choice, complaint, field, textInput } from "./models_forms.js";

/**
 * A form; `renew(values)` lets it show other ones, but for what was changed in it and not saved.
 * @param save(values) keeps those that were changed, and gives the values as they are then
 */
export function settingsForm({ schema, values }, save) {
  const problem = complaint();
  const done = element("span", { className: "hint", attributes: { role: "status" } });
  const inputs = Object.entries(schema.properties ?? {}).map(([name, row]) => input(name, resolved(row, schema.$defs), values[name]));
  const form = element("form", { className: "stack settings-of", onsubmit: (event) => event.preventDefault() }, ...inputs.map(({ place }) => place));
  const words = (value) => JSON.stringify(value ?? null);
  const changed = () => inputs.filter(({ name, read }) => words(read()) !== words(values[name]));
  const mark = () => form.toggleAttribute("data-dirty", changed().length > 0);
  /** Take over what is kept now; `sent` are those that were just saved. */
  const take = (now, sent = {}) => {
    const typed = changed().filter(({ name, read }) => !(name in sent) || words(read()) !== words(sent[name]));
    values = now;
    for (const each of inputs) if (!typed.includes(each) && words(each.read()) !== words(now[each.name])) each.write(now[each.name]);
    return mark();
  };
  const keep = button("Save", async () => {
    const sent = Object.fromEntries(changed().map(({ name, read }) => [name, read()]));
    const now = await attempt(problem, () => save(sent));
    if (now && !take(now, sent)) done.textContent = "Saved.";
  });
  form.renew = (now) => take(now);
  form.addEventListener("input", () => (mark(), (done.textContent = "")));
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
    return { name, place, read: () => box.checked, write: (now) => (box.checked = Boolean(now)) };
  }
  const options = row.enum ?? (row.const === undefined ? null : [row.const]);
  if (options) {
    const select = choice(options.map((each) => [String(each), String(each)]), String(value));
    const write = (now) => (select.value = String(now));
    return { name, place: field(title, select, note), read: () => options[select.selectedIndex], write };
  }
  if (row.type === "integer" || row.type === "number") {
    const step = row.step ?? row.multipleOf ?? (row.type === "integer" ? 1 : "any");
    const box = textInput({ type: "number", value: value ?? "", min: row.minimum ?? "", max: row.maximum ?? "", step });
    const read = () => (box.value === "" ? null : Number(box.value));
    return { name, place: field(title, box, note), read, write: (now) => (box.value = now ?? "") };
  }
  if (row.type === "string") {
    const box = row.lines > 1 ? area(value ?? "") : textInput({ value: value ?? "" });
    if (row.lines > 1) box.rows = row.lines;
    const read = () => (row.optional && box.value === "" ? null : box.value);
    return { name, place: field(title, box, note), read, write: (now) => (box.value = now ?? "") };
  }
  const box = area(JSON.stringify(value));
  const read = () => {
    try {
      return JSON.parse(box.value);
    } catch {
      return box.value; // Atelier says what is wrong with it
    }
  };
  return { name, place: field(title, box, note || "As JSON."), read, write: (now) => (box.value = JSON.stringify(now)) };
}

function limits({ minimum, maximum }) {
  if (minimum !== undefined && maximum !== undefined) return `${minimum} to ${maximum}`;
  if (minimum !== undefined) return `At least ${minimum}`;
  return maximum === undefined ? "" : `At most ${maximum}`;
}
