/** Begin a sign-in with the OpenID provider of the service: the browser goes there, and comes back. */

import { call } from "./answers.js";
import { attempt } from "./dialogs.js";

/** Make the button of a page begin a sign-in. `describe` returns what `POST /api/v1/sessions/oidc` is sent. */
export function offerIdentity(place, describe) {
  const button = document.querySelector("[data-identity-begin]");
  button?.addEventListener("click", async () => {
    button.disabled = true;
    const isDone = await attempt(place, async () => {
      const { location: address } = await call("/api/v1/sessions/oidc", { method: "POST", json: describe() });
      location.assign(address);
    });
    if (!isDone) button.disabled = false;
  });
  globalThis.addEventListener("pageshow", () => { if (button) button.disabled = false; }); // of the button `back`
}
