// Everything about one extension, in a drawer beside the cards.

import { element, icon, iconButton, reconcile, say } from "./elements.js";
import { hueOf, initials } from "./extensions_card.js";
import { showPlan } from "./extensions_install.js";
import { choosePin } from "./extensions_pin.js";
import { settingsForm } from "./extensions_settings.js";
import { ask, at, extensions } from "./extensions_store.js";
import { renewSwitch, saidOf, switchOf } from "./extensions_switch.js";
import { attempt, bar, button, complaint } from "./models_forms.js";
import { toast } from "./models_toast.js";

export class Details {
  #root;
  #extension = null;
  #problem = complaint();
  #back = null; // where the focus was

  constructor(root) {
    this.#root = root;
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || !root.checkVisibility() || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      this.close();
    });
    extensions.addEventListener("change", () => this.#follow());
    extensions.addEventListener("works", () => this.#works());
  }

  get open() {
    return this.#extension?.id ?? "";
  }

  show(extension) {
    this.#back = document.activeElement;
    this.#extension = extension;
    this.#problem = complaint();
    this.#root.hidden = false;
    this.#root.closest(".models").toggleAttribute("data-drawer", true);
    this.#root.replaceChildren();
    this.#draw();
    this.#root.scrollTop = 0;
    this.#root.querySelector(".close").focus({ preventScroll: true });
  }

  close() {
    const within = this.#root.contains(document.activeElement) || document.activeElement === document.body;
    this.#extension = null;
    this.#root.hidden = true;
    this.#root.closest(".models").toggleAttribute("data-drawer", false);
    this.#root.replaceChildren();
    if (within && this.#back?.isConnected) this.#back.focus({ preventScroll: true });
  }

  /** The list is new. */
  #follow() {
    if (!this.#extension) return;
    this.#extension = extensions.find(this.#extension.id);
    if (this.#extension) this.#draw();
    else this.close();
  }

  /** Make or renew what is shown: a part stays as it is, with the focus and what is written there, unless it is made of something else now. */
  #draw() {
    const extension = this.#extension;
    const focused = this.#root.contains(document.activeElement);
    reconcile(this.#root, [...this.#parts(extension)], {
      key: ({ name, of }) => `${name} ${JSON.stringify(of)}`,
      make: ({ make }) => make(),
      renew: (part, { renew }) => renew(part),
    });
    renewSwitch(this.#root.querySelector(".switch"), extension);
    this.#works();
    if (focused && !this.#root.contains(document.activeElement)) this.#root.querySelector(".close").focus({ preventScroll: true });
  }

  /** Do what may fail for the extension that is shown; where it is not shown any more, the sentence stands at the lower edge. */
  async #attempt(act) {
    const place = this.#problem;
    const done = await attempt(place, act);
    if (done === undefined && !place.isConnected) toast(place.textContent);
    return done;
  }

  *#parts(extension) {
    const { id, title, problem, state, description, settings, brings, failures } = extension;
    yield part("head", [id, title, byline(extension)], () => this.#head(extension));
    if (problem) yield part("sentence", [problem, state], () => element("p", { className: state === "broken" ? "complaint" : "note", textContent: problem }));
    yield part("problem", id, () => this.#problem);
    if (description) yield part("about", description, () => element("p", { className: "about", textContent: description }));
    yield part("works", id, () => element("ul", { className: "works", hidden: true }));
    if (settings && extensions.may.manage) {
      yield heading("Settings");
      yield part("settings", [id, settings.schema], () => settingsForm(settings, (values) => keep(extension, values)), (form) => form.renew(settings.values));
    }
    if (brings.length) {
      yield heading("Brings");
      yield part("brings", brings, () => element("ul", { className: "words-of" }, ...brings.map((words) => element("li", { className: "word", textContent: words }))));
    }
    yield heading("Asks for and needs");
    yield part("said", needs(extension), () => element("div", { className: "said" }, ...saidOf(extension)));
    if (failures.length) {
      yield heading("What went wrong");
      const times = failures.map(({ at: seconds }) => seconds);
      yield part("failures", times, () => element("ol", { className: "failures" }, ...failures.map(failure)));
    }
    const facts = factsOf(extension);
    yield part("facts", facts, () => element("dl", { className: "facts-of" }, ...facts.flatMap(fact)));
    if (!extensions.may.manage) return;
    yield part("log", id, () => this.#log(extension));
    yield part("acts", id, () => element("div", { className: "line acts-of" }), (row) => this.#renewActs(row, extension));
  }

  #head(extension) {
    const { id, title } = extension;
    const mark = element("span", { className: "mark", textContent: initials(title), attributes: { "aria-hidden": "true" } });
    mark.style.setProperty("--hue", hueOf(id));
    const words = element("div", {}, element("h2", { textContent: title }), element("p", { className: "title", textContent: byline(extension) }));
    return element("header", {}, mark, words, switchOf(extension), iconButton("close", "Close the details (Esc)", () => this.close(), "close"));
  }

  #log(extension) {
    const lines = element("pre", { className: "log", tabIndex: 0 });
    const look = async () => {
      const said = await this.#attempt(() => ask(at(extension, "log")));
      if (!said) return;
      lines.textContent = said.lines.join("\n") || "It has written nothing.";
      lines.scrollTop = lines.scrollHeight;
    };
    const log = element("details", {}, element("summary", { textContent: "Log" }), lines, button("Look again", look));
    log.addEventListener("toggle", () => log.open && look());
    return log;
  }

  #renewActs(row, extension) {
    reconcile(row, [...this.#acts(extension)], { key: ({ name }) => name, make: ({ make }) => make() });
  }

  *#acts({ id, wanted, bundled, origin, dependencies }) {
    if (wanted && (bundled || extensions.may.code)) yield part("reload", id, () => button("Reload its code", () => this.#reload(id), { sign: "renew" }));
    if (bundled || !extensions.may.code) return;
    if (origin && origin.kind !== "zip") {
      yield part("update", id, () => button("Look for an update", () => this.#update(id), { sign: "download" }));
      yield part("pin", id, () => button("Choose a version", () => choosePin(this.#extension), { sign: "pin" }));
    }
    if (dependencies.length) yield part("packages", id, () => button("Install its packages", () => this.#plan(id, "packages", {})));
    yield part("remove", id, () => this.#remove(id));
  }

  async #reload(id) {
    const card = await this.#attempt(() => ask(at({ id }, "reload"), {}));
    if (!card) return;
    extensions.put(card);
    toast(card.state === "broken" ? card.problem : `The code of ${card.title} was read anew.`);
  }

  async #update(id) {
    const { title } = this.#extension;
    const found = await this.#attempt(() => ask(at({ id }, "newest"), {}));
    if (found?.same) toast(`${title} is the newest there is.`);
    else if (found && this.open === id) await this.#plan(id, "update", { pin: found.pin });
    else if (found) toast(`There is another version of ${title}.`);
  }

  /** What would be done is shown to who still looks at it. */
  async #plan(id, path, order) {
    const plan = await this.#attempt(() => ask(at({ id }, path), order));
    if (plan && this.open === id) showPlan(plan);
    else if (plan) ask("/discard", { plan: plan.plan }).catch(() => {});
  }

  /** It asks once more: what it removes is gone. */
  #remove(id) {
    const made = button("Remove", async () => {
      const words = made.querySelector("span");
      if (!made.hasAttribute("data-sure")) {
        made.toggleAttribute("data-sure", true);
        words.textContent = "Remove it from the disk";
        return;
      }
      const { title } = this.#extension;
      const said = await this.#attempt(() => ask(at({ id }, "remove"), {}));
      if (!said) return;
      toast(`${title} is removed.`);
      if (this.open === id) this.close();
      extensions.take(said);
    }, { sign: "trash", className: "trash" });
    return made;
  }

  #works() {
    const list = this.#root.querySelector("ul.works");
    if (!list || !this.#extension) return;
    const works = extensions.worksOf(this.#extension.id);
    list.hidden = works.length === 0;
    reconcile(list, works, { key: ({ id }) => id, make: makeWork, renew: renewWork });
  }
}

/** A part of the drawer: it is made anew where its name or what it is made `of` is another. */
function part(name, of, make, renew = () => {}) {
  return { name, of, make, renew };
}

function heading(textContent) {
  return part("heading", textContent, () => element("h3", { textContent }));
}

/** Keep settings; who asks hears what they are then. */
async function keep(extension, values) {
  const card = await ask(at(extension, "settings"), { values });
  extensions.put(card);
  return card.settings.values;
}

/** What the list of what one asks for and needs is made of; how its models are, their rows say themselves. */
function needs({ id, permissions, dependencies, models }) {
  return [id, permissions, dependencies, models.map(({ name, source }) => [name, source])];
}

function byline({ version, bundled, author }) {
  const from = bundled ? "ships with Atelier" : "installed";
  return [version && `Version ${version}`, from, !bundled && author && `by ${author}`].filter(Boolean).join(" · ");
}

function factsOf({ id, folder, author, homepage, origin }) {
  const pinned = [origin?.kind === "package" ? "In version" : "Pinned to", origin?.pin];
  const tagged = ["By its tag", origin?.tag];
  const all = [["Id", id], ["Folder", folder], ["From", origin?.address], tagged, pinned, ["Before", origin?.before], ["Author", author], ["Homepage", homepage]];
  return all.filter(([, value]) => value);
}

function fact([name, value]) {
  const link = name === "Homepage" ? element("a", { href: value, target: "_blank", rel: "noopener noreferrer", textContent: value }) : value;
  return [element("dt", { textContent: name }), element("dd", {}, link)];
}

function failure({ at: seconds, where, sentence }) {
  const when = new Date(seconds * 1000);
  return element(
    "li",
    {},
    element("p", { textContent: sentence }),
    element("span", { className: "hint" }, element("time", { dateTime: when.toISOString(), textContent: when.toLocaleString() }), ` · ${where}`),
  );
}

const WORDS = { running: "", finished: "Done", failed: "Failed", cancelled: "Ended" };

function makeWork({ id, title }) {
  const cancel = async () => {
    try {
      extensions.take(await ask(`/works/${id}/cancel`, {}));
    } catch (error) {
      toast(error.message);
    }
  };
  return element(
    "li",
    { className: "work" },
    element("span", { className: "sign" }, icon("waiting")),
    element("p", { className: "title", textContent: title }),
    element("p", { className: "doing" }),
    bar(title),
    element("p", { className: "sentence" }),
    iconButton("close", "End it", cancel, "cancel"),
  );
}

function renewWork(row, { state, share, doing, problem }) {
  const going = state === "running";
  row.dataset.state = state;
  const percent = going && share > 0 ? `${Math.floor(share * 100)} %` : "";
  say(row.querySelector(".doing"), [WORDS[state] || doing, percent].filter(Boolean).join(" · "));
  row.querySelector(".bar-of-work").hidden = !going;
  row.querySelector(".bar-of-work").show(share > 0 ? share : null);
  say(row.querySelector(".sentence"), problem);
  row.querySelector(".cancel").hidden = !going || !extensions.may.manage;
}
