/** The evaluation: the confusion matrix is walked by the keyboard, and the baselines are computed. */
import { call, data, locate } from "../answers.js";
import { attempt } from "../dialogs.js";
import { navigate } from "../grid.js";

const table = document.querySelector("[data-grid]");
if (table) navigate(table);

const button = document.querySelector("[data-baselines]");
if (button) {
  button.hidden = false;
  button.addEventListener("click", () => attempt(document.querySelector("[data-problem]"), async () => {
    const path = `/api/v1/models/${encodeURIComponent(data.model)}/versions/${data.number}/baselines`;
    const job = await call(path, { method: "POST" });
    location.assign(locate(`/ui/jobs/${job.id}`));
  }));
}
