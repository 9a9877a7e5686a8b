// What comes while a picture is made: one pixel a latent, the pictures of a batch side by side.

const LARGEST_SIDE = 1024; // pixels of the canvas
const PIXELS_A_LATENT = 8;
const GAP = 0.02; // between pictures, as a share of one's longer side

/**
 * Paint a preview softly, the pictures of a batch in the grid that fills the room best.
 * @param {Blob} jpeg
 * @param {{width, height}} picture the size of one finished picture
 * @param {{width, height}} room
 */
export async function paint(jpeg, picture, room) {
  const bitmap = await createImageBitmap(jpeg);
  const count = Math.max(1, Math.round((bitmap.width * picture.height) / (bitmap.height * picture.width)));
  const { columns, rows } = grid(count, picture, room);
  const tile = { width: bitmap.width / count, height: bitmap.height };
  const gap = columns * rows > 1 ? GAP * Math.max(tile.width, tile.height) : 0;
  const whole = {
    width: columns * tile.width + (columns - 1) * gap,
    height: rows * tile.height + (rows - 1) * gap,
  };
  const scale = Math.min(PIXELS_A_LATENT, LARGEST_SIDE / Math.max(whole.width, whole.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(whole.width * scale);
  canvas.height = Math.round(whole.height * scale);
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  for (let k = 0; k < count; k++) {
    const x = (k % columns) * (tile.width + gap) * scale;
    const y = Math.floor(k / columns) * (tile.height + gap) * scale;
    pen.drawImage(bitmap, k * tile.width, 0, tile.width, tile.height, x, y, tile.width * scale, tile.height * scale);
  }
  bitmap.close();
  return canvas;
}

function grid(count, picture, room) {
  let best = { columns: 1, rows: count, scale: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const scale = Math.min(room.width / (columns * picture.width), room.height / (rows * picture.height));
    if (scale > best.scale) best = { columns, rows, scale };
  }
  return best;
}
