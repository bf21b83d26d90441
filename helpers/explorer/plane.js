// The latent plane: the clouds that test digits have on it, and how it is drawn.

const EDGE = { left: 44, right: 8, top: 8, bottom: 40 }; // CSS pixels around the plane

/** A context to draw on in CSS pixels, empty, as sharp as the screen. */
function clear(canvas) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return Object.assign(context, { font: "13px sans-serif", textAlign: "center", textBaseline: "middle" });
}

/** Clouds of digits on a square of the plane, drawn on two canvases: the map, and marks above. */
export class Plane {
  constructor(map, marks, labels, colours) {
    Object.assign(this, { map, marks, labels, colours });
  }

  /** Take other clouds, four numbers each: z_mean, z_log_var. The square holds all means. */
  load(codes) {
    this.codes = codes;
    this.half = Math.max(3, ...codes.map((v, i) => (i % 4 < 2 ? 1.05 * Math.abs(v) : 0)));
  }

  centre(i) {
    return [this.codes[4 * i], this.codes[4 * i + 1]];
  }

  widths(i) {
    return [2, 3].map((k) => Math.exp(this.codes[4 * i + k] / 2));
  }

  /** Which cloud has the centre closest to z. */
  nearest(z) {
    const distance = (i) => Math.hypot(this.centre(i)[0] - z[0], this.centre(i)[1] - z[1]);
    return this.labels.reduce((best, _, i) => (distance(i) < distance(best) ? i : best), 0);
  }

  /** The point of the square that is closest to z. */
  inside(z) {
    return z.map((v) => Math.min(this.half, Math.max(-this.half, v)));
  }

  get span() {
    return {
      width: this.marks.clientWidth - EDGE.left - EDGE.right,
      height: this.marks.clientHeight - EDGE.top - EDGE.bottom,
    };
  }

  /** Where z is on the canvas, in CSS pixels, and the other way round for a pointer. */
  toPage([a, b]) {
    const { width, height } = this.span;
    return [EDGE.left + ((a / this.half + 1) / 2) * width, EDGE.top + ((1 - b / this.half) / 2) * height];
  }

  toPlane({ clientX, clientY }) {
    const { left, top } = this.marks.getBoundingClientRect();
    const { width, height } = this.span;
    const [right, down] = [(clientX - left - EDGE.left) / width, (clientY - top - EDGE.top) / height];
    return this.inside([this.half * (2 * right - 1), this.half * (1 - 2 * down)]);
  }

  drawMap() {
    const context = clear(this.map);
    const { width, height } = this.span;
    const { half } = this;
    const step = [1, 2, 5, 10, 20, 50, 100].find((s) => half / s <= 5) ?? half;
    context.strokeStyle = context.fillStyle = "#333";
    context.strokeRect(EDGE.left, EDGE.top, width, height);
    for (let tick = -Math.floor(half / step) * step; tick <= half; tick += step) {
      const [x, y] = this.toPage([tick, tick]);
      context.fillText(String(tick).replace("-", "−"), x, EDGE.top + height + 11);
      context.fillText(String(tick).replace("-", "−"), EDGE.left - 14, y);
    }
    context.fillText("z[0], first latent dimension", EDGE.left + width / 2, EDGE.top + height + 29);
    context.save();
    context.translate(10, EDGE.top + height / 2);
    context.rotate(-Math.PI / 2);
    context.fillText("z[1], second latent dimension", 0, 0);
    context.restore();
    this.labels.forEach((label, i) => {
      context.fillStyle = this.colours[label];
      context.fillText(label, ...this.toPage(this.centre(i)));
    });
  }

  /** Draw the cloud of a digit with draws from it, a line, and a cross at z. */
  drawMarks(z, digit, draws, line) {
    const context = clear(this.marks);
    context.lineWidth = 2;
    if (digit !== null) this.drawCloud(context, digit, draws);
    if (line) {
      context.setLineDash([6, 4]);
      context.stroke(new Path2D(`M${this.toPage(line[0])}L${this.toPage(line[1])}`));
      context.setLineDash([]);
    }
    const [x, y] = this.toPage(z);
    const ring = `M${x - 9} ${y}a9 9 0 1 0 18 0a9 9 0 1 0-18 0`;
    for (const [strokeStyle, lineWidth] of [["#fff", 5], ["#000", 2]]) {
      Object.assign(context, { strokeStyle, lineWidth });
      context.stroke(new Path2D(`${ring}M${x - 14} ${y}h28M${x} ${y - 14}v28`));
    }
  }

  /** The ellipse of two standard deviations, and points for the centre and the draws. */
  drawCloud(context, digit, draws) {
    const unit = this.span.width / (2 * this.half);
    const [a, b] = this.widths(digit).map((width) => Math.max(2 * width * unit, 1));
    const cloud = new Path2D();
    cloud.ellipse(...this.toPage(this.centre(digit)), a, b, 0, 0, 7);
    context.fillStyle = "#fff9";
    context.fill(cloud);
    context.stroke(cloud);
    context.fillStyle = "#000";
    for (const draw of [this.centre(digit), ...draws]) {
      context.fillRect(...this.toPage(draw).map((v) => v - 1.5), 3, 3);
    }
  }
}
