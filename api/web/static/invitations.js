/** Invite people with a table, show their links, and withdraw invitations. */

import { call } from "./answers.js";
import { attempt } from "./dialogs.js";
import { showSecret } from "./secrets.js";

/**
 * Call the API and show the page again.
 * @param {Element} place @param {string} path @param {string} method @param {object} [json]
 * @returns {Promise<boolean>} whether it succeeded
 */
export function change(place, path, method, json) {
  return attempt(place, async () => {
    await call(path, { method, json });
    location.reload();
  });
}

/**
 * Let the form and the buttons of the page work.
 * @param {Element} place @param {Element} links @param {string} [project] that of who names none
 */
export function enableInvitations(place, links, project) {
  const form = document.querySelector("[data-invite]");
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(place, async () => {
      const query = project ? `?project=${encodeURIComponent(project)}` : "";
      const { invitations } = await call(`/api/v1/invitations${query}`, {
        method: "POST",
        body: form.elements.table.value,
        headers: { "Content-Type": "text/csv" },
      });
      showSecret(links, invitations.map(({ login, link }) => `${login}\t${link ?? "–"}`).join("\n"));
    });
  });
  for (const button of document.querySelectorAll("[data-withdraw]")) {
    button.hidden = false;
    button.addEventListener("click", () => change(place, `/api/v1/invitations/${button.dataset.withdraw}`, "DELETE"));
  }
}
