/** The form with the quotas of a user or a project. */

import { change } from "./invitations.js";

/** Make the form of a page replace the quotas at `path`, if the page has one. An empty field is no limit. */
export function enableQuotas(place, path) {
  const form = document.querySelector("[data-quotas]");
  if (!form) return;
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = [...new FormData(form)].filter(([, most]) => most !== "");
    change(place, path, "PUT", Object.fromEntries(given.map(([kind, most]) => [kind, Number(most)])));
  });
}
