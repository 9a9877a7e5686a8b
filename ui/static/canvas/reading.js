// Layers that come back from the server: a picture's file, brought into tiles.

import { Layer, SIDE } from "./layer.js";

/** Rejects with a sentence where the file has another size than the picture. */
export async function layerFrom(blob, { width, height, channels }) {
  const bitmap = await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  if (bitmap.width !== width || bitmap.height !== height) {
    throw new Error(`What was painted has ${bitmap.width} × ${bitmap.height} pixels, and the picture ${width} × ${height}.`);
  }
  const layer = new Layer({ width, height, channels });
  const sheet = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true });
  for (const [x, y] of [...layer.touched(layer.bounds)]) {
    sheet.clearRect(0, 0, SIDE, SIDE);
    sheet.drawImage(bitmap, -x * SIDE, -y * SIDE);
    const { data } = sheet.getImageData(0, 0, SIDE, SIDE);
    // Of grey all three colours are the same.
    const bytes = channels === 4 ? new Uint8Array(data.buffer.slice(0)) : Uint8Array.from({ length: SIDE * SIDE }, (_, k) => data[k * 4]);
    layer.tiles.set(`${x},${y}`, bytes);
  }
  bitmap.close();
  layer.prune(layer.tiles.keys());
  return layer;
}
