// Light, dark, or as the system has it; remembered by the browser.

const KEY = "atelier-appearance";
const CHOICES = ["system", "light", "dark"];
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");

function chosen() {
  try {
    const kept = localStorage.getItem(KEY);
    return CHOICES.includes(kept) ? kept : "system";
  } catch {
    return "system";
  }
}

export function applyAppearance(choice = chosen()) {
  const forced = new URLSearchParams(location.search).get("__theme"); // Gradio's own way to ask for one
  const dark = forced ? forced === "dark" : choice === "dark" || (choice === "system" && systemDark.matches);
  document.documentElement.dataset.appearance = choice;
  document.body.classList.toggle("dark", dark);
}

export function nextAppearance() {
  const next = CHOICES[(CHOICES.indexOf(chosen()) + 1) % CHOICES.length];
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // storage is forbidden: it holds until the page is left
  }
  applyAppearance(next);
}

systemDark.addEventListener("change", () => applyAppearance());
