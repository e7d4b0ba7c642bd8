/** The list of jobs: it is fetched again when a job changes, and two to eight jobs are compared. */

import { locate, make, showLocalTimes } from "../answers.js";
import { Stream } from "../live.js";
import { onMoves, refreshParts } from "../parts.js";

const chosen = new Set();
const boxes = () => document.querySelectorAll("[data-compare] input[type=checkbox]");

/** Let people choose two to eight jobs. */
function limit() {
  const button = document.querySelector("[data-compare] button[type=submit]");
  if (button) button.disabled = chosen.size < 2;
  for (const box of boxes()) {
    box.checked = chosen.has(box.value);
    box.disabled = chosen.size >= 8 && !box.checked;
  }
}

document.addEventListener("change", ({ target }) => {
  if (!target.matches("[data-compare] input[type=checkbox]")) return;
  if (target.checked) chosen.add(target.value);
  else chosen.delete(target.value);
  limit();
});

const refresh = refreshParts(["[data-compare]"], showLocalTimes);
const again = () => refresh().then(limit);

function step(job) {
  const cell = document.querySelector(`[data-job="${CSS.escape(job.id)}"] [data-progress-cell]`);
  if (!cell || !job.progress || !["running", "stopping", "cancelling"].includes(job.status)) return;
  if (!cell.firstElementChild) cell.append(make("progress", { max: "100", "aria-label": job.model }));
  cell.firstElementChild.value = job.progress.percent;
}

limit();

new Stream({
  address: () => locate("/api/v1/events"),
  indicator: document.querySelector("[data-live]"),
  handlers: onMoves(again, step),
  refresh: again,
});
