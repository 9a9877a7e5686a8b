// What this page knows of the owner's jobs, kept up to date by the live channel.

import { Channel } from "./channel.js";

/**
 * Emits "open" when Atelier is heard, or heard again, "change" whenever anything is different, "problem" (detail: a
 * sentence), "submitted" when a job appears that was not there before, "ended" (detail: the job) when one ends, and passes
 * on "models", "works" and "extensions" (detail: the message).
 */
class Studio extends EventTarget {
  /** All jobs, oldest first: ended, running, queued. */
  jobs = [];
  /** What is loaded and on what; null until it is known. */
  status = null;
  connected = false;
  /** What was told last of the extensions; null until it is known. */
  extensions = null;
  /** The newest step of the running job, with the job's id. */
  progress = null;
  /** The newest preview: {job, picture: Blob, number}. */
  preview = null;

  #pictures = new Map();
  #heard = 0; // when the jobs were told
  #told = new Set(); // jobs whose pictures have come over the present connection
  #known = null;
  #previews = 0;
  #channel = new Channel("atelier/live");

  open() {
    const on = (type, act) => this.#channel.addEventListener(type, (event) => act(event.detail));
    on("open", () => {
      this.connected = true;
      this.#told = new Set(); // everything is told anew, and takes the place of what was known
      this.progress = this.preview = null;
      this.#emit("open");
      this.#changed();
    });
    on("closed", () => {
      this.connected = false;
      this.#changed();
    });
    on("message", (message) => this.#hear(message));
    on("preview", (preview) => {
      this.preview = { ...preview, number: ++this.#previews };
      this.#changed();
    });
    this.#channel.open();
  }

  /** Seconds until a waiting job begins, or nothing where nobody knows. */
  beginsIn(job) {
    const seconds = job.begins_in;
    return typeof seconds === "number" ? Math.max(0, seconds - (performance.now() - this.#heard) / 1000) : null;
  }

  /** Whether the server has told which jobs there are. */
  get told() {
    return this.#known !== null;
  }

  get running() {
    return this.jobs.find((job) => job.state === "running") ?? null;
  }

  job(id) {
    return this.jobs.find((job) => job.id === id) ?? null;
  }

  /** The pictures of a job, in their order. */
  pictures(id) {
    return this.#pictures.get(id) ?? [];
  }

  /** Every picture there is, the newest job's first; those of a job in their order. */
  everyPicture() {
    return [...this.jobs].reverse().flatMap((job) => this.pictures(job.id));
  }

  /** Every picture there is, the one that was made last first. */
  newestFirst() {
    return [...this.jobs].reverse().flatMap((job) => [...this.pictures(job.id)].reverse());
  }

  /** The picture that was made last, or null. */
  get newest() {
    return this.newestFirst()[0] ?? null;
  }

  /** Send an order; says so when it cannot be sent. */
  order(op, details = {}) {
    if (this.#channel.send({ op, ...details })) return;
    this.#emit("problem", "Atelier cannot be reached now; this page tries again by itself.");
  }

  #hear(message) {
    switch (message.type) {
      case "status":
        this.status = message;
        break;
      case "jobs":
        this.#hearJobs(message.jobs);
        break;
      case "pictures": {
        const pictures = message.pictures.map((picture) => ({ ...picture, job: message.job }));
        const before = this.#told.has(message.job) ? this.pictures(message.job) : [];
        this.#told.add(message.job);
        this.#pictures.set(message.job, [...before, ...pictures]);
        break;
      }
      case "progress":
        this.progress = message;
        this.#channel.send({ op: "seen" });
        break;
      case "models":
      case "works":
        this.#emit(message.type, message);
        return;
      case "extensions":
        this.extensions = message;
        this.#emit("extensions", message);
        return;
      case "problem":
        this.#emit("problem", message.message);
        return;
      default:
        return;
    }
    this.#changed();
  }

  #hearJobs(jobs) {
    const before = new Map(this.jobs.map((job) => [job.id, job]));
    this.jobs = jobs;
    this.#heard = performance.now();
    const running = this.running;
    if (this.progress?.job !== running?.id) this.progress = null;
    if (this.preview?.job !== running?.id) this.preview = null;
    const ids = new Set(jobs.map((job) => job.id));
    for (const id of this.#pictures.keys()) if (!ids.has(id)) this.#pictures.delete(id);
    const news = this.#known && jobs.some((job) => !this.#known.has(job.id));
    this.#known = ids;
    if (news) this.#emit("submitted");
    for (const job of jobs) {
      const was = before.get(job.id)?.state;
      if (was && was !== job.state && !["queued", "running"].includes(job.state)) this.#emit("ended", job);
    }
  }

  #changed() {
    this.#emit("change");
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

export const studio = new Studio();
