// What occupies RAM and VRAM, and ways to make room.

import { element, reconcile, say } from "./elements.js";
import { WARMTH } from "./models_card.js";
import { attempt, button, complaint, section } from "./models_forms.js";
import { ask, models } from "./models_store.js";
import { bytes, swapTime } from "./words.js";

const ROLES = {
  unet: "U-Net",
  transformer: "Transformer",
  vae: "VAE",
  text_encoder: "Text encoder",
  text_encoder_2: "Second text encoder",
};

export class MemoryPanel {
  #bars = element("div", { className: "memory-bars" });
  #occupants = element("ul", { className: "occupants" });
  #checkpoints = element("ul", { className: "occupants checkpoints" });
  #problem = complaint();
  #asked = new Set(); // of checkpoints: whether to keep them warm
  #none = element("p", { className: "lead", textContent: "No network is in memory now. One is loaded with the first picture." });
  #unload;

  constructor(root) {
    this.#unload = button("Unload all", async () => {
      await attempt(this.#problem, () => ask("/unload", {}));
      await models.loadState();
    });
    root.append(
      section("Memory", this.#bars, this.#problem, element("div", { className: "line" }, this.#unload)),
      section("What is in memory", this.#none, this.#occupants),
      section(
        "Checkpoints",
        element("p", {
          className: "lead",
          textContent: "Keep a checkpoint warm and it stays in memory, so that swapping to it takes no time; others make room first.",
        }),
        this.#checkpoints,
      ),
    );
    models.addEventListener("state", () => this.render());
    models.addEventListener("change", () => this.render());
  }

  open() {
    models.loadState();
    this.render();
  }

  render() {
    const memory = models.memory;
    const occupants = memory?.occupants ?? [];
    this.#none.hidden = occupants.length > 0;
    this.#unload.disabled = occupants.length === 0;
    if (memory) this.#renderBars(memory);
    reconcile(this.#occupants, occupants, { key: ({ fingerprint }) => fingerprint, make: occupantRow, renew: renewOccupant });
    this.#renderCheckpoints();
  }

  #renderBars(memory) {
    const rows = [
      {
        name: "RAM",
        used: memory.ram,
        budget: memory.ram_budget,
        parts: memory.occupants.map((each) => ({ ...each, size: each.ram })),
        more: memory.mapped ? `and ${bytes(memory.mapped)} of files that the system may take back at any time` : "",
      },
      {
        name: "VRAM",
        used: memory.vram,
        budget: memory.vram_budget,
        parts: memory.occupants.map((each) => ({ ...each, size: each.vram })),
        more: "",
      },
    ];
    if (memory.patched) rows[memory.vram_budget ? 1 : 0].more += ` with ${bytes(memory.patched)} changed by LoRAs`;
    reconcile(this.#bars, rows.filter(({ budget, used }) => budget || used), {
      key: ({ name }) => name,
      make: ({ name }) =>
        element(
          "div",
          { className: "memory-bar" },
          element("p", {}, element("strong", { textContent: name }), element("span", { className: "numbers" })),
          element("div", { className: "track", attributes: { role: "img" } }),
          element("p", { className: "hint" }),
        ),
      renew: renewBar,
    });
  }

  #renderCheckpoints() {
    const rows = models.list
      .map((model) => ({ model, state: models.state(model.id) }))
      .filter(({ model, state }) => state && !model.problem && (state.state !== "cold" || state.kept || model.name === models.checkpoint));
    reconcile(this.#checkpoints, rows, {
      key: ({ model }) => model.id,
      make: ({ model }) => {
        const keep = element("input", { type: "checkbox" });
        keep.addEventListener("change", async () => {
          // Until the answer is there, what the server last said is older than what the person wants.
          this.#asked.add(model.id);
          await attempt(this.#problem, () => ask(`/${model.id}/keep`, { kept: keep.checked }));
          this.#asked.delete(model.id);
          await models.loadState();
        });
        const unload = button("Unload", async () => {
          await attempt(this.#problem, () => ask(`/${model.id}/unload`, {}));
          await models.loadState();
        });
        return element(
          "li",
          {},
          element("span", { className: "dot" }),
          element("p", { className: "title", textContent: model.name }),
          element("p", { className: "doing" }),
          element("label", { className: "tick" }, keep, "Keep warm"),
          unload,
        );
      },
      renew: (row, { model, state }) => {
        row.dataset.state = state.state;
        say(row.querySelector(".doing"), [WARMTH[state.state], swapTime(state.state === "hot" ? null : state.seconds)].filter(Boolean).join(" · "));
        if (!this.#asked.has(model.id)) row.querySelector("input").checked = state.kept;
        row.querySelector("button").disabled = state.state === "cold";
      },
    });
  }
}

function renewBar(row, { name, used, budget, parts, more }) {
  const words = budget ? `${bytes(used)} of ${bytes(budget)}` : bytes(used);
  say(row.querySelector(".numbers"), words);
  say(row.querySelector(".hint"), more);
  const track = row.querySelector(".track");
  track.setAttribute("aria-label", `${name}: ${words}`);
  const whole = Math.max(budget, used, 1);
  reconcile(track, parts.filter(({ size }) => size > 0), {
    key: ({ fingerprint }) => fingerprint,
    make: () => element("span"),
    renew: (span, part) => {
      span.style.width = `${(part.size / whole) * 100}%`;
      span.dataset.role = part.role;
      span.title = `${ROLES[part.role] ?? part.role} of ${part.checkpoints.join(", ")}: ${bytes(part.size)}`;
    },
  });
}

function occupantRow({ role }) {
  return element(
    "li",
    {},
    element("span", { className: "dot", data: { role } }),
    element("p", { className: "title" }),
    element("p", { className: "doing" }),
  );
}

function renewOccupant(row, each) {
  say(row.querySelector(".title"), `${ROLES[each.role] ?? each.role} · ${each.checkpoints.join(", ")}`);
  const parts = [
    each.vram ? `${bytes(each.vram)} VRAM` : "",
    each.ram ? `${bytes(each.ram)} RAM` : "",
    each.mapped ? `${bytes(each.mapped)} mapped` : "",
    each.leased ? "in use" : "",
    each.kept ? "kept warm" : "",
  ];
  say(row.querySelector(".doing"), parts.filter(Boolean).join(" · "));
}
