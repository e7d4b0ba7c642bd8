/** Upload a data set, and tell how much of it is sent. */

import { announce, data, locate, Problem, say, showProblem } from "../answers.js";

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

/** Propose a name by that of the file. */
function suggestName() {
  const [file] = form.file.files;
  if (!file || form.name.value) return;
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
