// The latent explorer in the page. It reads the state that explorer.py describes, decodes
// and draws here, and needs the kernel only to fetch another model.

const SIDE = 28;
const SHEET_COLUMNS = 20;
const STEPS = 9; // pictures along a line, its ends included
const DRAWS = 6; // samples of a posterior
const ACTIVATIONS = {
  linear: (v) => v,
  relu: (v) => Math.max(v, 0),
  sigmoid: (v) => 1 / (1 + Math.exp(-v)),
  tanh: Math.tanh,
};

/** The Dense layers of a decoder, cut from the bytes of their weights. */
export function unpack(layers, view) {
  let at = view.byteOffset;
  const take = (count) => new Float32Array(view.buffer.slice(at, (at += 4 * count)));
  return layers.map(([inputs, units, activation]) => ({
    kernel: take(inputs * units),
    bias: take(units),
    activation: ACTIVATIONS[activation],
  }));
}

/** What a decoder makes of a point z: 784 probabilities of ink. */
export function decode(decoder, z) {
  let values = Float32Array.from(z);
  for (const { kernel, bias, activation } of decoder) {
    const sums = Float32Array.from(bias);
    values.forEach((value, i) => {
      const row = i * sums.length;
      for (let k = 0; k < sums.length; k++) sums[k] += value * kernel[row + k];
    });
    values = sums.map(activation);
  }
  return values.map(ACTIVATIONS.sigmoid);
}

/** Draw pictures of 784 values side by side on a canvas, ink black. */
function paint(canvas, ...pictures) {
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

/** The pictures of a sheet of white digits on black, each 784 values in [0, 1]. */
async function cut(png, count) {
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

/** A draw from the standard normal distribution (Box and Muller). */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

const text = (z) => `(${z.map((v) => v.toFixed(2).replace("-", "−")).join(", ")})`;

const PAGE = `
  <div class="vae-map">
    <label class="vae-models">Model <select></select></label>
    <div class="vae-plane">
      <canvas aria-hidden="true"></canvas>
      <canvas tabindex="0" role="application" aria-label="Map of test digits on the latent plane. Arrow keys move, Enter takes the nearest digit, Shift with arrows draws a line."></canvas>
    </div>
    <button type="button" aria-pressed="false">Draw a line with a finger</button>
  </div>
  <div class="vae-side">
    <figure><canvas class="vae-decoded" role="img"></canvas><figcaption></figcaption></figure>
    <figure hidden><div class="vae-row"><canvas role="img"></canvas><canvas role="img"></canvas></div>
      <canvas class="vae-strip" role="img"></canvas><figcaption></figcaption></figure>
    <figure hidden><canvas class="vae-strip" role="img"></canvas><figcaption></figcaption></figure>
    <p class="vae-status" role="alert"></p>
    <p class="vae-said" role="status"></p>
  </div>
  <details open><summary>How to move</summary>
    <p><b>Mouse:</b> move to decode a point, click to see the nearest test digit and its cloud,
    drag to see the way between two points. <b>Finger:</b> the same; to draw a line, press the
    button first. <b>Keys:</b> the arrows move, Enter takes the nearest digit, Shift with the
    arrows draws a line, Escape clears.</p></details>`;

function render({ model, el }) {
  el.classList.add("vae-explorer");
  el.dataset.lmSuppressShortcuts = "true"; // in JupyterLab the keys are ours while we have focus
  el.innerHTML = PAGE;
  const [select, button, status, said] = ["select", "button", ".vae-status", ".vae-said"].map((s) => el.querySelector(s));
  const [base, plane] = el.querySelectorAll(".vae-plane canvas");
  const [ofPoint, ofDigit, ofLine] = el.querySelectorAll("figure");
  const [labels, colours, names] = ["labels", "colours", "names"].map((name) => model.get(name));
  let decoder, codes, half, digits;
  let z = [0, 0];
  let digit = null; // the test digit that is looked at
  let draws = [];
  let line = null; // its two ends
  let pressed = null; // where the pointer went down
  let waiting, speaking;

  const bytes = (name) => new Uint8Array(model.get(name).buffer, model.get(name).byteOffset, model.get(name).byteLength);
  const edge = { left: 44, right: 8, top: 8, bottom: 40 };
  const span = () => ({
    width: plane.clientWidth - edge.left - edge.right,
    height: plane.clientHeight - edge.top - edge.bottom,
  });
  const toPage = ([a, b]) => [
    edge.left + ((a / half + 1) / 2) * span().width,
    edge.top + ((1 - b / half) / 2) * span().height,
  ];
  const toPlane = (event) => {
    const box = plane.getBoundingClientRect();
    const inside = (v) => Math.min(half, Math.max(-half, v));
    return [
      inside(half * ((2 * (event.clientX - box.left - edge.left)) / span().width - 1)),
      inside(half * (1 - (2 * (event.clientY - box.top - edge.top)) / span().height)),
    ];
  };
  const centre = (i) => [codes[4 * i], codes[4 * i + 1]];
  const widths = (i) => [2, 3].map((k) => Math.exp(codes[4 * i + k] / 2));
  const distance = (i) => Math.hypot(centre(i)[0] - z[0], centre(i)[1] - z[1]);
  const nearest = () => labels.reduce((best, _, i) => (distance(i) < distance(best) ? i : best), 0);

  /** A context to draw on in CSS pixels, empty, as sharp as the screen. */
  function clear(canvas) {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.font = "13px sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    return context;
  }

  function drawMap() {
    const context = clear(base);
    const { width, height } = span();
    const step = [1, 2, 5, 10, 20, 50, 100].find((s) => half / s <= 5) ?? half;
    context.strokeStyle = context.fillStyle = "#333";
    context.strokeRect(edge.left, edge.top, width, height);
    for (let tick = -Math.floor(half / step) * step; tick <= half; tick += step) {
      const [x, y] = toPage([tick, tick]);
      context.fillText(String(tick).replace("-", "−"), x, edge.top + height + 11);
      context.fillText(String(tick).replace("-", "−"), edge.left - 14, y);
    }
    context.fillText("z[0], first latent dimension", edge.left + width / 2, edge.top + height + 29);
    context.save();
    context.translate(10, edge.top + height / 2);
    context.rotate(-Math.PI / 2);
    context.fillText("z[1], second latent dimension", 0, 0);
    context.restore();
    labels.forEach((label, i) => {
      context.fillStyle = colours[label];
      context.fillText(label, ...toPage(centre(i)));
    });
  }

  function drawMarks() {
    const context = clear(plane);
    const unit = span().width / (2 * half);
    context.strokeStyle = context.fillStyle = "#000";
    context.lineWidth = 2;
    if (digit !== null) {
      const [a, b] = widths(digit).map((width) => 2 * width * unit);
      context.beginPath();
      context.ellipse(...toPage(centre(digit)), Math.max(a, 1), Math.max(b, 1), 0, 0, 7);
      context.fillStyle = "#fff9";
      context.fill();
      context.stroke();
      context.fillStyle = "#000";
      for (const draw of [centre(digit), ...draws]) {
        context.fillRect(...toPage(draw).map((v) => v - 1.5), 3, 3);
      }
    }
    if (line) {
      context.beginPath();
      context.setLineDash([6, 4]);
      context.moveTo(...toPage(line[0]));
      context.lineTo(...toPage(line[1]));
      context.stroke();
      context.setLineDash([]);
    }
    const [x, y] = toPage(z);
    for (const [colour, width] of [["#fff", 5], ["#000", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, 9, 0, 7);
      context.moveTo(x - 14, y);
      context.lineTo(x + 14, y);
      context.moveTo(x, y - 14);
      context.lineTo(x, y + 14);
      context.stroke();
    }
  }

  function say(canvas, caption, words) {
    canvas.setAttribute("aria-label", words);
    if (caption) caption.textContent = words;
  }

  function drawPoint() {
    const canvas = ofPoint.querySelector("canvas");
    paint(canvas, decode(decoder, z));
    say(canvas, ofPoint.querySelector("figcaption"), `What the decoder makes of z = ${text(z)}. Nearest test digit: a ${labels[nearest()]}.`);
    drawMarks();
  }

  function drawDigit() {
    ofDigit.hidden = digit === null || !digits;
    if (ofDigit.hidden) return;
    const [original, rebuilt, strip] = ofDigit.querySelectorAll("canvas");
    paint(original, digits[digit]);
    paint(rebuilt, decode(decoder, centre(digit)));
    paint(strip, ...draws.map((draw) => decode(decoder, draw)));
    say(original, null, `Test digit ${digit}, a ${labels[digit]}`);
    say(rebuilt, null, "Its reconstruction from z_mean");
    const [a, b] = widths(digit).map((width) => width.toPrecision(2));
    say(strip, ofDigit.querySelector("figcaption"), `Test digit ${digit}, a ${labels[digit]}, and its reconstruction from z_mean = ${text(centre(digit))}. Below: pictures from ${DRAWS} draws of its cloud. The cloud's standard deviations are ${a} and ${b}; the ellipse reaches two of them to each side.`);
  }

  function drawLine() {
    ofLine.hidden = !line;
    if (!line) return;
    const at = (t) => line[0].map((v, k) => v + t * (line[1][k] - v));
    const strip = ofLine.querySelector("canvas");
    paint(strip, ...Array.from({ length: STEPS }, (_, i) => decode(decoder, at(i / (STEPS - 1)))));
    say(strip, ofLine.querySelector("figcaption"), `${STEPS} pictures on the way from z = ${text(line[0])} to ${text(line[1])}.`);
  }

  /** Tell a screen reader where we are, once the moving has stopped. */
  function speak() {
    clearTimeout(speaking);
    speaking = setTimeout(() => {
      const captions = el.querySelectorAll("figure:not([hidden]) figcaption");
      said.textContent = Array.from(captions, (caption) => caption.textContent).join(" ");
    }, 500);
  }

  function moveTo(point, from = null) {
    z = point;
    if (from) line = [from, z];
    drawPoint();
    if (from) drawLine();
  }

  function take(i) {
    digit = i;
    line = null;
    const widen = widths(i);
    draws = Array.from({ length: DRAWS }, () => centre(i).map((mean, k) => mean + widen[k] * normal()));
    drawLine();
    drawDigit();
    moveTo(centre(i));
  }

  const drawing = (event) => event.pointerType === "mouse" || button.ariaPressed === "true";
  const moved = (event) => Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > 5;

  plane.addEventListener("pointermove", (event) => {
    const line = pressed && drawing(event) && (pressed.dragged ||= moved(event));
    moveTo(toPlane(event), line ? pressed.z : null);
  });
  plane.addEventListener("pointerdown", (event) => {
    plane.setPointerCapture(event.pointerId);
    moveTo(toPlane(event));
    pressed = { x: event.clientX, y: event.clientY, z };
  });
  plane.addEventListener("pointerup", (event) => {
    if (pressed && !pressed.dragged && !moved(event)) take(nearest());
    pressed = null;
  });
  plane.addEventListener("pointercancel", () => (pressed = null));
  plane.addEventListener("keydown", (event) => {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (arrow) {
      const from = event.shiftKey ? (line?.[0] ?? z) : null;
      if (!event.shiftKey) line = null;
      drawLine();
      moveTo(z.map((v, k) => Math.min(half, Math.max(-half, v + (arrow[k] * half) / 40))), from);
    } else if (event.key === "Enter" || event.key === " ") take(nearest());
    else if (event.key === "Escape") {
      digit = line = null;
      drawLine();
      drawDigit();
      drawMarks();
    } else return;
    event.preventDefault();
    event.stopPropagation();
    speak();
  });
  button.addEventListener("click", () => {
    button.ariaPressed = String(button.ariaPressed !== "true");
  });

  function load() {
    clearTimeout(waiting);
    decoder = unpack(model.get("layers"), model.get("weights"));
    codes = new Float32Array(bytes("codes").slice().buffer);
    half = Math.max(3, 1.05 * codes.reduce((most, v, i) => (i % 4 < 2 ? Math.max(most, Math.abs(v)) : most), 0));
    select.value = model.get("loaded");
    z = z.map((v) => Math.min(half, Math.max(-half, v)));
    status.textContent = "";
    digit = line = null;
    drawMap();
    drawPoint();
    drawDigit();
    drawLine();
  }

  // A page without a kernel has no widget manager, and no way to get another model.
  names.forEach((name, k) => {
    const option = new Option(name, k);
    option.disabled = !model.widget_manager && k !== model.get("loaded");
    if (option.disabled) option.text += " (in JupyterLab)";
    select.add(option);
  });
  select.parentElement.hidden = names.length < 2;
  select.addEventListener("change", () => {
    const name = names[select.value];
    model.set("chosen", Number(select.value));
    model.save_changes();
    status.textContent = `Loading ${name} …`;
    waiting = setTimeout(() => {
      status.textContent = `${name} is not stored in this page: run the cell in JupyterLab to load it.`;
      select.value = model.get("loaded");
      model.set("chosen", model.get("loaded"));
    }, 3000);
  });
  model.on("change:loaded", load);
  const resized = new ResizeObserver(() => {
    drawMap();
    drawMarks();
  });
  load();
  resized.observe(plane);
  cut(bytes("sheet"), labels.length).then((pictures) => {
    digits = pictures;
    drawDigit();
  });
  return () => {
    resized.disconnect();
    model.off("change:loaded", load);
  };
}

export default { render };
