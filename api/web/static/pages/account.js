/** One's keys: create and revoke them, and sign out. */

import { call, locate, say } from "../answers.js";
import { askAbout, attempt } from "../dialogs.js";
import { offerIdentity } from "../identity.js";
import { showSecret } from "../secrets.js";

const place = document.querySelector("[data-problem]");
const form = document.querySelector("[data-create]");
const out = document.querySelector("[data-sign-out]");

offerIdentity(place, () => ({ connect: true, next: locate("/ui/account") }));
for (const button of document.querySelectorAll("[data-disconnect]")) {
  button.hidden = false;
  button.addEventListener("click", () => attempt(place, async () => {
    await call("/api/v1/me/identity", { method: "DELETE" });
    location.reload();
  }));
}

form.hidden = false;
out.hidden = false;
out.addEventListener("click", () => attempt(place, async () => {
  await call("/api/v1/sessions/current", { method: "DELETE" });
  location.assign(locate("/ui/sign-in"));
}));

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  const models = String(fields.get("models")).split(/[\s,]+/).filter(Boolean);
  attempt(place, async () => {
    const made = await call("/api/v1/keys", {
      method: "POST",
      json: {
        name: fields.get("name"),
        scopes: models.length ? ["predict"] : fields.getAll("scopes"),
        ...(models.length ? { models } : {}),
        expires_at: new Date(Date.now() + Number(fields.get("days")) * 86_400_000).toISOString(),
      },
    });
    form.reset();
    showSecret(document.querySelector("[data-made]"), made.key);
  });
});

for (const button of document.querySelectorAll("[data-revoke]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const title = say("access.script.revoke_title", { name: button.dataset.name });
    if (!await askAbout(title, say("access.script.revoke_text"), button.textContent)) return;
    attempt(place, async () => {
      await call(`/api/v1/keys/${button.dataset.revoke}`, { method: "DELETE" });
      location.reload();
    });
  });
}
