// What a prompt with wildcards and choices may become: five of its texts, as the next seeds would have them.

import { element, say } from "./elements.js";
import { askAt } from "./json_door.js";

// As backend/prompt/choices.py has them: __name__, and braces with a | or a $$.
const CHOICES = /__[^\s_][^\n]*?__|\{[^{}]*(\||\$\$)|\{[^{}]*\{/;

/** Called by Gradio's component. */
export function start(root, { tab }) {
  const place = root.querySelector(".choices");
  const samples = place.querySelector(".samples");
  const problem = place.querySelector(".problem");
  const preview = place.querySelector(".preview");
  const prompt = (name) => document.querySelector(`#${tab}_${name} textarea`)?.value ?? "";

  function renew() {
    const open = CHOICES.test(prompt("prompt")) || CHOICES.test(prompt("neg_prompt"));
    place.hidden = !open;
    if (!open) hide();
  }

  function hide() {
    samples.hidden = problem.hidden = true;
    say(preview, "Preview");
  }

  async function look() {
    const values = window.atelierValues?.[tab] ?? {};
    const styles = Array.isArray(values.styles) ? values.styles : [];
    const order = { prompt: prompt("prompt"), negative_prompt: prompt("neg_prompt"), styles, seed: String(values.seed ?? "") };
    try {
      const { samples: found } = await askAt("atelier/choices", order);
      samples.replaceChildren(...found.map(row));
      samples.hidden = !found.length;
      problem.hidden = found.length > 0;
      say(problem, "These signs are words: nothing is drawn.");
      say(preview, "Preview others");
    } catch ({ message }) {
      samples.hidden = true;
      problem.hidden = false;
      say(problem, message);
    }
  }

  preview.addEventListener("click", look);
  document.addEventListener("input", ({ target }) => {
    if (!target.closest?.(`#${tab}_prompt, #${tab}_neg_prompt`)) return;
    hide();
    renew();
  });
  addEventListener("atelier-values", ({ detail }) => detail === tab && renew());
  renew();
}

function row({ seed, prompt, negative }) {
  const without = negative ? element("span", { className: "negative", textContent: `without ${negative}` }) : null;
  return element("li", { title: `Seed ${seed}` }, element("span", { textContent: prompt || "No words" }), without);
}
