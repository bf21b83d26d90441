// Pictures of digits, each 784 values in [0, 1]: from a sheet of them, and onto a canvas.

const SIDE = 28;
const SHEET_COLUMNS = 20;

/** Draw pictures side by side on a canvas, ink black. */
export function paint(canvas, ...pictures) {
  canvas.width = SIDE * pictures.length;
  canvas.height = SIDE;
  const image = new ImageData(canvas.width, SIDE);
  pictures.forEach((picture, p) => {
    for (let i = 0; i < SIDE * SIDE; i++) {
      const at = 4 * (Math.floor(i / SIDE) * canvas.width + p * SIDE + (i % SIDE));
      image.data.fill(255 * (1 - picture[i]), at, at + 3);
      image.data[at + 3] = 255;
    }
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** The pictures of a sheet, a PNG of white digits on black. */
export async function cut(png, count) {
  const sheet = await createImageBitmap(new Blob([png], { type: "image/png" }));
  const canvas = new OffscreenCanvas(sheet.width, sheet.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(sheet, 0, 0);
  return Array.from({ length: count }, (_, i) => {
    const [left, top] = [i % SHEET_COLUMNS, Math.floor(i / SHEET_COLUMNS)].map((k) => k * SIDE);
    const { data } = context.getImageData(left, top, SIDE, SIDE);
    return Float32Array.from({ length: SIDE * SIDE }, (_, k) => data[4 * k] / 255);
  });
}
