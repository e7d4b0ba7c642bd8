/** The evaluation: the confusion matrix is walked by the keyboard, and baselines and evaluations on other rows are begun. */
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

const form = document.querySelector("[data-further]");
form.hidden = false;
form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(document.querySelector("[data-further-problem]"), async () => {
    const path = `/api/v1/models/${encodeURIComponent(data.model)}/versions/${data.number}/evaluations`;
    const json = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
    const job = await call(path, { method: "POST", json });
    location.assign(locate(`/ui/jobs/${job.id}`));
  });
});
