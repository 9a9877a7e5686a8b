// The stage: the picture being made turns into the picture that was made, at one place and in one size.

import { element, fetchAgain, iconButton, reconcile, say } from "./elements.js";
import { atelier } from "./form.js";
import { openGrids } from "./grid_sheet.js";
import { renewSteps, stepButtons } from "./next_steps.js";
import { paint } from "./preview.js";
import { studio } from "./studio.js";
import { duration, promptOf, size, speed } from "./words.js";
import { fitting } from "./zoom.js";

const SHOWN_NOTICES = 3; // the newest ones of a job
const MARGIN = 18; // CSS pixels of mat around a picture
const STRIP_PLACES = 24; // places that wait in the strip for pictures to come
const EXAMPLES = [
  "a red circle on a blue background",
  "a yellow star on a purple background, cartoon",
  "a small white boat on a blue background",
  "a green tree on a white background, watercolor",
];

/** What stands on the stage, decided from what there is: a pinned picture, the running job, the last result. */
export function onStage(pinned) {
  const picked = pinned && studio.pictures(pinned.job).find((picture) => picture.index === pinned.index);
  if (picked) return { job: studio.job(picked.job), picture: picked, live: false };
  if (studio.running) return { job: studio.running, picture: null, live: true };
  const ended = studio.jobs.filter((job) => job.state === "failed" || studio.pictures(job.id).length);
  const job = ended.at(-1);
  if (!job) return { job: null, picture: null, live: false };
  return { job, picture: studio.pictures(job.id).at(-1) ?? null, live: false };
}

export class Stage {
  #root;
  #mat;
  #picture;
  #wanted = ""; // the picture or preview on the stage, or being decoded for it
  #lost = false; // it could not be fetched
  #ratio = { width: 1, height: 1 };

  /** @param acts {pin(picture), follow(), open(picture), reuse(picture), reuseSeed(picture), tell(sentence)} */
  constructor(root, acts) {
    this.#root = root;
    this.acts = acts;
    this.#mat = root.querySelector(".mat");
    this.#picture = root.querySelector(".mat .shown");
    root.querySelector(".frame").addEventListener("click", () => this.current && acts.open(this.current));
    root.querySelector(".follow").addEventListener("click", () => acts.follow());
    root.querySelector(".retry").addEventListener("click", () => studio.order("retry", { job: this.failed }));
    root.querySelector(".caption .acts").append(...this.#acts());
    root.querySelector(".steps").append(...stepButtons(() => this.current, { done: acts.tell }));
    root.querySelector(".examples").append(...EXAMPLES.map((prompt) => this.#example(prompt)));
    new ResizeObserver(() => this.#fit()).observe(this.#mat);
    // It may only have had no network: what is drawn next asks for it again.
    studio.addEventListener("open", () => {
      if (this.#lost) this.#wanted = "";
      fetchAgain(root.querySelector(".strip"));
    });
  }

  #acts() {
    const act = (name, title, run, className) => iconButton(name, title, () => this.current && run(this.current), className);
    return [
      act("cells", "Cells of this grid", () => openGrids(this.grid), "of-grid"),
      act("expand", "Full size", (picture) => this.acts.open(picture)),
      act("sliders", "Reuse parameters", (picture) => this.acts.reuse(picture)),
      act("seed", "Reuse seed", (picture) => this.acts.reuseSeed(picture), "seeded"),
      act("download", "Download", download),
    ];
  }

  #example(prompt) {
    return element("button", { type: "button", textContent: prompt, onclick: () => atelier.setPrompt(prompt) });
  }

  render({ job, picture, live }) {
    this.current = picture;
    this.grid = job?.grid ?? "";
    this.failed = job?.state === "failed" && !picture ? job.id : "";
    this.#root.dataset.state = !job ? "empty" : live ? "live" : picture ? "picture" : "failed";
    this.#root.toggleAttribute("data-starter", this.#starter());
    this.#root.querySelector(".follow").hidden = !studio.running || live;
    // A job that enlarges does not know its size before it begins.
    if (live) this.#ratio = { width: job.width || 1, height: job.height || 1 };
    else if (picture) this.#ratio = { width: picture.width, height: picture.height };
    this.#renderPicture(job, picture, live);
    this.#renderWords(job, picture, live);
    this.#renderPace();
    this.#renderStrip(job, picture);
    renewSteps(this.#root.querySelector(".steps"), picture);
    const seed = this.#root.querySelector(".acts .seeded");
    seed.hidden = Number(picture?.seed) < 0;
    this.#root.querySelector(".acts .of-grid").hidden = !this.grid;
    this.#fit();
  }

  #starter() {
    const loaded = studio.status?.checkpoint;
    return (loaded || document.querySelector("#setting_sd_model_checkpoint input")?.value) === "starter";
  }

  #renderPicture(job, picture, live) {
    const made = live ? studio.pictures(job.id).at(-1) : picture;
    if (live && studio.preview?.job === job.id) this.#showPreview(studio.preview, job);
    else if (made) this.#showPicture(made, job);
    else this.#clear();
  }

  /** Put a picture on the stage once it is decoded: what was there before stays until then, so nothing flashes. */
  async #showPicture(picture, job) {
    const name = picture.url;
    if (name === this.#wanted) return;
    this.#wanted = name;
    const image = element("img", { src: picture.url, alt: promptOf(job) });
    try {
      await image.decode();
    } catch {
      if (name === this.#wanted) this.#missing(name);
      return;
    }
    if (name === this.#wanted) this.#put(image); // else a newer one overtook it
  }

  async #showPreview({ number, picture: jpeg }, job) {
    const name = `preview ${number}`;
    if (name === this.#wanted) return;
    this.#wanted = name;
    const canvas = await paint(jpeg, job, this.#room()).catch(() => null);
    // A later preview may be on its way already; this one is still better than the one before.
    if (!canvas || !this.#wanted.startsWith("preview") || number < Number(this.#picture.dataset.preview ?? 0)) return;
    canvas.dataset.preview = number;
    canvas.role = "img";
    canvas.ariaLabel = promptOf(job);
    this.#put(canvas);
  }

  #put(shown) {
    shown.className = "shown";
    this.#picture.replaceWith(shown);
    this.#picture = shown;
    this.#lost = false;
    this.#root.removeAttribute("data-missing");
    this.#fit();
  }

  /** The file is not there any more: say what became of it, and do not ask again. */
  async #missing(address) {
    this.#hide();
    this.#lost = true;
    const answer = await fetch(address).catch(() => null);
    const sentence = answer && !answer.ok ? await answer.text() : "This picture could not be shown.";
    if (address !== this.#wanted || !this.#lost) return; // another picture was chosen meanwhile
    this.#root.toggleAttribute("data-missing", true);
    say(this.#root.querySelector(".missing"), sentence);
  }

  #clear() {
    this.#wanted = "";
    this.#root.removeAttribute("data-missing");
    this.#hide();
  }

  #hide() {
    this.#put(element("img", { alt: "", hidden: true }));
  }

  #renderWords(job, picture, live) {
    const { progress } = studio;
    let left = "";
    let right = "";
    if (live && progress) {
      left = `${job.steps ? "Step" : "Tile"} ${progress.step} of ${progress.steps}`;
      if (progress.batches > 1) left += ` · ${job.steps ? "batch" : "picture"} ${progress.batch} of ${progress.batches}`;
      const remaining = duration(progress.remaining);
      right = [speed(progress.rate), remaining && `${remaining} left`].filter(Boolean).join(" · ");
    } else if (live) left = job.loading ? `Loading ${job.loading}` : "Starting";
    else if (picture) left = Number(picture.seed) < 0 ? size(picture) : `${size(picture)} · seed ${picture.seed}`;
    say(this.#root.querySelector(".caption .what"), left);
    say(this.#root.querySelector(".caption .pace-words"), right);
    say(this.#root.querySelector(".fault .sentence"), job?.state === "failed" ? job.message : "");
    say(this.#root.querySelector(".notices"), (job?.notices ?? []).slice(-SHOWN_NOTICES).join("\n"));
  }

  #renderPace() {
    const pace = this.#root.querySelector(".pace");
    const share = shareDone();
    pace.classList.toggle("going", studio.running !== null);
    pace.classList.toggle("unknown", studio.running !== null && !studio.progress);
    pace.style.setProperty("--done", share);
    pace.setAttribute("aria-valuenow", Math.round(share * 100));
    const { progress } = studio;
    pace.setAttribute("aria-valuetext", progress ? `Step ${progress.step} of ${progress.steps}` : "Nothing runs");
  }

  #renderStrip(job, picture) {
    const pictures = job ? studio.pictures(job.id) : [];
    const missing = job?.state === "running" ? Math.min(job.count, STRIP_PLACES) - pictures.length : 0;
    const places = Array.from({ length: Math.max(0, missing) }, (_, k) => ({ place: pictures.length + k }));
    reconcile(this.#root.querySelector(".strip"), [...pictures, ...places], {
      key: (item) => (item.url ? item.url : `place ${item.place}`),
      make: (item) => (item.url ? this.#thumb(item) : element("span", { className: "place" })),
      renew: (child, item) => {
        if (item.url) child.setAttribute("aria-current", String(item.url === picture?.url));
      },
    });
  }

  #thumb(picture) {
    const image = element("img", { src: `${picture.url}?thumb=160`, alt: `Picture ${picture.index + 1}` });
    const title = `Picture ${picture.index + 1}${Number(picture.seed) < 0 ? "" : `, seed ${picture.seed}`}`;
    return element("button", { type: "button", title, onclick: () => this.acts.pin(picture) }, image);
  }

  #room() {
    const margin = Math.min(MARGIN, this.#mat.clientWidth * 0.03);
    return { width: this.#mat.clientWidth - 2 * margin, height: this.#mat.clientHeight - 2 * margin };
  }

  #fit() {
    const room = this.#room();
    const { width, height } = this.#size();
    const scale = fitting({ width, height }, room);
    if (!(scale > 0)) return;
    const frame = this.#root.querySelector(".frame");
    frame.style.width = `${Math.round(width * scale)}px`;
    frame.style.height = `${Math.round(height * scale)}px`;
  }

  /** In pixels of the finished picture, or, for a preview of several, of their grid. */
  #size() {
    const { width, height } = this.#ratio;
    if (!(this.#picture instanceof HTMLCanvasElement)) return { width, height };
    const shape = this.#picture.width / this.#picture.height;
    if (Math.abs((shape * height) / width - 1) < 0.1) return { width, height };
    return shape > width / height ? { width: height * shape, height } : { width, height: width / shape };
  }
}

/** How much of the running job is done, from 0 to 1. */
export function shareDone() {
  const { progress } = studio;
  if (!progress) return 0;
  return (progress.batch - 1 + progress.step / progress.steps) / progress.batches;
}

/** Let the browser save the file as it is. */
export function download(picture) {
  const link = element("a", { href: `${picture.url}?download=1`, download: "" });
  document.body.append(link);
  link.click();
  link.remove();
}
