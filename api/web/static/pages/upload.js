/** Upload a data set, and tell how much of it is sent. */

import { announce, data, locate, make, Problem, say, showProblem } from "../answers.js";
import { guessRoles, readSample } from "../table_sample.js";

const form = document.querySelector("[data-upload]");
const place = document.querySelector("[data-problem]");
const sending = document.querySelector("[data-sending]");
const [bar, line] = [sending.querySelector("progress"), sending.querySelector("p")];
const drop = document.querySelector("[data-drop]");
let request = null;

drop.addEventListener("dragover", (event) => event.preventDefault());
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) {
    form.file.files = event.dataTransfer.files;
    suggestName();
  }
});
form.file.addEventListener("change", suggestName);
addEventListener("beforeunload", (event) => request && event.preventDefault());

const ROLES = ["number", "one-hot", "text", "leave_out", "label", "weight"];
const chooser = document.querySelector("[data-columns]");

/** Show the columns of a table, with a guess of what each is for. */
async function showColumns() {
  chooser.replaceChildren();
  chooser.hidden = true;
  const [file] = form.file.files;
  if (!file || !/\.(csv|tsv|txt)$/i.test(file.name)) return;
  const sample = await readSample(file, form.elements.encoding.value);
  if (!sample || sample.names.length > 200) return;
  const columns = sample.names.map((_, index) => sample.rows.map((row) => row[index]));
  const guesses = guessRoles(sample.names, columns);
  const rows = sample.names.map((name, index) => {
    const cells = columns[index], { role, hasMissing } = guesses[index];
    const select = make("select", { "aria-label": say("upload.script.role_of", { name }) }, ...ROLES.map((one) => make("option", { value: one }, say(`upload.script.role.${one}`))));
    select.value = role;
    const fill = make("select", { "aria-label": say("upload.script.fill_of", { name }) }, ...["", "median", "mean", "most-frequent"].map((one) => make("option", { value: one }, say(`upload.script.fill.${one || "none"}`))));
    fill.value = { number: hasMissing ? "median" : "", "one-hot": hasMissing ? "most-frequent" : "" }[role] ?? "";
    const shown = cells.slice(0, 3).map((cell) => cell || "–").join(", ");
    return make("tr", { "data-name": name }, make("th", { scope: "row", translate: "no" }, name || "–"), make("td", { class: "small muted", translate: "no", "data-label": say("upload.script.cells") }, shown.slice(0, 60)), make("td", { "data-label": say("upload.script.role") }, select), make("td", { "data-label": say("upload.script.fill") }, fill));
  });
  const head = ["column", "cells", "role", "fill"].map((key) => make("th", { scope: "col" }, say(`upload.script.${key}`)));
  chooser.append(
    make("h3", {}, say("upload.script.columns")), make("p", { class: "small muted" }, say("upload.script.columns_text")),
    make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": say("upload.script.columns") }, make("table", { class: "list" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows))),
  );
  chooser.hidden = false;
}

/** Add what was chosen for the columns to the fields, unless it is written by hand. @param {FormData} fields */
function addColumns(fields) {
  if (chooser.hidden || ["label", "leave_out", "weight", "text", "columns"].some((key) => fields.has(key))) return;
  const options = {}, hasText = [...chooser.querySelectorAll("select")].some((select) => select.value === "text");
  for (const row of chooser.querySelectorAll("[data-name]")) {
    const { name } = row.dataset, [role, fill] = [...row.querySelectorAll("select")].map((select) => select.value);
    if (!name) continue;
    if (role === "leave_out") fields.append("leave_out", name);
    else if (role === "label" || role === "weight" || role === "text") fields.set(role, name);
    else if (hasText) continue; // a text is the only input
    else if (role === "one-hot") options[name] = fill ? { encode: "one-hot", fill } : "one-hot";
    else if (fill) options[name] = { fill };
  }
  if (Object.keys(options).length) fields.append("columns", JSON.stringify(options));
}

form.elements.encoding.addEventListener("change", showColumns);
chooser.addEventListener("change", ({ target }) => {
  if (!["label", "weight", "text"].includes(target.value)) return;
  for (const other of chooser.querySelectorAll("select")) {
    if (other !== target && other.value === target.value) other.value = "number"; // there is one of each
  }
});

/** Propose a name by that of the file, and show its columns. */
function suggestName() {
  const [file] = form.file.files;
  showColumns();
  if (!file || form.elements.name.value) return;
  form.elements.name.value = file.name.replace(/\.[^.]*$/, "").toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/^[^a-z0-9]+/, "").slice(0, 100);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (request) return;
  const [file] = form.file.files;
  if (file.size > data.bytes) {
    showProblem(place, new Problem({ title: say("upload.script.too_large"), detail: "" }));
    return;
  }
  const fields = new FormData();
  for (const [key, value] of new FormData(form)) {
    if (key === "leave_out") for (const name of value.split(",").map((one) => one.trim()).filter(Boolean)) fields.append(key, name);
    else if (value !== "") fields.append(key, value);
  }
  addColumns(fields);
  send(fields);
});

function send(fields) {
  const startedAt = performance.now();
  showProblem(place, null);
  sending.hidden = false;
  request = new XMLHttpRequest();
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    bar.value = (100 * loaded) / total;
    const left = Math.ceil((((performance.now() - startedAt) / 1000) * (total - loaded)) / Math.max(loaded, 1));
    line.textContent = loaded < total
      ? say("upload.script.sending", { percent: Math.floor((100 * loaded) / total), seconds: left })
      : say("upload.script.checking");
  });
  request.addEventListener("loadend", () => {
    const { status, responseText } = request;
    request = null;
    let answer = { title: say("script.unreachable"), detail: "" };
    try {
      answer = JSON.parse(responseText);
    } catch { /* no answer came */ }
    if (status >= 200 && status < 300) {
      announce(say("upload.script.done"));
      location.assign(locate(`/ui/datasets/${answer.reference}`));
      return;
    }
    sending.hidden = true;
    showProblem(place, new Problem(answer));
    form.querySelector("details").open = true;
    place.scrollIntoView({ block: "nearest" });
  });
  request.open("POST", locate("/api/v1/datasets"));
  request.send(fields);
}
