// Pieces of the page that show a value from Python. They put it in as text: in a template of Gradio's, a name such as
// "${...}" in somebody's file would be run.

import { element, say } from "./elements.js";
import { models } from "./models_store.js";

/** Keep what `show(root, value)` draws up to date. */
const shown = (show) => (root, props, watch) => {
  const draw = () => show(root, props.value);
  watch("value", draw);
  draw();
};

/** One sentence, or nothing. */
export const notice = shown((root, sentence) => {
  const place = root.querySelector("p");
  place.hidden = !sentence;
  say(place, sentence ?? "");
});

/** Files that cannot be used: [{name, problem}]. `tell()` says that there are other checkpoints to choose from. */
export const unusable = (root, props, watch, tell) => {
  showUnusable(root, props, watch);
  models.addEventListener("checkpoints", tell);
};

const showUnusable = shown((root, files) => {
  const details = root.querySelector("details");
  details.hidden = !files?.length;
  say(root.querySelector("summary"), `${files?.length} not usable`);
  const rows = (files ?? []).map(({ name, problem }) =>
    element("li", {}, element("strong", { textContent: name }), problem),
  );
  root.querySelector("ul").replaceChildren(...rows);
});

/** What was wrong with the settings file: sentences. */
export const problems = shown((root, sentences) => {
  root.querySelector(".problems").hidden = !sentences?.length;
  const rows = (sentences ?? []).map((sentence) => element("li", { textContent: sentence }));
  root.querySelector("ul").replaceChildren(...rows);
});

/** Folders and files: [{what, where}]. */
export const places = shown((root, rows) => {
  const drawn = rows.map(({ what, where }) =>
    element(
      "div",
      {},
      element("dt", { textContent: what }),
      element("dd", {}, element("code", { textContent: where })),
    ),
  );
  root.querySelector("dl").replaceChildren(...drawn);
});
