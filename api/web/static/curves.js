/** Draw learning curves: one chart for each metric, with training solid and validation dashed. */

import { make, say, showNumber } from "./answers.js";

const HEIGHT = 220;
const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3]];

/**
 * @typedef {object} Curve a line of a chart
 * @property {string} label
 * @property {(number | null)[]} values
 * @property {number} [color] from 1 to 4
 * @property {number} [dash] the index of a pattern
 * @property {boolean} [isFaint] whether it stands behind another one
 */

export class Chart {
  /**
   * @param {Element} place
   * @param {string} title
   * @param {string} sync the charts with this key share one cursor
   */
  constructor(place, title, sync) {
    this.title = title;
    this.sync = sync;
    this.keys = make("ul", { class: "keys" });
    this.canvas = make("div", { role: "application", tabindex: "0" });
    this.figure = make("figure", { class: "chart" }, make("h3", { translate: "no" }, title), this.keys, this.canvas);
    place.append(this.figure);
    this.canvas.addEventListener("keydown", (event) => this.#move(event));
    new ResizeObserver(() => this.plot?.setSize({ width: this.canvas.clientWidth, height: HEIGHT })).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#rebuild());
  }

  /** Draw. @param {number[]} epochs @param {Curve[]} curves */
  draw(epochs, curves) {
    const isSame = this.plot && this.curves.map((one) => one.label).join("\n") === curves.map((one) => one.label).join("\n");
    this.epochs = epochs;
    this.curves = curves;
    if (isSame) this.plot.setData([epochs, ...curves.map((curve) => curve.values)]);
    else this.#rebuild();
    this.canvas.setAttribute("aria-label", say("chart.label", { metric: this.title, epochs: epochs.length }));
    this.#read(this.plot.cursor.idx ?? epochs.length - 1);
  }

  #rebuild() {
    if (!this.curves) return;
    this.plot?.destroy();
    const ink = resolve(this.canvas, "--muted"), line = resolve(this.canvas, "--line");
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui, sans-serif" };
    const colors = this.curves.map((curve) => resolve(this.canvas, `--series-${curve.color ?? 1}`));
    this.plot = new uPlot({
      width: this.canvas.clientWidth || 320,
      height: HEIGHT,
      scales: { x: { time: false } },
      axes: [{ ...axis, size: 28, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000] }, { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => String(Number(tick.toPrecision(4)))) }],
      cursor: { sync: { key: this.sync }, points: { size: 6 }, drag: { x: true, y: false } },
      series: [{}, ...this.curves.map((curve, index) => ({
        label: curve.label, stroke: colors[index], width: curve.isFaint ? 1 : 2, alpha: curve.isFaint ? 0.5 : 1, dash: DASHES[curve.dash ?? 0], points: { show: this.epochs.length < 3 },
      }))],
      hooks: { setCursor: [(plot) => this.#read(plot.cursor.idx ?? this.epochs.length - 1)] },
    }, [this.epochs, ...this.curves.map((curve) => curve.values)], this.canvas);
    this.keys.replaceChildren(...this.curves.map((curve, index) => {
      const sample = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      sample.setAttribute("aria-hidden", "true");
      const path = document.createElementNS("http://www.w3.org/2000/svg", "line");
      for (const [key, value] of Object.entries({ x1: 0, y1: 6, x2: 24, y2: 6, stroke: colors[index], "stroke-width": 2, "stroke-dasharray": DASHES[curve.dash ?? 0].join(" ") })) path.setAttribute(key, String(value));
      sample.append(path);
      return make("li", {}, sample, make("span", { translate: "no" }, curve.label), make("output", {}, "–"));
    }));
  }

  /** Show the values at an index. @param {number} index */
  #read(index) {
    if (index < 0 || !this.keys.children.length) return;
    this.curves.forEach((curve, place) => {
      const value = curve.values[index] ?? (index === this.epochs.length - 1 ? curve.values.findLast((one) => one !== null) : null);
      this.keys.children[place].querySelector("output").textContent = showNumber(value);
    });
  }

  /** Move the cursor by the keyboard, and say the values. @param {KeyboardEvent} event */
  #move(event) {
    const last = this.epochs.length - 1, now = this.plot.cursor.idx ?? last, page = Math.max(1, Math.round(last / 10));
    const next = { ArrowLeft: now - 1, ArrowRight: now + 1, PageUp: now - page, PageDown: now + page, Home: 0, End: last }[event.key];
    if (next === undefined || last < 0) return;
    event.preventDefault();
    const index = Math.min(last, Math.max(0, next));
    this.plot.setCursor({ left: this.plot.valToPos(this.epochs[index], "x"), top: 20 });
    this.#read(index);
    const values = this.curves.map((curve) => `${curve.label} ${showNumber(curve.values[index])}`).join(", ");
    document.getElementById("said").textContent = `${say("chart.epoch", { epoch: this.epochs[index] })}: ${values}`;
  }
}

/** Group the metrics of a job: those of training and of validation with one name share a chart. @param {Record<string, (number | null)[]>} metrics */
export function groupMetrics(metrics) {
  const groups = new Map();
  const names = Object.keys(metrics).sort((one, other) => isLoss(other) - isLoss(one)); // the loss comes first
  for (const name of names) {
    const values = metrics[name];
    const isValidation = name.startsWith("val_"), base = isValidation ? name.slice(4) : name;
    if (!groups.has(base)) groups.set(base, []);
    groups.get(base).push({ label: name, values, color: isValidation ? 2 : 1, dash: isValidation ? 1 : 0 });
  }
  return groups;
}

/** @param {string} name */
function isLoss(name) {
  return name === "loss" || name === "val_loss";
}

/**
 * Return a curve, faint, and its exponential moving average, which begins without a bias towards 0.
 * Source: Kingma and Ba, 2015, arXiv:1412.6980, section 3.
 * @param {Curve} curve
 * @param {number} decay from 0 to 1
 */
export function smoothCurve(curve, decay) {
  let sum = 0, weight = 0;
  const values = curve.values.map((value) => {
    if (value === null) return null;
    sum = decay * sum + (1 - decay) * value;
    weight = decay * weight + (1 - decay);
    return sum / weight;
  });
  return [{ ...curve, isFaint: true, dash: 0 }, { ...curve, values, label: say("chart.smoothed", { name: curve.label }) }];
}

/** Return a colour of the stylesheet as the browser computes it. @param {Element} place @param {string} name */
function resolve(place, name) {
  const probe = make("span");
  probe.style.color = `var(${name})`;
  place.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}
