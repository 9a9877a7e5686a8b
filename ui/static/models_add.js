// Adding models: from the hub or from an address, with what is fetched now, suggestions, and secret tokens.

import { element, reconcile, say } from "./elements.js";
import { showDownloads } from "./models_downloads.js";
import { attempt, button, choice, complaint, field, section, showByPlace, textInput } from "./models_forms.js";
import { ask, models } from "./models_store.js";
import { bytes } from "./words.js";

const KINDS = [
  ["checkpoint", "Checkpoint"],
  ["lora", "LoRA"],
  ["embedding", "Embedding"],
  ["vae", "VAE"],
  ["controlnet", "ControlNet"],
  ["upscaler", "Upscaler"],
];

export class AddPanel {
  #address = textInput({ type: "search", placeholder: "owner/name, or the address of a page or a file" });
  #kind = choice(KINDS, "checkpoint");
  #name = textInput({ placeholder: "as it is called there" });
  #sha256 = textInput({ placeholder: "64 signs, where the source names them", maxLength: 64 });
  #complaint = complaint();
  #found = element("div", { className: "found" });
  #suggestions = element("ul", { className: "suggestions" });
  #hosts = element("ul", { className: "hosts" });

  constructor(root) {
    root.append(this.#search(), this.#downloads(), this.#suggested(), this.#secrets());
    models.addEventListener("change", () => showByPlace(root));
    showByPlace(root);
  }

  /** The panel is shown. */
  open() {
    this.#loadSuggestions();
    if (models.local) this.#loadHosts();
  }

  /** Show which kind is meant, when the panel is reached from a shelf. */
  set kind(kind) {
    if (KINDS.some(([name]) => name === kind)) this.#kind.value = kind;
  }

  #search() {
    const look = button("Look", () => this.#look(), { primary: true });
    this.#address.setAttribute("aria-label", "Repository, hub address or file address");
    this.#address.addEventListener("keydown", (event) => event.key === "Enter" && look.click());
    this.#address.addEventListener("paste", () => setTimeout(() => look.click()));
    const more = element(
      "details",
      { className: "more" },
      element("summary", { textContent: "Name and checksum" }),
      element("div", { className: "fields" }, field("Name", this.#name), field("SHA-256", this.#sha256)),
    );
    return section(
      "From the Hugging Face Hub, or by address",
      element("p", {
        className: "lead",
        textContent: "Paste a repository or an address; Atelier lists what it offers and puts it into your models folder.",
      }),
      element(
        "p",
        { className: "note", hidden: true, data: { remote: "" } },
        "For your safety, models are fetched only from the machine that Atelier runs on: open this page there.",
      ),
      element(
        "div",
        { data: { local: "" }, className: "stack" },
        element("div", { className: "line" }, this.#address, look),
        this.#complaint,
        this.#found,
        more,
      ),
    );
  }

  async #look() {
    this.#found.replaceChildren();
    const text = this.#address.value.trim();
    if (!text) return;
    const said = await attempt(this.#complaint, () => ask("/find", { text }));
    if (!said) return;
    this.#showFound(text, said);
  }

  #showFound(text, { choices, gated, place }) {
    const rows = choices.map((one) =>
      element(
        "li",
        { className: "offer" },
        element("p", { className: "title", textContent: one.title || one.name }),
        element("p", { className: "doing", textContent: [one.size ? bytes(one.size) : "size unknown", one.folder ? "folder" : ""].filter(Boolean).join(" · ") }),
        button("Download", () => this.#fetch({ text, choice: one.choice, kind: this.#kind.value }), { sign: "download" }),
      ),
    );
    const words = choices.length === 1 ? "1 model" : `${choices.length} models`;
    this.#found.replaceChildren(
      element("div", { className: "line wide" }, element("p", { className: "place", textContent: `${place || text}: ${words}` }), field("Keep as", this.#kind)),
      gated
        ? element("p", {
            className: "note",
            textContent: "This repository wants its terms accepted: do that on its page, then give an access token below.",
          })
        : "",
      element("ul", { className: "offers" }, ...rows),
    );
  }

  async #fetch(order) {
    const extras = { name: this.#name.value.trim(), sha256: this.#sha256.value.trim() };
    const given = Object.fromEntries(Object.entries(extras).filter(([, value]) => value));
    const said = await attempt(this.#complaint, () => ask("/downloads", { ...order, ...given }));
    if (!said) return;
    this.#name.value = this.#sha256.value = "";
    await models.loadWorks();
  }

  #downloads() {
    const list = element("ul", { className: "works" });
    const part = section("Downloads", list);
    showDownloads(list, (number) => (part.hidden = number === 0));
    return part;
  }

  #suggested() {
    return section(
      "To begin with",
      element("p", { className: "lead", textContent: "Well-known models, by their public repository. Nothing is fetched before you ask." }),
      this.#suggestions,
    );
  }

  async #loadSuggestions() {
    const said = await ask("/suggestions").catch(() => null);
    if (!said) return;
    reconcile(this.#suggestions, said, {
      key: ({ title }) => title,
      make: (one) =>
        element(
          "li",
          {},
          element("p", { className: "title", textContent: one.title }),
          element("p", { className: "why", textContent: one.why }),
          element("p", { className: "doing" }),
          button("Download", () => this.#fetch({ text: one.text, kind: one.kind }), { sign: "download" }),
        ),
      renew: (row, one) => {
        say(row.querySelector(".doing"), [one.size ? bytes(one.size) : "", one.here ? "You have it" : ""].filter(Boolean).join(" · "));
        row.querySelector("button").hidden = one.here || !models.local;
      },
    });
  }

  #secrets() {
    const host = textInput({ placeholder: "huggingface.co", value: "huggingface.co" });
    const token = textInput({ type: "password", autocomplete: "new-password", placeholder: "hf_…" });
    const problem = complaint();
    const keep = button("Keep", async () => {
      const said = await attempt(problem, () => ask("/tokens", { host: host.value.trim(), token: token.value }));
      if (!said) return;
      token.value = "";
      await this.#loadHosts();
    });
    const part = section(
      "Access tokens",
      element("p", {
        className: "lead",
        textContent: "For repositories that want one. A token goes to its own host only, and is never shown again.",
      }),
      this.#hosts,
      element("div", { className: "line fields" }, field("Host", host), field("Token", token), keep),
      problem,
    );
    part.dataset.local = "";
    return part;
  }

  async #loadHosts() {
    const said = await ask("/tokens").catch(() => null);
    if (!said) return;
    reconcile(this.#hosts, said.hosts, {
      key: (host) => host,
      make: (host) =>
        element(
          "li",
          {},
          element("span", { textContent: host }),
          button("Forget", async () => {
            await attempt(this.#complaint, () => ask("/tokens/forget", { host }));
            await this.#loadHosts();
          }),
        ),
    });
  }
}
