// Goes into the page's events: keeps the form. A reload finds all of it as it was; a new window, also after the browser
// or Atelier was started anew, begins with what was last changed in any, and else with the defaults of that day.
const tab = FORM_NAME;
const key = tab === "txt2img" ? "atelier-form" : `atelier-form-${tab}`;
const names = FIELD_NAMES;
const usual = USUAL; // what the fields of the accordions usually hold, for folded.js

function kept(storage) {
  try {
    return JSON.parse(storage().getItem(key)) ?? {};
  } catch {
    return {}; // storage is forbidden, or something else wrote there
  }
}

function keep(values) {
  const plain = window.atelierPlain?.[tab];
  if (!plain) return; // components report their defaults before restore() has run
  const form = Object.fromEntries(names.map((name, i) => [name, values[i]]));
  // Fields that only other windows have, or that had an extension which is off now, keep what they held.
  const others = (storage) => Object.fromEntries(Object.entries(kept(storage)).filter(([name]) => !names.includes(name)));
  const changed = Object.entries(form).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(plain[name]));
  (window.atelierValues ??= {})[tab] = form;
  dispatchEvent(new CustomEvent("atelier-values", { detail: tab }));
  try {
    sessionStorage.setItem(key, JSON.stringify({ ...others(() => sessionStorage), ...form }));
    localStorage.setItem(key, JSON.stringify({ ...others(() => localStorage), ...Object.fromEntries(changed) }));
  } catch {
    // storage is forbidden or full: then a reload forgets
  }
}

function restore(values) {
  const form = { ...kept(() => localStorage), ...kept(() => sessionStorage) };
  (window.atelierPlain ??= {})[tab] = Object.fromEntries(names.map((name, i) => [name, values[i]]));
  (window.atelierUsual ??= {})[tab] = usual;
  const found = names.map((name, i) => form[name] ?? values[i]);
  (window.atelierValues ??= {})[tab] = Object.fromEntries(names.map((name, i) => [name, found[i]]));
  return found;
}
