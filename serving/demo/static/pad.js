// Paper and pen. The ink is the canvas's alpha channel; its colour is the style sheet's matter.

const PEN = 22; // of 280: about two pixels of a digit that fills the paper, as MNIST's pens

export class Pad {
  /** @param {() => void} changed called after each stroke's piece, and after clearing */
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.pen = canvas.getContext("2d", { willReadFrequently: true });
    this.pen.lineWidth = PEN;
    this.pen.lineCap = this.pen.lineJoin = "round";
    this.last = null;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"])
      canvas.addEventListener(end, () => { this.last = null; });
  }

  clear() {
    this.last = null;
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.changed();
  }

  /** Draws an SVG path, in units of the canvas, on clean paper. */
  trace(path) {
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.pen.stroke(new Path2D(path));
    this.changed();
  }

  /** Ink, 0 to 255, row-major. */
  ink() {
    const { width, height } = this.canvas;
    const rgba = this.pen.getImageData(0, 0, width, height).data;
    return Uint8Array.from({ length: width * height }, (_, i) => rgba[4 * i + 3]);
  }

  #down(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.last = this.#place(event);
    this.#line(this.last);
    this.changed();
  }

  #move(event) {
    if (!this.last || !event.isPrimary) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const point of all.length ? all : [event]) this.#line(this.#place(point));
    this.changed();
  }

  #line(to) {
    this.pen.beginPath();
    this.pen.moveTo(...this.last);
    this.pen.lineTo(...to);
    this.pen.stroke();
    this.last = to;
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) * this.canvas.width) / box.width,
      ((event.clientY - box.top) * this.canvas.height) / box.height,
    ];
  }
}
