// The tabs: which one is open, and which of those that make pictures with a prompt was open last.

/** In their order. Their names begin the ids of all that stands on them. */
const PAINTERS = ["txt2img", "img2img", "inpaint"];
const ALL = [...PAINTERS, "extras"];
const LAST = ["models", "extensions", "settings"]; // those of extensions stand between these and all others
const ROW = "#tabs > .tab-wrapper"; // an extension may have tabs within its own

let last = PAINTERS[0];

const seen = (tab) => document.getElementById(`${tab}_generate`)?.offsetParent;

/** The tab that is open now, if it makes pictures; else "". */
export const openTab = () => ALL.find(seen) ?? "";

/** The tab whose prompt is meant: the one that is open, or was last. */
export function painter() {
  last = PAINTERS.find(seen) ?? last;
  return last;
}

/** Open a tab, also one that had no room in the row and waits in its menu under its title. */
export function goTo(tab) {
  painter();
  const inRow = document.querySelector(`${ROW} button[role=tab][data-tab-id=${tab}]`);
  const waiting = [...document.querySelectorAll(`${ROW} .overflow-dropdown button`)];
  // One of an extension may have the same title.
  const titled = waiting.filter(({ textContent }) => textContent.trim().toLowerCase() === tab);
  (inRow ?? titled.at(LAST.includes(tab) ? -1 : 0))?.click();
}

// Before Gradio hears of the click the old tab is still there, and two frames later the new one.
document.addEventListener(
  "click",
  ({ target }) => {
    if (!target.closest?.("#tabs > .tab-wrapper")) return;
    painter();
    requestAnimationFrame(() => requestAnimationFrame(() => (painter(), dispatchEvent(new Event("atelier-tab")))));
  },
  true,
);
