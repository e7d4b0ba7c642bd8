/** Ask before something is lost, and show the problem of an action that fails. */

import { Problem, showProblem } from "./answers.js";

/**
 * Ask in a dialog. Returns whether the answer is yes. The focus goes back to where it was.
 * @param {HTMLDialogElement} dialog whose buttons have the values `yes` and `no`
 */
export function ask(dialog) {
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}

/**
 * Ask in the dialog of the page. Returns whether the answer is yes.
 * @param {string} title @param {string} text @param {string} yes what the button says
 */
export function askAbout(title, text, yes) {
  const dialog = document.querySelector("[data-ask]");
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector("[data-text]").textContent = text;
  dialog.querySelector("[data-yes]").textContent = yes;
  return ask(dialog);
}

/**
 * Run an action. A problem is shown in its place and returned as false.
 * @param {Element} place
 * @param {() => Promise<void>} action
 */
export async function attempt(place, action) {
  try {
    showProblem(place, null);
    await action();
    return true;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    showProblem(place, problem);
    place.scrollIntoView({ block: "nearest" });
    return false;
  }
}
