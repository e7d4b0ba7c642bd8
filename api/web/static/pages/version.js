/** A version: whether it still answers as it did, whether it can be trained again, and its exports. */

import { call, data, locate, say } from "../answers.js";
import { attempt } from "../dialogs.js";

const path = `/api/v1/models/${encodeURIComponent(data.model)}/versions/${data.number}`;
const place = document.querySelector("[data-problem]");
const verdict = document.querySelector("[data-verdict]");
document.querySelector("[data-actions]").hidden = false;

document.querySelector("[data-test]").addEventListener("click", ({ target }) => attempt(place, async () => {
  target.disabled = true;
  verdict.textContent = say("version.script.testing");
  try {
    const { passed, samples, difference, detail } = await call(`${path}/self-test`);
    verdict.textContent = passed
      ? say("version.script.passed", { samples, difference: Number((difference ?? 0).toPrecision(2)) })
      : `${say("version.script.failed")} ${detail ?? ""}`;
    verdict.className = passed ? "good-ink" : "bad-ink";
  } catch (problem) {
    verdict.textContent = "";
    throw problem;
  } finally {
    target.disabled = false;
  }
}));

document.querySelector("[data-again]")?.addEventListener("click", () => attempt(place, async () => {
  const job = await call(`${path}/reproduction`, { method: "POST" });
  location.assign(locate(`/ui/jobs/${job.id}`));
}));

for (const button of document.querySelectorAll("[data-export]")) {
  button.hidden = false;
  button.addEventListener("click", () => attempt(place, async () => {
    const job = await call(`${path}/exports`, { method: "POST", json: { format: button.dataset.export } });
    location.assign(locate(`/ui/jobs/${job.id}`));
  }));
}
