/** The evaluation: the confusion matrix is walked by the keyboard. */
import "../answers.js";
import { navigate } from "../grid.js";

const table = document.querySelector("[data-grid]");
if (table) navigate(table);
