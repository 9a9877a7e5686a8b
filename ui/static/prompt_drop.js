// A picture dropped on a prompt fills the form with what its file says of itself.

import { putIn } from "./canvas/delivery.js";
import { fetched, ownPictureIn } from "./canvas/picture.js";
import { complain, wish } from "./wishes.js";

const promptOf = (event) => event.target.closest?.(".tab-words textarea");

/** The picture that is dragged; which one, is known only when it is dropped. */
const carried = ({ dataTransfer }) => [...(dataTransfer?.items ?? [])].some(({ kind, type }) => kind === "file" || type === "text/uri-list");

async function restore(source) {
  const blob = typeof source === "string" ? await fetched(source) : source;
  const { name } = await putIn(blob);
  wish("recipe", { name });
}

document.addEventListener("dragover", (event) => promptOf(event) && carried(event) && event.preventDefault());
document.addEventListener(
  "drop",
  (event) => {
    if (!promptOf(event)) return;
    const picture = ownPictureIn(event.dataTransfer);
    if (!picture) return; // words, or a link to somewhere
    event.preventDefault();
    event.stopPropagation();
    restore(picture).catch(complain);
  },
  true,
);
