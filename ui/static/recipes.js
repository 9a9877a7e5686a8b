// Recipes come in: by a file dropped or pasted on a prompt, by parameters pasted there, or by the button beside it.

import { fetched, ownAddressIn } from "./canvas/picture.js";
import { showProposal } from "./recipe_dialog.js";
import { askAt } from "./json_door.js";
import { studio } from "./studio.js";
import { painter } from "./tabs.js";
import { complain, heard, wish } from "./wishes.js";

const READABLE = /\.(png|jpe?g|webp|avif|gif|tiff?|txt|json)$/i;
// As infotexts are known: three pairs in a line that begins with Steps, or a graph.
const PARAMETERS = /(^|\n)\s*Steps: *\d+ *, *[^\n]*: [^\n]*, *[^\n]*:/;
const GRAPH = /^\s*(prompt:)?\s*\{[\s\S]*"(class_type|extraMetadata|positive_prompt|base_model)"/i;

let meant = null; // what the next proposal is about: {recipe, asText}

/** What a file says of how it was made: {recipe, about}; a Blob, or an address of this site. Rejects if it does not. */
export async function readRecipe(source) {
  const blob = typeof source === "string" ? await fetched(source) : source;
  const found = await askAt("atelier/recipe", blob);
  if (!found.recipe) throw new Error(found.problem);
  return found;
}

/** Show what the recipe of a file or a text would change. */
export async function propose(source, { typed = false, asText = null } = {}) {
  const tab = painter();
  const { recipe } = await readRecipe(source);
  meant = { recipe, asText };
  wish("propose", { recipe, tab, typed });
}

heard("proposal", (proposal) => {
  if (!meant) return;
  const { recipe, asText } = meant;
  showProposal(proposal, { apply: (way) => wish("apply", { recipe, tab: proposal.tab, way }), asText });
});

const promptOf = ({ target }) => target.closest?.(".tab-words textarea");
const isFile = ({ kind }) => kind === "file";

/** What is dragged may carry a recipe; what it is exactly, is known only when it is dropped. */
const carried = ({ dataTransfer }) => [...(dataTransfer?.items ?? [])].some((item) => isFile(item) || item.type === "text/uri-list");

/** A file in what was dropped or pasted, or the address of a picture of this page. */
function fileIn(transfer) {
  const files = [...(transfer?.files ?? [])];
  return ownAddressIn(transfer) ?? files.find(({ name, type }) => type.startsWith("image/") || READABLE.test(name)) ?? files[0] ?? null;
}

document.addEventListener("dragover", (event) => promptOf(event) && carried(event) && event.preventDefault());
document.addEventListener(
  "drop",
  (event) => {
    const file = promptOf(event) && fileIn(event.dataTransfer);
    if (!file) return; // words, or a link to somewhere
    event.preventDefault();
    event.stopPropagation();
    propose(file).catch(complain);
  },
  true,
);

document.addEventListener(
  "paste",
  (event) => {
    const area = promptOf(event);
    if (!area) return;
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (text ? !PARAMETERS.test(text) && !GRAPH.test(text) : !fileIn(event.clipboardData)) return;
    event.preventDefault();
    event.stopPropagation();
    if (text) propose(new Blob([text]), { asText: () => insert(area, text) }).catch(complain);
    else propose(fileIn(event.clipboardData)).catch(complain);
  },
  true,
);

/** As if it had been typed: the browser's own undo takes it back. */
function insert(area, text) {
  area.focus();
  if (!document.execCommand("insertText", false, text)) {
    area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

/** What the prompt says, or, where that is empty, the newest picture. */
function read(tab) {
  const text = document.querySelector(`#${tab}_prompt textarea`)?.value ?? "";
  if (text.trim()) return propose(new Blob([text]), { typed: true });
  const { newest } = studio;
  if (newest) return propose(newest.url);
  throw new Error("Paste the parameters of a picture into the prompt first, or drop its file there.");
}

document.addEventListener("click", async ({ target }) => {
  const tab = target.closest?.(".tab-tools button.paste")?.id.replace(/_paste$/, "");
  if (!tab) return;
  try {
    await read(tab);
  } catch (error) {
    complain(error);
  }
});
