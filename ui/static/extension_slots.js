// What extensions have on the page besides their own: buttons at pictures and models, canvas tools, pages of cards.

import { element, icon } from "./elements.js";
import { ask, at } from "./extensions_store.js";
import { toast } from "./models_toast.js";

const NOTHING = { modules: [], gallery: [], cards: [], canvas: [], pages: [] };

/** {modules, gallery, cards, canvas, pages}: asked for once, as the page itself is made once. */
export const slots = ask("/slots").catch(() => NOTHING);

/** The same as far as it is known. */
export let known = NOTHING;
slots.then((found) => (known = found));

/** Let an extension do something with a picture or a model, and say what it answered. */
async function act(slot, path, order) {
  try {
    toast((await ask(at(slot, path), { number: slot.number, ...order })).sentence);
  } catch (error) {
    toast(error.message);
  }
}

/** A place in which a button for each gallery action will stand, as soon as they are known. `of()` is the picture. */
export function pictureActs(of, className) {
  const place = element("span", { className: "of-extensions", hidden: true });
  const button = (slot) =>
    element(
      "button",
      {
        type: "button",
        className,
        title: `${slot.title} (${slot.extension})`,
        onclick: () => of() && act(slot, "gallery", { job: of().job, index: of().index }),
      },
      icon("extension"),
      element("span", { textContent: slot.title }),
    );
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
  const place = new URLSearchParams({ number: slot.number, x: Math.floor(x), y: Math.floor(y) });
  const address = new URL(`atelier/extensions${at(slot, "canvas")}?${place}`, document.baseURI);
  const headers = { "Content-Type": picture.type.startsWith("image/") ? picture.type : "application/octet-stream" };
  const answer = await fetch(address, { method: "POST", headers, body: picture }).catch(() => null);
  if (answer?.ok) return answer.blob();
  const said = await answer?.json().catch(() => null);
  throw new Error(said?.problem || "Atelier cannot be reached now; try again in a moment.");
}
