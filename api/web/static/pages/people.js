/** The users: invite, change, disable and reset them. */

import { call } from "../answers.js";
import { attempt } from "../dialogs.js";
import { showSecret } from "../secrets.js";

const place = document.querySelector("[data-problem]");
const links = document.querySelector("[data-links]");
const form = document.querySelector("[data-invite]");

/** Call the API and show the page again. @param {string} path @param {string} method @param {object} [json] */
function change(path, method, json) {
  return attempt(place, async () => {
    await call(path, { method, json });
    location.reload();
  });
}

form.hidden = false;
form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(place, async () => {
    const { invitations } = await call("/api/v1/invitations", {
      method: "POST",
      body: form.elements.table.value,
      headers: { "Content-Type": "text/csv" },
    });
    showSecret(links, invitations.map(({ login, link }) => `${login}\t${link ?? "–"}`).join("\n"));
  });
});

for (const actions of document.querySelectorAll("[data-actions]")) actions.hidden = false;
for (const select of document.querySelectorAll("[data-role]")) {
  select.disabled = false;
  const before = select.value;
  select.addEventListener("change", async () => {
    const path = `/api/v1/users/${encodeURIComponent(select.dataset.role)}`;
    if (!await change(path, "PATCH", { role: select.value })) select.value = before;
  });
}
for (const button of document.querySelectorAll("[data-disable]")) {
  const path = `/api/v1/users/${encodeURIComponent(button.dataset.disable)}`;
  button.addEventListener("click", () => change(path, "PATCH", { disabled: button.dataset.value === "true" }));
}
for (const button of document.querySelectorAll("[data-reset]")) {
  button.addEventListener("click", () => attempt(place, async () => {
    const { login, link } = await call(`/api/v1/users/${encodeURIComponent(button.dataset.reset)}/reset`, { method: "POST" });
    showSecret(links, `${login}\t${link}`);
  }));
}
for (const button of document.querySelectorAll("[data-withdraw]")) {
  button.hidden = false;
  button.addEventListener("click", () => change(`/api/v1/invitations/${button.dataset.withdraw}`, "DELETE"));
}
