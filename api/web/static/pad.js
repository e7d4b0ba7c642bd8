/** A pad to draw on, with the ink and the ground that the images of the training had. */

export class Pad {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{isLight: boolean, width: () => number, onChange: () => void}} options
   */
  constructor(canvas, { isLight, width, onChange }) {
    Object.assign(this, { canvas, isLight, width, onChange, strokes: [], isDrawing: false });
    this.context = canvas.getContext("2d");
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.isDrawing && this.#add(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { this.isDrawing = false; });
    this.#paint();
  }

  get isEmpty() {
    return this.strokes.length === 0;
  }

  clear() {
    this.strokes = [];
    this.#paint();
  }

  undo() {
    this.strokes.pop();
    this.#paint();
    if (this.strokes.length) this.onChange();
  }

  /** Return the drawing as PNG. */
  toBlob() {
    return new Promise((done) => this.canvas.toBlob(done, "image/png"));
  }

  #begin(event) {
    if (event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.isDrawing = true;
    this.strokes.push({ width: this.width(), points: [] });
    this.#add(event);
  }

  #add(event) {
    const box = this.canvas.getBoundingClientRect();
    const all = event.getCoalescedEvents?.() ?? [];
    for (const one of all.length ? all : [event]) {
      this.strokes.at(-1).points.push([((one.clientX - box.left) * this.canvas.width) / box.width, ((one.clientY - box.top) * this.canvas.height) / box.height]);
    }
    this.#paint();
    this.onChange();
  }

  #paint() {
    const { context, canvas } = this;
    context.fillStyle = this.isLight ? "#fff" : "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.strokeStyle = context.fillStyle = this.isLight ? "#000" : "#fff";
    context.lineCap = context.lineJoin = "round";
    for (const { width, points } of this.strokes) {
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(...points[0]);
      for (const point of points) context.lineTo(...point);
      if (points.length === 1) context.lineTo(points[0][0] + 0.1, points[0][1]);
      context.stroke();
    }
  }
}
