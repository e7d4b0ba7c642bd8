/** The home page: the running jobs move, and the rest is fetched again when a job begins or ends. */

import { locate, showLocalTimes } from "../answers.js";
import { Stream } from "../live.js";
import { onMoves, refreshParts } from "../parts.js";

const refresh = refreshParts(["[data-parts]"], showLocalTimes);

function step(job) {
  const shown = document.querySelector(`[data-running] [data-job="${CSS.escape(job.id)}"] progress`);
  if (shown && job.progress) shown.value = job.progress.percent;
}

new Stream({
  address: () => locate("/api/v1/events"),
  indicator: document.querySelector("[data-live]"),
  handlers: onMoves(refresh, step),
  refresh,
});
