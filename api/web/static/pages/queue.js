/** The queue: when a job begins, ends or moves, the parts of the page are fetched again. */

import { locate, showLocalTimes } from "../answers.js";
import { Stream } from "../live.js";
import { onMoves, refreshParts } from "../parts.js";

const refresh = refreshParts(["[data-part=waiting]", "[data-part=workers]"], showLocalTimes);

new Stream({
  address: () => locate("/api/v1/events"),
  indicator: document.querySelector("[data-live]"),
  handlers: onMoves(refresh),
  refresh,
});
