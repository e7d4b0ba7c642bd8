/** A model: its description, its aliases, and versions that are deleted. */

import { call, data, locate, say } from "../answers.js";
import { ask, attempt } from "../dialogs.js";

const path = `/api/v1/models/${encodeURIComponent(data.model)}`;
const place = document.querySelector("[data-problem]");
const dialog = document.querySelector("[data-ask]");
const form = document.querySelector("[data-describe]");

function question(title, text, yes, isLoss = true) {
  dialog.querySelector("[data-yes]").classList.toggle("danger", isLoss);
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector("[data-text]").textContent = text;
  dialog.querySelector("[data-yes]").textContent = yes;
  return ask(dialog);
}

if (data.may_manage) {
  for (const cell of document.querySelectorAll("[data-actions], [data-unset]")) cell.hidden = false;
  form.hidden = false;
  document.querySelector("[data-description]").hidden = true;
  document.querySelector("[data-alias]").hidden = false;
}
form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(place, async () => {
    await call(path, { method: "PATCH", json: { description: new FormData(form).get("description") } });
    location.reload();
  });
});

const aliases = document.querySelector("[data-alias]");
aliases.addEventListener("submit", (event) => {
  event.preventDefault();
  const fields = new FormData(aliases);
  attempt(place, async () => {
    await call(`${path}/aliases/${encodeURIComponent(fields.get("alias"))}`, { method: "PUT", json: { version: Number(fields.get("version")) } });
    location.reload();
  });
});
for (const button of document.querySelectorAll("[data-unset]")) {
  button.addEventListener("click", async () => {
    const alias = button.dataset.unset;
    if (!await question(say("model.script.unset_title", { alias }), say(alias === "production" ? "model.script.unset_production" : "model.script.unset_text"), say("model.script.unset"))) return;
    attempt(place, async () => {
      await call(`${path}/aliases/${encodeURIComponent(alias)}`, { method: "DELETE" });
      location.reload();
    });
  });
}

document.addEventListener("click", async ({ target }) => {
  const { production, delete: number } = target.dataset ?? {};
  if (production && await question(say("model.script.move_title", { version: production }), say("model.script.move_text"), say("model.script.move"), false)) {
    attempt(place, async () => {
      await call(`${path}/aliases/production`, { method: "PUT", json: { version: Number(production) } });
      location.reload();
    });
  }
  if (number && await question(say("model.script.delete_title", { version: number }), say("model.script.delete_text"), say("model.script.delete"))) {
    attempt(place, async () => {
      await call(`${path}/versions/${number}`, { method: "DELETE" });
      const isLast = document.querySelectorAll("[data-delete]").length === 1;
      if (isLast) location.assign(locate("/ui/models"));
      else location.reload();
    });
  }
});
