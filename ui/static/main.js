// Begins with the page: what belongs to the document as a whole.
import { applyAppearance } from "./appearance.js";
import { studio } from "./studio.js";
import "./extension_host.js";
import "./folded.js";
import "./form.js";
import "./keys.js";
import "./presets.js";
import "./recipes.js";
import "./running.js";
import "./scripts.js";
import "./settings_search.js";
import "./styles_editor.js";

applyAppearance();
studio.open();
