/** Sign the browser in with a key or the OpenID provider, and show the page that was asked for. */

import { call, locate } from "../answers.js";
import { attempt } from "../dialogs.js";
import { offerIdentity } from "../identity.js";

offerIdentity(document.querySelector("[data-problem]"), () => ({ next: new URLSearchParams(location.search).get("next") ?? "" }));

const form = document.querySelector("[data-sign-in]");
const place = document.querySelector("[data-problem]");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(place, async () => {
    await call("/api/v1/sessions", { method: "POST", json: { key: form.elements.key.value.trim() } });
    const next = new URL(new URLSearchParams(location.search).get("next") ?? "", location.origin);
    const isPage = next.origin === location.origin && next.pathname.startsWith(locate("/ui/"));
    location.assign(isPage ? next.href : locate("/ui/"));
  });
});
