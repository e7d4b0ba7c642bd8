/** Losses and activations: compute the loss of labels and outputs that are typed in. */

import { Problem, call, say } from "../answers.js";
import { attempt } from "../dialogs.js";

const form = document.querySelector("[data-compute]");
const place = document.querySelector("[data-problem]");
const total = document.querySelector("[data-loss]");
const rows = document.querySelector("[data-rows]");
form.hidden = false;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(place, async () => {
    total.textContent = rows.textContent = "";
    const { loss, base, y_true, y_pred, arguments: options } = form.elements;
    const answer = await call(`/api/v1/catalog/losses/${loss.value}`, {
      method: "POST",
      json: {
        y_true: read(y_true),
        y_pred: read(y_pred),
        arguments: read(options),
        log_base: base.value ? Number(base.value) : null,
      },
    });
    total.textContent = say("functions.script.mean", { loss: show(answer.loss) });
    rows.textContent = say("functions.script.rows", { rows: answer.rows.slice(0, 20).map(show).join(", ") });
  });
});

/** Return the JSON of a field. Throws a Problem. @param {HTMLTextAreaElement | HTMLInputElement} field */
function read(field) {
  try {
    return JSON.parse(field.value);
  } catch (error) {
    throw new Problem({ title: say("functions.script.unreadable", { field: field.name }), detail: error.message });
  }
}

/** Show seven digits, as Keras does. @param {number} value */
function show(value) {
  return String(Number(value.toPrecision(7)));
}
