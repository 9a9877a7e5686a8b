// Layers as PNG files, written by ourselves: a browser's canvas would multiply colours by their opacity, and round.

import { zlib } from "./offthread.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const ROWS = 256; // that are packed at once: a large layer is never there a second time as a whole
const COLOUR_TYPES = { 1: 0, 4: 6 }; // channels -> grey, or red, green, blue and alpha (PNG, section 11.2.1)
const CHECKS = Uint32Array.from({ length: 256 }, (_, n) => {
  let value = n;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** The checksum of PNG's chunks (CRC-32 of ISO 3309). */
function check(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CHECKS[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

function chunk(type, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, check(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

function header({ width, height, channels }) {
  const data = new Uint8Array(13);
  const view = new DataView(data.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  data.set([8, COLOUR_TYPES[channels], 0, 0, 0], 8);
  return data;
}

function* bands(layer) {
  for (let row = 0; row < layer.height; row += ROWS) yield layer.rows(row, Math.min(layer.height, row + ROWS));
}

/** The layer as it is now, whatever is painted while the file is written. */
export async function encode(layer) {
  const parts = [Uint8Array.from(SIGNATURE), chunk("IHDR", header(layer))];
  for await (const piece of zlib(bands(layer.frozen()))) if (piece.length) parts.push(chunk("IDAT", piece));
  parts.push(chunk("IEND", new Uint8Array(0)));
  return new Blob(parts, { type: "image/png" });
}
