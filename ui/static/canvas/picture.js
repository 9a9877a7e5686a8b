// The picture that is worked on: its file as it came, and what is drawn of it.

const SMALLEST = 1024; // from this side on no smaller copy is made
const OURS = /\/atelier\/(pictures|inputs)\//; // the addresses of pictures on this site
const FOREIGN = "That picture is on another website. Save it, then drop the file here.";

export class Picture {
  /** @param levels ImageBitmaps, each half as large as the one before */
  constructor(blob, levels) {
    this.blob = blob;
    this.levels = levels;
    [this.width, this.height] = [levels[0].width, levels[0].height];
  }

  /** Upright, as its Exif says. Rejects with a sentence where the browser cannot read it. */
  static async of(blob) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(blob);
    } catch {
      const name = blob.name ? `${blob.name}` : "This file";
      throw new Error(`${name} is no picture that this browser can show. PNG, JPEG, WebP, GIF and AVIF are.`);
    }
    const levels = [bitmap];
    while (Math.max(bitmap.width, bitmap.height) > SMALLEST) {
      const size = { resizeWidth: Math.ceil(bitmap.width / 2), resizeHeight: Math.ceil(bitmap.height / 2) };
      bitmap = await createImageBitmap(bitmap, { ...size, resizeQuality: "medium" });
      levels.push(bitmap);
    }
    return new Picture(blob, levels);
  }

  /** The smallest copy that still has a pixel for each one on the screen. */
  levelFor(scale) {
    const level = Math.floor(Math.log2(1 / Math.min(1, scale)));
    return this.levels[Math.min(level, this.levels.length - 1)];
  }

  colourAt(x, y) {
    const sheet = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    sheet.drawImage(this.levels[0], x, y, 1, 1, 0, 0, 1, 1);
    return [...sheet.getImageData(0, 0, 1, 1).data];
  }

  close() {
    for (const level of this.levels) level.close();
  }
}

/** A white picture to draw on. */
export function blank(width, height) {
  const sheet = new OffscreenCanvas(width, height);
  const pen = sheet.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, width, height);
  return sheet.convertToBlob();
}

/** The bytes of a Blob, or behind an address of this site. */
export const bytesOf = (source) => (typeof source === "string" || source instanceof URL ? fetched(source) : source);

/** The bytes behind an address of this site: of the whole picture, where it is that of a small one. */
export async function fetched(address) {
  const url = new URL(address, document.baseURI);
  const local = ["blob:", "data:"].includes(url.protocol);
  if (!local && url.origin !== location.origin) throw new Error(FOREIGN);
  if (!local) url.searchParams.delete("thumb");
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) throw new Error((answer && (await answer.text())) || "The picture could not be fetched.");
  return answer.blob();
}

/** The picture in what was dropped or pasted: a Blob, an address of this page, or null. */
export function ownPictureIn(transfer) {
  const file = [...(transfer?.files ?? [])].find(({ type }) => type.startsWith("image/"));
  return ownAddressIn(transfer) ?? file ?? null;
}

/** The same where there is room for nothing but a picture: any address is meant as one. */
export const pictureIn = (transfer) => ownPictureIn(transfer) ?? addressIn(transfer);

/** The address of a picture of this page, or null. It comes as a file too, but that is the small one which is seen. */
export function ownAddressIn(transfer) {
  const address = addressIn(transfer);
  if (!address) return null;
  const { origin, pathname } = new URL(address);
  return origin === location.origin && OURS.test(pathname) ? address : null;
}

function addressIn(transfer) {
  const lines = transfer?.getData("text/uri-list").split(/\r?\n/) ?? [];
  const address = lines.find((line) => line && !line.startsWith("#"));
  return address && URL.canParse(address) ? address : null; // another program may call anything an address
}
