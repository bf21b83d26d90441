// The latent explorer in the page. It reads the state that __init__.py describes, decodes
// and draws here, and needs the kernel only to fetch another model.

import { decode, unpack } from "./decoder.js";
import { cut, paint } from "./pictures.js";
import { Plane } from "./plane.js";

const STEPS = 9; // pictures along a line, its ends included
const DRAWS = 6; // samples of a posterior
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

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

const text = (z) => `(${z.map((v) => v.toFixed(2).replace("-", "−")).join(", ")})`;

/** A draw from the standard normal distribution (Box and Muller). */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

/** Show words below a picture, and give it the same or other words as its name. */
function say(canvas, words, caption) {
  canvas.setAttribute("aria-label", words);
  if (caption) caption.textContent = words;
}

/** The explorer in an element: where we are on the plane, and what is shown of it. */
class Explorer {
  z = [0, 0];
  digit = null; // the test digit that is looked at
  draws = [];
  line = null; // its two ends
  pressed = null; // where the pointer went down

  constructor(model, el) {
    this.model = model;
    this.el = el;
    el.classList.add("vae-explorer");
    el.dataset.lmSuppressShortcuts = "true"; // in JupyterLab the keys are ours while we have focus
    el.innerHTML = PAGE;
    [this.ofPoint, this.ofDigit, this.ofLine] = el.querySelectorAll("figure");
    this.labels = model.get("labels");
    this.plane = new Plane(...el.querySelectorAll(".vae-plane canvas"), this.labels, model.get("colours"));
    this.offerModels(model.get("names"));
    this.listen(this.plane.marks, el.querySelector("button"));
    this.load();
    cut(this.bytes("sheet"), this.labels.length).then((pictures) => {
      this.digits = pictures;
      this.drawDigit();
    });
  }

  bytes(name) {
    const view = this.model.get(name);
    return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  }

  /** Show the model whose weights are in the page. */
  load = () => {
    clearTimeout(this.waiting);
    this.decoder = unpack(this.model.get("layers"), this.model.get("weights"));
    this.plane.load(new Float32Array(this.bytes("codes").slice().buffer));
    this.el.querySelector("select").value = this.model.get("loaded");
    this.el.querySelector(".vae-status").textContent = "";
    this.z = this.plane.inside(this.z);
    this.digit = this.line = null;
    this.plane.drawMap();
    this.drawPoint();
    this.drawDigit();
    this.drawLine();
  };

  /** A page without a kernel has no widget manager, and no way to get another model. */
  offerModels(names) {
    const [select, status] = ["select", ".vae-status"].map((s) => this.el.querySelector(s));
    names.forEach((name, k) => {
      const option = new Option(name, k);
      option.disabled = !this.model.widget_manager && k !== this.model.get("loaded");
      if (option.disabled) option.text += " (in JupyterLab)";
      select.add(option);
    });
    select.parentElement.hidden = names.length < 2;
    select.addEventListener("change", () => {
      const name = names[select.value];
      this.model.set("chosen", Number(select.value));
      this.model.save_changes();
      status.textContent = `Loading ${name} …`;
      this.waiting = setTimeout(() => {
        status.textContent = `${name} is not stored in this page: run the cell in JupyterLab to load it.`;
        select.value = this.model.get("loaded");
        this.model.set("chosen", this.model.get("loaded"));
      }, 3000);
    });
  }

  drawMarks = () => this.plane.drawMarks(this.z, this.digit, this.draws, this.line);

  drawPoint() {
    const [canvas, caption] = this.ofPoint.children;
    const label = this.labels[this.plane.nearest(this.z)];
    paint(canvas, decode(this.decoder, this.z));
    say(canvas, `What the decoder makes of z = ${text(this.z)}. Nearest test digit: a ${label}.`, caption);
    this.drawMarks();
  }

  drawDigit() {
    const { digit, plane } = this;
    this.ofDigit.hidden = digit === null || !this.digits;
    if (this.ofDigit.hidden) return;
    const [original, rebuilt, strip] = this.ofDigit.querySelectorAll("canvas");
    const name = `Test digit ${digit}, a ${this.labels[digit]}`;
    paint(original, this.digits[digit]);
    say(original, name);
    paint(rebuilt, decode(this.decoder, plane.centre(digit)));
    say(rebuilt, "Its reconstruction from z_mean");
    paint(strip, ...this.draws.map((draw) => decode(this.decoder, draw)));
    const [a, b] = plane.widths(digit).map((width) => width.toPrecision(2));
    say(strip, `${name}, and its reconstruction from z_mean = ${text(plane.centre(digit))}. Below: pictures from ${DRAWS} draws of its cloud. The cloud's standard deviations are ${a} and ${b}; the ellipse reaches two of them to each side.`, this.ofDigit.lastChild);
  }

  drawLine() {
    this.ofLine.hidden = !this.line;
    if (!this.line) return;
    const [start, end] = this.line;
    const at = (i) => start.map((v, k) => v + (i / (STEPS - 1)) * (end[k] - v));
    const [strip, caption] = this.ofLine.children;
    paint(strip, ...Array.from({ length: STEPS }, (_, i) => decode(this.decoder, at(i))));
    say(strip, `${STEPS} pictures on the way from z = ${text(start)} to ${text(end)}.`, caption);
  }

  /** Tell a screen reader where we are, once the moving has stopped. */
  speak() {
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => {
      const captions = this.el.querySelectorAll("figure:not([hidden]) figcaption");
      const words = Array.from(captions, (caption) => caption.textContent).join(" ");
      this.el.querySelector(".vae-said").textContent = words;
    }, 500);
  }

  moveTo(z, from = null) {
    this.z = z;
    if (from) this.line = [from, z];
    this.drawPoint();
    if (from) this.drawLine();
  }

  /** Look at the test digit nearest to z. */
  takeNearest() {
    const { plane } = this;
    this.digit = plane.nearest(this.z);
    this.line = null;
    const [mean, widths] = [plane.centre(this.digit), plane.widths(this.digit)];
    this.draws = Array.from({ length: DRAWS }, () => mean.map((m, k) => m + widths[k] * normal()));
    this.drawLine();
    this.drawDigit();
    this.moveTo(mean);
  }

  /** Follow the pointer and the keys. */
  listen(canvas, button) {
    const drawing = (event) => event.pointerType === "mouse" || button.ariaPressed === "true";
    const moved = ({ clientX, clientY }) => Math.hypot(clientX - this.pressed.x, clientY - this.pressed.y) > 5;
    canvas.addEventListener("pointermove", (event) => {
      const line = this.pressed && drawing(event) && (this.pressed.dragged ||= moved(event));
      this.moveTo(this.plane.toPlane(event), line ? this.pressed.z : null);
    });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.moveTo(this.plane.toPlane(event));
      this.pressed = { x: event.clientX, y: event.clientY, z: this.z };
    });
    canvas.addEventListener("pointerup", (event) => {
      if (this.pressed && !this.pressed.dragged && !moved(event)) this.takeNearest();
      this.pressed = null;
    });
    canvas.addEventListener("pointercancel", () => (this.pressed = null));
    canvas.addEventListener("keydown", (event) => this.press(event));
    button.addEventListener("click", () => {
      button.ariaPressed = String(button.ariaPressed !== "true");
    });
  }

  /** Do what a key asks for, unless it is none of ours. */
  press(event) {
    const arrow = ARROWS[event.key];
    if (arrow) {
      const from = event.shiftKey ? (this.line?.[0] ?? this.z) : null;
      if (!event.shiftKey) this.line = null;
      this.drawLine();
      const to = this.z.map((v, k) => v + (arrow[k] * this.plane.half) / 40);
      this.moveTo(this.plane.inside(to), from);
    } else if (event.key === "Enter" || event.key === " ") this.takeNearest();
    else if (event.key === "Escape") {
      this.digit = this.line = null;
      this.drawLine();
      this.drawDigit();
      this.drawMarks();
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.speak();
  }
}

function render({ model, el }) {
  const explorer = new Explorer(model, el);
  const resized = new ResizeObserver(() => {
    explorer.plane.drawMap();
    explorer.drawMarks();
  });
  resized.observe(explorer.plane.marks);
  model.on("change:loaded", explorer.load);
  return () => {
    resized.disconnect();
    model.off("change:loaded", explorer.load);
  };
}

export default { render };
