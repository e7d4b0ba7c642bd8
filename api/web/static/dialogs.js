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
