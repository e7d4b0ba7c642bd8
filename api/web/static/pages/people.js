/** The users: invite, change, disable and reset them. */

import { call, say } from "../answers.js";
import { askAbout, attempt } from "../dialogs.js";
import { change, enableInvitations } from "../invitations.js";
import { showSecret } from "../secrets.js";

const place = document.querySelector("[data-problem]");
const links = document.querySelector("[data-links]");

enableInvitations(place, links);
for (const actions of document.querySelectorAll("[data-actions]")) actions.hidden = false;
for (const button of document.querySelectorAll("[data-admin], [data-disable]")) {
  const { admin, disable, value } = button.dataset;
  const login = admin ?? disable;
  const json = { [admin === undefined ? "disabled" : "admin"]: value === "true" };
  button.addEventListener("click", async () => {
    const text = say(`access.script.${Object.entries(json)[0].join("_")}`);
    const isSure = await askAbout(say("access.script.change_title", { login }), text, button.textContent);
    if (isSure) await change(place, `/api/v1/users/${encodeURIComponent(login)}`, "PATCH", json);
  });
}
for (const button of document.querySelectorAll("[data-reset]")) {
  button.addEventListener("click", () => attempt(place, async () => {
    const { login, link } = await call(`/api/v1/users/${encodeURIComponent(button.dataset.reset)}/reset`, { method: "POST" });
    showSecret(links, `${login}\t${link}`);
  }));
}
