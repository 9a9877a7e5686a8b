// Goes into the page's events: keeps the form through a reload. A new window begins with the defaults, and with the
// prompt that was typed last.
const tab = FORM_NAME;
const key = tab === "txt2img" ? "atelier-form" : `atelier-form-${tab}`;
const names = FIELD_NAMES;

function kept(storage) {
  try {
    return JSON.parse(storage().getItem(key)) ?? {};
  } catch {
    return {}; // storage is forbidden, or something else wrote there
  }
}

function keep(values) {
  if (!window.atelierRestored?.[tab]) return; // components report their defaults before restore() has run
  const form = Object.fromEntries(names.map((name, i) => [name, values[i]]));
  try {
    sessionStorage.setItem(key, JSON.stringify(form));
    if ("prompt" in form) localStorage.setItem(key, JSON.stringify({ prompt: form.prompt }));
  } catch {
    // storage is forbidden or full: then a reload forgets
  }
}

function restore(values) {
  const form = { ...kept(() => localStorage), ...kept(() => sessionStorage) };
  (window.atelierRestored ??= {})[tab] = true;
  return names.map((name, i) => form[name] ?? values[i]);
}
