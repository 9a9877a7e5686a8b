// Work that would hold up the drawing, done by a worker: packing, and what takes long on a whole mask.

let worker = null;
let number = 0;
let streams = 0;
const waiting = new Map();

/** Ask for a copy of `bytes` to be worked on. */
const ask = (how, bytes, ...more) => hand(how, bytes.slice(), ...more);

/** The same with the bytes themselves, which are gone here then. */
function hand(how, bytes, ...more) {
  worker ??= begin();
  number += 1;
  const asked = number;
  worker.postMessage({ asked, how, bytes, more }, [bytes.buffer]);
  return new Promise((resolve, reject) => waiting.set(asked, { resolve, reject }));
}

function begin() {
  const made = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  made.addEventListener("message", ({ data: { asked, bytes, fault } }) => {
    const { resolve, reject } = waiting.get(asked);
    waiting.delete(asked);
    if (bytes) resolve(bytes);
    else reject(new Error(fault));
  });
  made.addEventListener("error", () => {
    for (const { reject } of waiting.values()) reject(new Error("This browser could not work on what was painted."));
    waiting.clear();
    made.terminate();
    worker = null; // it may never answer: the next one begins anew
  });
  return made;
}

/** Raw deflate (RFC 1951). The bytes are copied at once: what is done to them afterwards does not matter. */
export const pack = (bytes) => ask("pack", bytes);

export const unpack = (packed) => ask("unpack", packed);

/** Deflate with zlib's frame (RFC 1950), as PNG wants it: of bytes that come in parts, in pieces as they are ready. */
export async function* zlib(parts) {
  streams += 1;
  const stream = streams;
  for (const part of parts) yield await hand("zlibPart", part, stream);
  yield await hand("zlibEnd", new Uint8Array(0), stream);
}

/** "grow", "shrink" or "feather" of morphology.js. */
export const morph = (how, values, width, height, radius) => ask(how, values, width, height, radius);
