// What extensions have on the page besides their own: buttons at pictures and models, canvas tools, pages of cards.

import { element, icon } from "./elements.js";
import { ask, at } from "./extensions_store.js";
import { answered } from "./json_door.js";
import { toast } from "./models_toast.js";
import { studio } from "./studio.js";

const SHORTEST_WAIT = 2000; // milliseconds
const LONGEST_WAIT = 60000;
const NOTHING = { modules: [], gallery: [], cards: [], canvas: [], pages: [] };

/** {modules, gallery, cards, canvas, pages}: asked for until they are known, and then no more: the page is made once. */
export const slots = found();

/** The same as far as it is known. */
export let known = NOTHING;
slots.then((all) => (known = all));

async function found() {
  for (let wait = SHORTEST_WAIT; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
    try {
      return await ask("/slots");
    } catch (error) {
      if (wait === SHORTEST_WAIT) toast(`What extensions have on this page is not here yet; it is asked for again. ${error.message}`);
      await heardAgain(wait);
    }
  }
}

/** Resolves when Atelier is heard again, or after so many milliseconds. */
function heardAgain(wait) {
  return new Promise((resolve) => {
    studio.addEventListener("open", resolve, { once: true });
    setTimeout(resolve, wait);
  });
}

const going = new Set(); // what extensions are doing now, as they were asked to

/** Let an extension do something with a picture or a model, and say what it answered; once at a time. */
async function act(slot, path, order) {
  const wish = { number: slot.number, title: slot.title, ...order };
  const key = JSON.stringify([slot.id, path, wish]);
  if (going.has(key)) return;
  going.add(key);
  try {
    toast((await ask(at(slot, path), wish)).sentence);
  } catch (error) {
    toast(error.message);
  } finally {
    going.delete(key);
  }
}

/** A place in which a button for each gallery action will stand, as soon as they are known. `of()` is the picture. */
export function pictureActs(of, className) {
  const place = element("span", { className: "of-extensions", hidden: true });
  const button = (slot) => {
    let busy = 0; // with how many pictures: several may be asked for, each of them once
    const made = element(
      "button",
      { type: "button", className, title: `${slot.title} (${slot.extension})` },
      icon("extension"),
      element("span", { textContent: slot.title }),
    );
    made.addEventListener("click", async () => {
      const picture = of();
      if (!picture) return;
      busy += 1;
      made.ariaBusy = "true";
      await act(slot, "gallery", { job: picture.job, index: picture.index });
      busy -= 1;
      made.ariaBusy = String(busy > 0);
    });
    return made;
  };
  slots.then(({ gallery }) => {
    place.append(...gallery.map(button));
    place.hidden = gallery.length === 0;
  });
  return place;
}

/** The actions for a model: [{title, run}]. */
export function modelActs(model) {
  return known.cards
    .filter(({ kinds }) => !kinds.length || kinds.includes(model.kind))
    .map((slot) => ({ title: slot.title, run: () => act(slot, "card", { model: model.id }) }));
}

/** The mask that a canvas tool selects, as a Blob. Rejects with a sentence. */
export async function selected(slot, picture, { x, y }) {
  const place = new URLSearchParams({ number: slot.number, title: slot.title, x: Math.floor(x), y: Math.floor(y) });
  const headers = { "Content-Type": picture.type.startsWith("image/") ? picture.type : "application/octet-stream" };
  const address = `atelier/extensions${at(slot, "canvas")}?${place}`;
  return (await answered(address, { method: "POST", headers, body: picture })).blob();
}
