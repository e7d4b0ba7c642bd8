/** Show what is shown only once: a key or links. */

import { announce, say } from "./answers.js";

/**
 * Show a secret in its place, and let its button copy it.
 * @param {HTMLElement} place with `[data-key]` and `[data-copy]`
 * @param {string} text
 */
export function showSecret(place, text) {
  place.querySelector("[data-key]").textContent = text;
  place.hidden = false;
  place.focus();
  const button = place.querySelector("[data-copy]");
  button.hidden = !navigator.clipboard; // only under HTTPS and on localhost
  button.onclick = async () => {
    await navigator.clipboard.writeText(text);
    announce(say("access.script.copied"));
    button.textContent = say("access.script.copied");
  };
}
