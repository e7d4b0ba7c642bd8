/** Inside of a version: the weights of a layer, and its feature maps for an image. */

import { announce, call, data, fetchImage, make, say, showNumber } from "../answers.js";
import { attempt } from "../dialogs.js";

const part = document.querySelector("[data-maps]");
if (part) {
  const picture = part.querySelector("[data-picture]"), place = document.querySelector("[data-problem]");
  const path = `/api/v1/models/${encodeURIComponent(data.model)}/versions/${data.number}/layers/${encodeURIComponent(data.layer)}/feature-maps.png`;
  const theme = document.documentElement.dataset.theme === "system"
    ? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light") : document.documentElement.dataset.theme;
  let turns = 0;
  part.hidden = false;

  /** Draw the feature maps of an image. @param {Blob} image */
  const draw = (image) => attempt(place, async () => {
    const turn = ++turns;
    part.setAttribute("aria-busy", "true");
    try {
      const answer = await call(`${path}?theme=${theme}`, { method: "POST", body: image, headers: { "Content-Type": image.type || "application/octet-stream" } });
      const content = await answer.blob(), old = picture.src;
      if (turn !== turns) return; // another image was chosen meanwhile
      picture.src = URL.createObjectURL(content);
      if (old) URL.revokeObjectURL(old);
      picture.hidden = false;
      announce(say("inside.script.drawn"));
    } finally {
      part.removeAttribute("aria-busy");
    }
  });

  part.querySelector("[data-file]").addEventListener("change", ({ target }) => target.files[0] && draw(target.files[0]));
  for (const button of part.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", () => attempt(place, async () => draw(await fetchImage(button.dataset.sample))));
  }
}

const weights = document.querySelector("[data-weights]");
if (weights) {
  weights.setAttribute("aria-busy", "true");
  attempt(document.querySelector("[data-problem]"), async () => {
    const { arrays } = await call(`/api/v1/models/${encodeURIComponent(data.model)}/versions/${data.number}/layers/${encodeURIComponent(data.layer)}/weights`);
    weights.replaceChildren(...arrays.map(showArray));
  }).finally(() => weights.removeAttribute("aria-busy"));
}

/** Show an array of weights: its statistics, its histogram, and the numbers if they are few. */
function showArray({ name, shape, min, max, mean, std, counts, values }) {
  const facts = say("inside.script.array", { shape: shape.join(" × "), min: showNumber(min), max: showNumber(max), mean: showNumber(mean), std: showNumber(std) });
  const box = make("div", { class: "stack" }, make("h3", { translate: "no" }, name), make("p", { class: "small muted" }, facts), drawHistogram(name, counts));
  const rows = values === null || shape.length > 2 ? [] : shape.length === 2 ? values : [[values].flat()];
  if (rows.length && rows.length <= 64 && rows[0].length <= 64) {
    const table = make("table", { class: "small" }, make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((value) => make("td", { class: "number" }, showNumber(value)))))));
    box.append(make("details", {}, make("summary", {}, say("inside.script.numbers")), make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": name }, table)));
  }
  return box;
}

/** Draw a histogram. @param {string} name @param {number[]} counts */
function drawHistogram(name, counts) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const most = Math.max(...counts, 1);
  for (const [key, value] of Object.entries({ viewBox: `0 0 ${counts.length * 8} 80`, class: "histogram", role: "img", "aria-label": say("inside.script.histogram", { name }) })) svg.setAttribute(key, value);
  counts.forEach((count, place) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = (78 * count) / most;
    for (const [key, value] of Object.entries({ x: place * 8 + 1, y: 79 - height, width: 6, height })) bar.setAttribute(key, String(value));
    svg.append(bar);
  });
  return svg;
}
