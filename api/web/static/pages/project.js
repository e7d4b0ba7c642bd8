/** A project: who is in it, and with which role. */

import { say } from "../answers.js";
import { askAbout } from "../dialogs.js";
import { change, enableInvitations } from "../invitations.js";
import { enableQuotas } from "../quotas.js";

const place = document.querySelector("[data-problem]");
const links = document.querySelector("[data-links]");
const name = document.querySelector("h1").textContent;
const project = `/api/v1/projects/${encodeURIComponent(name)}`;

if (links) enableInvitations(place, links, name);
for (const select of document.querySelectorAll("[data-member]")) {
  select.disabled = false;
  const before = select.value;
  select.addEventListener("change", async () => {
    const path = `${project}/members/${encodeURIComponent(select.dataset.member)}`;
    if (!await change(place, path, "PUT", { role: select.value })) select.value = before;
  });
}
for (const button of document.querySelectorAll("[data-remove]")) {
  button.hidden = false;
  const login = button.dataset.remove;
  button.addEventListener("click", async () => {
    const title = say("access.script.remove_title", { login });
    const isSure = await askAbout(title, say("access.script.remove_text"), button.textContent);
    if (isSure) await change(place, `${project}/members/${encodeURIComponent(login)}`, "DELETE");
  });
}
for (const button of document.querySelectorAll("[data-archive]")) {
  button.hidden = false;
  const method = button.dataset.archive;
  button.addEventListener("click", async () => {
    const text = say(`access.script.archive_${method}`);
    if (await askAbout(button.textContent, text, button.textContent)) await change(place, `${project}/archive`, method);
  });
}
enableQuotas(place, `${project}/quotas`);
