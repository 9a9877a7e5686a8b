// Begins with the page: what belongs to the document as a whole.
import { applyAppearance } from "./appearance.js";
import { studio } from "./studio.js";
import "./form.js";
import "./keys.js";
import "./prompt_drop.js";
import "./running.js";
import "./settings_search.js";

applyAppearance();
studio.open();
