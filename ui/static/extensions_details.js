// Everything about one extension, in a drawer beside the cards.

import { element, icon, iconButton, reconcile, say } from "./elements.js";
import { hueOf, initials } from "./extensions_card.js";
import { showPlan } from "./extensions_install.js";
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
    this.#root.hidden = false;
    this.#root.closest(".models").toggleAttribute("data-drawer", true);
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

  /** The list is new: what is being written stays. */
  #follow() {
    if (!this.#extension) return;
    const now = extensions.find(this.#extension.id);
    if (!now) return this.close();
    const same = JSON.stringify(now) === JSON.stringify(this.#extension);
    this.#extension = now;
    if (this.#root.querySelector("[data-dirty]") || same) renewSwitch(this.#root.querySelector(".switch"), now);
    else this.#draw();
  }

  #draw() {
    const extension = this.#extension;
    const kept = this.#root.scrollTop;
    const focused = this.#root.contains(document.activeElement);
    const on = switchOf(extension);
    const mark = element("span", { className: "mark", textContent: initials(extension.title), attributes: { "aria-hidden": "true" } });
    mark.style.setProperty("--hue", hueOf(extension.id));
    const title = element("div", {}, element("h2", { textContent: extension.title }), element("p", { className: "title", textContent: byline(extension) }));
    this.#root.replaceChildren(
      element("header", {}, mark, title, on, iconButton("close", "Close the details (Esc)", () => this.close(), "close")),
      ...this.#sentences(),
      this.#problem,
      ...(extension.description ? [element("p", { className: "about", textContent: extension.description })] : []),
      element("ul", { className: "works", hidden: true }),
      ...this.#parts(),
      this.#buttons(),
    );
    renewSwitch(on, extension);
    this.#works();
    this.#root.scrollTop = kept;
    if (focused) this.#root.querySelector(".close").focus({ preventScroll: true });
  }

  #sentences() {
    const { problem, state } = this.#extension;
    return problem ? [element("p", { className: state === "broken" ? "complaint" : "note", textContent: problem })] : [];
  }

  *#parts() {
    const { settings, brings, failures } = this.#extension;
    if (settings && extensions.may.manage) {
      yield element("h3", { textContent: "Settings" });
      yield settingsForm(settings, async (values) => {
        const card = await ask(at(this.#extension, "settings"), { values });
        this.#extension = card;
        extensions.put(card);
        return card.settings.values;
      });
    }
    if (brings.length) {
      yield element("h3", { textContent: "Brings" });
      yield element("ul", { className: "words-of" }, ...brings.map((words) => element("li", { className: "word", textContent: words })));
    }
    yield element("h3", { textContent: "Asks for and needs" });
    yield element("div", { className: "said" }, ...saidOf(this.#extension));
    if (failures.length) {
      yield element("h3", { textContent: "What went wrong" });
      yield element("ol", { className: "failures" }, ...failures.map(failure));
    }
    yield* this.#facts();
  }

  *#facts() {
    const { id, folder, author, homepage, origin } = this.#extension;
    const link = homepage ? element("a", { href: homepage, target: "_blank", rel: "noopener noreferrer", textContent: homepage }) : null;
    const rows = [["Id", id], ["Folder", folder], ["From", origin?.address], [origin?.kind === "package" ? "In version" : "Pinned to", origin?.pin], ["Author", author], ["Homepage", link]].filter(([, value]) => value);
    const cells = rows.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", {}, value)]);
    yield element("dl", { className: "facts-of" }, ...cells);
    if (!extensions.may.manage) return;
    const lines = element("pre", { className: "log", tabIndex: 0 });
    const look = async () => {
      const said = await attempt(this.#problem, () => ask(at({ id }, "log")));
      if (!said) return;
      lines.textContent = said.lines.join("\n") || "It has written nothing.";
      lines.scrollTop = lines.scrollHeight;
    };
    const log = element("details", {}, element("summary", { textContent: "Log" }), lines, button("Look again", look));
    log.addEventListener("toggle", () => log.open && look());
    yield log;
  }

  #buttons() {
    const { wanted, bundled, origin, dependencies } = this.#extension;
    const row = element("div", { className: "line acts-of" });
    if (!extensions.may.manage) return row;
    const order = async (path, done) => {
      const card = await attempt(this.#problem, () => ask(at(this.#extension, path), {}));
      if (!card) return;
      extensions.put(card);
      toast(card.state === "broken" ? card.problem : done);
    };
    if (wanted && (bundled || extensions.may.code)) row.append(button("Reload its code", () => order("reload", "Its code was read anew."), { sign: "renew" }));
    if (bundled || !extensions.may.code) return row;
    if (origin && origin.kind !== "zip") row.append(button("Look for an update", () => this.#update(), { sign: "download" }));
    if (dependencies.length) row.append(button("Install its packages", () => this.#plan("packages", {})));
    row.append(this.#remove());
    return row;
  }

  async #update() {
    const { title } = this.#extension;
    const found = await attempt(this.#problem, () => ask(at(this.#extension, "newest"), {}));
    if (found?.same) toast(`${title} is the newest there is.`);
    else if (found) await this.#plan("update", { pin: found.pin });
  }

  async #plan(path, order) {
    const plan = await attempt(this.#problem, () => ask(at(this.#extension, path), order));
    if (plan) showPlan(plan);
  }

  /** It asks once more: what it removes is gone. */
  #remove() {
    const made = button("Remove", async () => {
      const words = made.querySelector("span");
      if (!made.hasAttribute("data-sure")) {
        made.toggleAttribute("data-sure", true);
        words.textContent = "Remove it from the disk";
        return;
      }
      const said = await attempt(this.#problem, () => ask(at(this.#extension, "remove"), {}));
      if (!said) return;
      toast(`${this.#extension.title} is removed.`);
      this.close();
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

function byline({ version, bundled, author }) {
  const from = bundled ? "ships with Atelier" : "installed";
  return [version && `Version ${version}`, from, !bundled && author && `by ${author}`].filter(Boolean).join(" · ");
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
