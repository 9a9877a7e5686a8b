// Who is logged in, and the way out.

import { say } from "./elements.js";

export async function start(root) {
  const form = root.querySelector(".person");
  const answer = await fetch("atelier/me").catch(() => null);
  const person = answer?.ok ? await answer.json() : null;
  form.hidden = person?.how !== "login";
  if (person) say(form.querySelector(".name"), person.name);
}
