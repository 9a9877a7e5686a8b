// Results over the canvas: looked at one after the other, then one is taken, or none. Where a result is the whole
// picture in another size (`resized`), it is shown as large as the picture it may take the place of.

import { element, icon, iconButton, say } from "../elements.js";
import { fetched, Picture } from "./picture.js";

export class Proposals {
  list = []; // [{url, left, top, width, height, resized}]
  #place = 0;
  #bar;
  #view;
  #painting;
  #tell;
  #pictures = new Map(); // url -> Promise of a Picture
  #options = { mask: true, sketch: true };
  #accepting = false; // a key that is held down says it many times

  /** @param tell {changed(), accepted(proposal), compare(url), fault(error)} */
  constructor(bar, view, painting, tell) {
    [this.#bar, this.#view, this.#painting, this.#tell] = [bar, view, painting, tell];
    this.#build();
  }

  get current() {
    return this.list[this.#place] ?? null;
  }

  #build() {
    const wide = (name, text, className, onclick) =>
      element("button", { type: "button", className, onclick }, icon(name), element("span", { textContent: text }));
    const option = (name, text) => {
      const box = element("input", { type: "checkbox", checked: true, className: name });
      box.addEventListener("change", () => (this.#options[name] = box.checked));
      return element("label", { className: "option" }, box, element("span", { textContent: text }));
    };
    this.#bar.append(
      element(
        "span",
        { className: "browse" },
        iconButton("left", "Previous (left arrow)", () => this.go(-1), "previous"),
        element("span", { className: "where", role: "status" }),
        iconButton("right", "Next (right arrow)", () => this.go(1), "next"),
      ),
      element("span", { className: "options" }, option("mask", "Clear the mask"), option("sketch", "Clear the sketch")),
      iconButton("compare", "Compare with the picture before", () => this.#tell.compare(this.current), "compare"),
      wide("close", "Discard", "wide discard", () => this.discard()),
      wide("check", "Accept", "wide accept", () => this.accept()),
    );
  }

  /** Show these; of a longer list with the same beginning, what was looked at stays. */
  async show(list) {
    const looked = this.current?.url;
    this.list = list.map(({ url, left = 0, top = 0, width, height, resized = false }) => ({
      ...{ url, left, top, width, height },
      ...(resized && { resized }),
    }));
    this.#place = Math.max(
      0,
      this.list.findIndex(({ url }) => url === looked),
    );
    this.#forget();
    await this.#render();
  }

  async go(places) {
    if (!this.list.length) return;
    this.#place = (this.#place + places + this.list.length) % this.list.length;
    await this.#render();
  }

  #picture(url) {
    if (!this.#pictures.has(url))
      this.#pictures.set(
        url,
        fetched(url).then((blob) => Picture.of(blob)),
      );
    return this.#pictures.get(url);
  }

  /** Let go of all of them; they stay proposed for the next canvas. */
  async close() {
    const pictures = await Promise.allSettled(this.#pictures.values());
    for (const { value } of pictures) value?.close();
  }

  /** Let go of pictures that are not proposed any more. */
  #forget() {
    for (const [url, promise] of this.#pictures) {
      if (this.list.some((one) => one.url === url)) continue;
      this.#pictures.delete(url);
      promise.then(
        (picture) => picture.close(),
        () => {},
      );
    }
  }

  async #render() {
    const { current } = this;
    this.#bar.hidden = !current;
    this.#tell.changed();
    if (!current) {
      this.#view.proposal = null;
      this.#view.reserve(0);
      this.#view.spoil();
      return;
    }
    say(this.#bar.querySelector(".where"), `${this.#place + 1} of ${this.list.length}`);
    for (const name of ["previous", "next"]) this.#bar.querySelector(`.${name}`).disabled = this.list.length < 2;
    for (const name of ["mask", "sketch"])
      this.#bar.querySelector(`input.${name}`).parentElement.hidden = this.#painting[name].empty || this.#resizes(current);
    this.#view.reserve(this.#bar.offsetHeight);
    try {
      const picture = await this.#picture(current.url);
      if (current !== this.current) return; // another one was chosen meanwhile
      const area = this.#areaOf(picture, current);
      const { width, height } = this.#painting;
      const grows = !this.#view.proposal && (area.width > width || area.height > height);
      this.#view.proposal = { picture, area };
      if (grows) this.#view.fit();
      this.#view.spoil();
    } catch (error) {
      this.#tell.fault(error);
      this.list = this.list.filter((one) => one !== current);
      this.#place = 0;
      this.#forget();
      await this.#render();
    }
  }

  /** Whether what is painted would not lie where it was. */
  #resizes({ resized, width, height }) {
    return resized && (width !== this.#painting.width || height !== this.#painting.height);
  }

  /** Where a result is shown, in the picture's pixels. */
  #areaOf({ width, height }, { left, top, resized }) {
    if (!resized) return { left: 0 - left, top: 0 - top, width, height };
    const scale = Math.min(this.#painting.width / width, this.#painting.height / height);
    const [across, down] = [width * scale, height * scale];
    return { left: (this.#painting.width - across) / 2, top: (this.#painting.height - down) / 2, width: across, height: down };
  }

  discard() {
    return this.show([]);
  }

  /** Put the one that is looked at in the picture's place. */
  async accept() {
    const { current } = this;
    if (!current || this.#accepting) return;
    this.#accepting = true;
    try {
      const { blob } = await this.#picture(current.url);
      const { left, top } = current;
      const stays = !this.#resizes(current);
      const keep = ["mask", "sketch"].filter((name) => stays && !this.#options[name]);
      await this.#painting.replace(blob, { what: "Accept", keep, left, top, keepBox: stays });
    } catch (error) {
      this.#tell.fault(error);
      return;
    } finally {
      this.#accepting = false;
    }
    await this.show([]);
    this.#tell.accepted(current);
  }
}
