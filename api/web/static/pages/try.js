/** Try a model: draw, drop, paste, photograph or type, and see what it answers and what it saw. */

import { announce, call, data, fetchImage, make, Problem, say, showProblem } from "../answers.js";
import { attempt } from "../dialogs.js";
import { Pad } from "../pad.js";

const PAUSE_MILLISECONDS = 150, MAX_SIDE = 2048, TOP = 5;
const find = (selector) => document.querySelector(selector);
const place = find("[data-problem]");
for (const element of document.querySelectorAll("[data-without-script]")) element.hidden = true;
find("[data-version]").addEventListener("change", (event) => event.target.form.submit());
const beside = find("[data-beside]");
let waiting = null, running = null, last = null, turns = 0; // whoever began in an earlier turn comes too late
if (beside) {
  beside.disabled = false;
  beside.addEventListener("change", () => last && predict(last));
}

const address = (version, what) => `/api/v1/models/${encodeURIComponent(data.model)}/versions/${version}/${what}`;

/** Ask soon: once, for the newest input. @param {() => Promise<object>} makeInput returns the options of a call */
function askSoon(makeInput, pause = PAUSE_MILLISECONDS) {
  clearTimeout(waiting);
  const turn = turns;
  waiting = setTimeout(async () => {
    const input = await makeInput();
    if (turn === turns) predict(input);
  }, pause);
}

async function predict(input) {
  last = input;
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const startedAt = performance.now();
  const answer = find("[data-answer]");
  answer.setAttribute("aria-busy", "true");
  try {
    const query = data.isImage || data.isText || data.columns.length ? `?top=${TOP}` : "";
    const asked = [call(address(data.version, `predictions${query}`), { method: "POST", ...input, signal })];
    if (beside?.value) asked.push(call(address(beside.value, `predictions${query}`), { method: "POST", ...input, signal }));
    if (data.isText) showWords(input, signal); // also of a text that is refused: its words tell why
    const [first, second] = await Promise.all([asked[0], asked[1]?.catch((problem) => problem)]);
    if (second?.name === "AbortError") return;
    find("[data-took]").textContent = say("try.script.took", { milliseconds: Math.round(performance.now() - startedAt) });
    showProblem(place, null);
    answer.replaceChildren(...showAnswer(first.predictions[0]));
    find("[data-answer-beside]").replaceChildren(...(second ? showBeside(second) : []));
    if (data.isImage) await showSeen(input, signal);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (!(problem instanceof Problem)) throw problem;
    showProblem(place, problem);
    answer.replaceChildren();
    find("[data-took]").textContent = "";
    find("[data-answer-beside]").replaceChildren();
  } finally {
    answer.removeAttribute("aria-busy");
  }
}

/** Return the elements of the answer of the version beside, or of its problem. */
function showBeside(answer) {
  const title = make("h3", {}, say("try.script.version", { version: beside.value }));
  if (!(answer instanceof Problem)) return [title, ...showAnswer(answer.predictions[0])];
  const box = make("div");
  showProblem(box, answer);
  return [title, box];
}

/** Return the elements of an answer: classes with bars, labels, or numbers, and the warnings. */
function showAnswer(prediction) {
  const list = make("ol", { class: "answers" });
  const found = prediction.top ?? prediction.probabilities;
  if (prediction.problem) throw new Problem(prediction.problem);
  if (found) {
    for (const { label, probability } of found.slice(0, 10)) {
      const meter = make("meter", { max: "1", value: String(probability), "aria-hidden": "true" });
      list.append(make("li", {}, make("span", { translate: "no" }, label), meter, make("span", { class: "number" }, `${(probability * 100).toFixed(1)} %`)));
    }
    announce(say("try.script.said", { label: found[0].label, percent: Math.round(found[0].probability * 100) }));
  } else {
    const values = [prediction.value].flat();
    list.append(...values.map((value, index) => make("li", {}, make("span", {}, values.length > 1 ? String(index) : say("try.script.value")), make("b", {}, String(Number(value.toPrecision(8)))), make("span"))));
    announce(values.map((value) => Number(value.toPrecision(8))).join(", "));
  }
  const warnings = (prediction.warnings ?? []).map((warning) => make("p", { class: "notice warn small", lang: "en" }, warning));
  return [list, ...warnings];
}

/** Return a word, or a sign for a space. @param {string} word */
function show(word) {
  return word.trim() || "␣";
}

/** Show the words of a text in their order, and cross out those that the network does not know. */
async function showWords(input, signal) {
  const version = `${data.model}@${data.version}`;
  const place = find("[data-words]");
  const answer = await call("/api/v1/text/sequences", { method: "POST", json: { version, texts: input.json.instances }, signal }).catch(() => null);
  if (signal.aborted) return;
  place.hidden = answer === null;
  if (answer === null) return;
  const words = answer.texts[0].words.map(({ word, index }) => (index === null ? make("del", {}, show(word)) : make("span", { title: String(index) }, show(word))));
  place.querySelector(".words").replaceChildren(...words);
}

async function showSeen(input, signal) {
  const answer = await call(address(data.version, "prepared.png?side=336"), { method: "POST", ...input, signal });
  const picture = find("[data-seen] img");
  const old = picture.src;
  picture.src = URL.createObjectURL(await answer.blob());
  if (old) URL.revokeObjectURL(old);
  find("[data-seen]").hidden = false;
}

if (data.isImage) {
  const canvas = find("[data-pad]"), photo = find("[data-photo]"), frame = find("[data-drop]"), pen = find("[data-pen]");
  const pad = new Pad(canvas, {
    isLight: data.isLight,
    width: () => Number(pen.value),
    onChange: () => askSoon(async () => ({ body: await pad.toBlob(), headers: { "Content-Type": "image/png" } })),
  });
  const clear = () => {
    turns += 1;
    clearTimeout(waiting);
    running?.abort();
    pad.clear();
    photo.hidden = true;
    photo.removeAttribute("src");
    last = null;
    find("[data-answer]").replaceChildren(make("p", { class: "muted" }, say("try.script.empty")));
    find("[data-answer-beside]").replaceChildren();
    find("[data-seen]").hidden = true;
    find("[data-took]").textContent = "";
    if (turns > 1) find("[data-of-row]")?.remove(); // the first time, its image is about to be shown
  };
  find("[data-clear]").addEventListener("click", clear);
  find("[data-undo]").addEventListener("click", () => pad.undo());

  /** Take an image file: a large photo is scaled first. @param {Blob} file */
  const take = async (file) => {
    clear();
    const turn = turns;
    let sent = file;
    try {
      const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
      const scale = MAX_SIDE / Math.max(bitmap.width, bitmap.height);
      if (scale < 1 || file.size > data.imageBytes) {
        const small = document.createElement("canvas");
        small.width = Math.max(1, Math.round(bitmap.width * Math.min(1, scale)));
        small.height = Math.max(1, Math.round(bitmap.height * Math.min(1, scale)));
        small.getContext("2d").drawImage(bitmap, 0, 0, small.width, small.height);
        sent = await new Promise((done) => small.toBlob(done, "image/jpeg", 0.92));
      }
    } catch { /* the browser cannot read it; the server tells why it cannot either */ }
    if (turn !== turns) return; // cleared, or another one was chosen meanwhile
    if (sent.size > data.imageBytes) {
      showProblem(place, new Problem({ title: say("try.script.too_large"), detail: "" }));
      return;
    }
    photo.src = URL.createObjectURL(sent);
    photo.hidden = false;
    predict({ body: sent, headers: { "Content-Type": sent.type || "application/octet-stream" } });
  };
  for (const input of document.querySelectorAll("[data-file], [data-capture]")) {
    input.addEventListener("change", () => input.files[0] && take(input.files[0]));
  }
  document.addEventListener("paste", (event) => event.clipboardData.files[0] && take(event.clipboardData.files[0]));
  frame.addEventListener("dragover", (event) => {
    event.preventDefault();
    frame.classList.add("over");
  });
  frame.addEventListener("dragleave", () => frame.classList.remove("over"));
  frame.addEventListener("drop", (event) => {
    event.preventDefault();
    frame.classList.remove("over");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  const takeSample = (address) => attempt(place, async () => {
    const turn = turns, image = await fetchImage(address);
    if (turn === turns) await take(image);
  });
  for (const button of document.querySelectorAll("[data-sample]")) button.addEventListener("click", () => takeSample(button.dataset.sample));
  if (data.image) takeSample(data.image);
} else {
  const form = find("[data-row]");
  const read = () => {
    if (data.isText) return { json: { instances: [form.elements.text.value] } };
    const cells = [...form.elements].filter((element) => element.name).map((element) => {
      const text = element.tagName === "SELECT" ? element.value : element.value.trim();
      const pointed = data.decimal === "," ? text.replace(",", ".") : text;
      const isNumber = element.tagName !== "SELECT" && /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(pointed);
      return text === "" ? null : isNumber ? Number(pointed) : text; // the service tells what is wrong about a text
    });
    return { json: { instances: [cells] } };
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    predict(read());
  });
  form.addEventListener("input", () => {
    find("[data-of-row]")?.remove(); // what is typed is no longer that row
    askSoon(async () => read(), 300);
  });
  if (data.hasRow) predict(read());
}
