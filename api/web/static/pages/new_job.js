/** The editor of a spec: what it would do is told while it is written. */

import { announce, call, data, locate, make, Problem, save, say, showFault, showProblem } from "../answers.js";
import { Completion } from "../completion.js";

const PAUSE_MILLISECONDS = 500;
const find = (selector) => document.querySelector(selector);
const [text, lines, plan, place, train] = ["[data-spec]", "[data-lines]", "[data-plan]", "[data-problem]", "[data-train]"].map(find);
const headers = { "Content-Type": "application/yaml" };
const DRAFT = "trainyard-draft";
let sent = null, waiting, running = null, faulty = new Set();

for (const button of document.querySelectorAll("[data-without-script]")) button.hidden = true;
for (const select of document.querySelectorAll("[data-choose]")) select.addEventListener("change", ({ target }) => target.value && target.form.submit());
for (const button of [train, find("[data-download]")]) button.hidden = false;

/** Return the key of this text: however often the text is sent, it makes one job. Another text has another key. */
function chooseKey() {
  if (sent?.text !== text.value) {
    const bytes = [...crypto.getRandomValues(new Uint8Array(16))];
    sent = { text: text.value, key: bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("") };
  }
  return sent.key;
}

/** Number the lines, and mark those with faults. */
function number() {
  const count = text.value.split("\n").length;
  const shown = document.createDocumentFragment(), faults = [...faulty].filter((line) => line <= count).sort((one, other) => one - other);
  let next = 1;
  for (const fault of [...faults, count + 1]) {
    shown.append(Array.from({ length: fault - next }, (_, index) => `${next + index}\n`).join(""));
    if (fault <= count) shown.append(make("b", {}, `✗${fault}`), "\n");
    next = fault + 1;
  }
  lines.replaceChildren(shown);
  lines.scrollTop = text.scrollTop;
}

/** Return where the spec is sent to, with the project and the visibility that are chosen. @param {object} query */
function address(query) {
  const project = find("[data-project]")?.value;
  const visibility = find("[data-visibility]")?.value;
  const given = new URLSearchParams({ ...query, ...(project ? { project } : {}), ...(visibility ? { visibility } : {}) });
  return `/api/v1/jobs${given.size ? `?${given}` : ""}`;
}

async function look() {
  withdraw();
  const mine = running = new AbortController();
  try {
    const found = await call(address({ dry_run: "true" }), { method: "POST", body: text.value, headers, signal: mine.signal });
    faulty = new Set();
    showPlan(found);
    tellQueue();
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (!(problem instanceof Problem)) throw problem;
    showFaults(problem.document);
  } finally {
    if (running === mine) plan.removeAttribute("aria-busy");
  }
  number();
}

/** Mark what the plan tells as that of another text, and await no more of it. */
function withdraw() {
  running?.abort();
  running = null;
  plan.setAttribute("aria-busy", "true");
}

function showPlan(found) {
  const rows = found.layers.map((layer) => make("tr", {},
    make("th", { scope: "row", translate: "no" }, layer.name), make("td", { translate: "no" }, layer.type),
    make("td", {}, layer.output_shape.join(" × ")), make("td", { class: "number" }, layer.parameters.toLocaleString())));
  const head = ["layer", "type", "output", "parameters"].map((name, index) => make("th", { scope: "col", ...(index === 3 ? { class: "number" } : {}) }, say(`new.script.${name}`)));
  const table = make("table", { class: "plan-layers" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  plan.replaceChildren(
    make("p", { class: "good-ink" }, `✓ ${say("new.script.fits")}`),
    make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": say("new.script.layer") }, table),
    make("p", {}, say("new.script.sum", { parameters: found.parameters.toLocaleString(), train: found.rows.train.toLocaleString(), validation: found.rows.validation.toLocaleString(), test: found.rows.test.toLocaleString() })),
    ...(found.rows.test ? [] : [make("p", { class: "notice warn small" }, say("new.script.no_test"))]),
    make("p", { class: "small", "data-queue": "" }),
    make("p", { class: "muted small", translate: "no" }, `${found.loss} · ${found.optimizer} · ${found.metrics.join(", ")}`),
  );
}

/** Tell how many jobs wait before a new one. */
async function tellQueue() {
  const { total } = await call("/api/v1/queue?limit=1").catch(() => ({ total: 0 }));
  const line = plan.querySelector("[data-queue]");
  if (line && total) line.textContent = say("new.script.waiting", { count: total });
}

function showFaults({ title, detail, errors }) {
  const list = make("ul");
  faulty = new Set();
  for (const fault of errors ?? []) {
    const item = make("li", {});
    if (fault.line) {
      faulty.add(fault.line);
      const go = make("button", { type: "button" }, say("new.script.line", { line: fault.line }));
      go.addEventListener("click", () => select(fault.line));
      item.append(go, " ");
    }
    if (fault.pointer !== "#") item.append(make("code", {}, fault.pointer), " ");
    item.append(showFault(fault.detail));
    list.append(item);
  }
  const box = make("section", { class: "notice bad" }, make("strong", errors?.length ? {} : { lang: "en" }, errors?.length ? say("new.script.faults") : title));
  box.append(errors?.length ? list : make("p", {}, showFault(detail)));
  plan.replaceChildren(box);
}

function select(line) {
  const before = text.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  text.focus();
  text.setSelectionRange(before, before + (text.value.split("\n")[line - 1]?.length ?? 0));
}

text.addEventListener("input", () => {
  number();
  withdraw();
  clearTimeout(waiting);
  waiting = setTimeout(look, PAUSE_MILLISECONDS);
  keepDraft();
});
text.addEventListener("scroll", () => { lines.scrollTop = text.scrollTop; });
new Completion(text, find("[data-help]"), data.keys);
find("[data-project]")?.addEventListener("change", look);

train.addEventListener("click", async () => {
  train.disabled = true;
  try {
    const job = await call(address({}), { method: "POST", body: text.value, headers: { ...headers, "Idempotency-Key": chooseKey() } });
    announce(say("new.script.queued"));
    sessionStorage.removeItem(DRAFT);
    location.assign(locate(`/ui/jobs/${job.id}`));
  } catch (problem) {
    train.disabled = false;
    if (!(problem instanceof Problem)) throw problem;
    showProblem(place, problem);
    place.scrollIntoView({ block: "nearest" });
  }
});

addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return; // back from the job: the next press makes another one
  train.disabled = false;
  sent = null;
});

find("[data-download]").addEventListener("click", () => save(new Blob([text.value], { type: "application/yaml" }), `${data.source || "spec"}.yaml`));

/** Keep what is written, so that a click on a recipe or a link loses nothing. */
function keepDraft() {
  if (text.value === text.defaultValue) sessionStorage.removeItem(DRAFT);
  else sessionStorage.setItem(DRAFT, text.value);
}

const draft = find("[data-draft]"), kept = sessionStorage.getItem(DRAFT);
draft.hidden = !kept || kept === text.value;
for (const name of ["restore", "forget"]) {
  find(`[data-${name}]`).addEventListener("click", () => {
    draft.hidden = true;
    if (name === "restore") {
      text.value = kept;
      text.dispatchEvent(new Event("input"));
    } else sessionStorage.removeItem(DRAFT);
    text.focus();
  });
}

number();
look();
