// Accordions that are closed say how many of the values within are not as usual: nothing acts unseen.

const FOLDED = ["advanced", "sampling_options", "guidance"];
function mark(tab) {
  const values = window.atelierValues?.[tab];
  const fields = window.atelierUsual?.[tab]; // remember.js
  if (!values || !fields) return;
  for (const name of FOLDED) {
    const place = document.getElementById(`${tab}_${name}`);
    const count = Object.entries(fields[name]).filter(([field, value]) => (values[field] ?? null) !== value).length;
    place?.toggleAttribute("data-changed", count > 0);
    place?.style.setProperty("--changed", `"${count} changed"`);
  }
}

Object.keys(window.atelierUsual ?? {}).forEach(mark);
addEventListener("atelier-values", ({ detail }) => mark(detail));
