/** The projects: create one. */

import { call } from "../answers.js";
import { attempt } from "../dialogs.js";

const place = document.querySelector("[data-problem]");
const form = document.querySelector("[data-create]");

if (form) {
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(place, async () => {
      const { name, description } = form.elements;
      const path = `/api/v1/projects/${encodeURIComponent(name.value)}`;
      await call(path, { method: "PUT", json: description.value ? { description: description.value } : {} });
      location.reload();
    });
  });
}
