/** A data set: it can be deleted, after a question. */

import { call, data, locate } from "../answers.js";
import { ask, attempt } from "../dialogs.js";

const button = document.querySelector("[data-delete]");
if (button) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const dialog = document.querySelector("[data-ask]");
    if (!await ask(dialog)) return;
    const query = dialog.querySelector("[name=keep]").checked ? "?versions=keep" : "";
    attempt(document.querySelector("[data-problem]"), async () => {
      await call(`/api/v1/datasets/${encodeURIComponent(data.reference)}${query}`, { method: "DELETE" });
      location.assign(locate("/ui/datasets"));
    });
  });
}
