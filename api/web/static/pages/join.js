/** Accept an invitation. Its token is never in the address that is sent. */

import { call, say } from "../answers.js";
import { attempt } from "../dialogs.js";
import { offerIdentity } from "../identity.js";
import { showSecret } from "../secrets.js";

const place = document.querySelector("[data-problem]");
const button = document.querySelector("[data-accept]");

/** Tell what the invitation gives: a browser sends what stands behind `#` only here. */
function tell() {
  return attempt(place, async () => {
    const found = await call("/api/v1/invitations/preview", { method: "POST", json: { token: location.hash.slice(1) } });
    const kind = found.is_reset ? "invited_again" : found.role === "admin" ? "invited_admin" : "invited";
    const { login, project } = found;
    const text = document.querySelector("[data-invitation]");
    text.textContent = say(`access.script.${kind}`, { login, project, role: say(`access.script.role.${found.role}`) });
    text.hidden = false;
  });
}

offerIdentity(place, () => ({ invitation: location.hash.slice(1) }));

if (location.hash.length < 2) {
  for (const one of document.querySelectorAll("[data-invited] button")) one.disabled = true;
  document.querySelector("[data-cut]").hidden = false;
} else if (!await tell()) {
  for (const one of document.querySelectorAll("[data-invited] button")) one.hidden = true;
}

button.addEventListener("click", async () => {
  button.disabled = true;
  const isDone = await attempt(place, async () => {
    const { user, key } = await call("/api/v1/invitations/acceptance", { method: "POST", json: { token: location.hash.slice(1) } });
    history.replaceState(null, "", location.pathname); // the link is used
    document.querySelector("[data-invited]").hidden = true;
    const accepted = document.querySelector("[data-accepted]");
    accepted.querySelector("h2").textContent = say("access.script.welcome", { login: user.login });
    showSecret(accepted, key.key);
  });
  if (!isDone) button.disabled = false;
});
