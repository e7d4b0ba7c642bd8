/** The page of a job: its progress, curves and log as they happen, and what can be done with it. */

import { announce, call, data, locate, make, Problem, say, showNumber, showProblem, showSeconds } from "../answers.js";
import { Chart, groupMetrics, smoothCurve } from "../curves.js";
import { ask, attempt } from "../dialogs.js";
import { oncePerFrame, Stream } from "../live.js";

const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const MAX_ROWS = 60, MAX_LOG_CHARACTERS = 30000, MAX_POINTS = 4000;
const path = `/api/v1/jobs/${data.id}`;
const find = (selector) => document.querySelector(selector);
const { columns } = data;
const charts = new Map();
let status = data.status, tenth = -1, smoothing = 0;

const draw = oncePerFrame(() => {
  if (data.kind !== "training" || !columns.epochs.length) return;
  find("[data-no-epochs]").hidden = true;
  for (const [name, curves] of groupMetrics(columns.metrics)) {
    if (!charts.has(name)) charts.set(name, new Chart(find("[data-charts]"), name, "job"));
    charts.get(name).draw(columns.epochs, smoothing ? curves.flatMap((curve) => smoothCurve(curve, smoothing)) : curves);
  }
});

/** Add an epoch to the curves and to the table. @param {{epoch: number, seconds: number, metrics: Record<string, number | null>}} epoch */
function addEpoch(epoch) {
  while (columns.epochs.length && columns.epochs.at(-1) >= epoch.epoch) removeLast(); // a new attempt began earlier
  columns.epochs.push(epoch.epoch);
  for (const name of new Set([...Object.keys(columns.metrics), ...Object.keys(epoch.metrics)])) {
    columns.metrics[name] ??= columns.epochs.slice(1).map(() => null);
    columns.metrics[name].push(epoch.metrics[name] ?? null);
  }
  if (columns.epochs.length > MAX_POINTS) thin();
  fresh.rows.push(epoch);
  showFresh();
  draw();
}

function removeLast() {
  columns.epochs.pop();
  for (const values of Object.values(columns.metrics)) values.pop();
}

/** Keep every second epoch. */
function thin() {
  columns.epochs = columns.epochs.filter((_, index) => index % 2);
  for (const name of Object.keys(columns.metrics)) columns.metrics[name] = columns.metrics[name].filter((_, index) => index % 2);
}

function addRow(table, { epoch, seconds, metrics }) {
  const names = Object.keys(columns.metrics);
  const head = table.tHead.rows[0];
  if (head.cells.length !== names.length + 2) {
    head.replaceChildren(
      head.cells[0],
      ...names.map((name) => make("th", { scope: "col", class: "number", translate: "no" }, name)),
      head.cells[head.cells.length - 1],
    );
  }
  const row = make("tr", {}, make("th", { scope: "row", class: "number" }, String(epoch)));
  row.append(...names.map((name) => make("td", { class: "number" }, showNumber(metrics[name]))), make("td", { class: "number" }, seconds.toFixed(2)));
  const rows = table.tBodies[0].rows;
  while (rows.length && Number(rows[0].cells[0].textContent) >= epoch) rows[0].remove(); // it is told again, or anew
  table.tBodies[0].prepend(row);
  while (rows.length > MAX_ROWS) table.tBodies[0].lastElementChild.remove();
}

function showProgress(progress) {
  if (status === "stopping") return;
  const bar = find("[data-progress]");
  if (bar) bar.value = progress.percent;
  const what = progress.epoch === undefined
    ? say("job.script.rows_of", { done: progress.done, rows: progress.rows })
    : say("job.script.epoch_of", { epoch: progress.epoch, epochs: progress.epochs });
  const left = progress.seconds_left === null ? "" : ` · ${say("job.script.left", { time: showSeconds(progress.seconds_left) })}`;
  const values = Object.entries(progress.metrics ?? {}).map(([name, value]) => `${name} ${showNumber(value)}`).join(", ");
  find("[data-line]").textContent = what + left + (values ? ` · ${values}` : "");
  document.title = document.title.replace(/^(\d+ % · )?/, `${Math.floor(progress.percent)} % · `);
  if (Math.floor(progress.percent / 10) > tenth) {
    tenth = Math.floor(progress.percent / 10);
    announce(`${what}${left}`);
  }
}

const fresh = { lines: [], rows: [] };

/** Show what has come since the last frame: a thousand epochs a second cost one layout, and not a thousand. */
const showFresh = oncePerFrame(() => {
  const log = find("[data-log]"), table = find("[data-epochs]");
  const lines = fresh.lines.splice(0);
  if (lines.length) {
    const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.textContent = `${log.textContent}${lines.join("\n")}\n`.slice(-MAX_LOG_CHARACTERS);
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }
  for (const epoch of fresh.rows.splice(0).slice(-MAX_ROWS)) addRow(table, epoch);
});

function addLine(text) {
  fresh.lines.push(text);
  showFresh();
}

function now() {
  return new Date().toISOString().slice(0, 19).replace("T", " ") + "Z ";
}

/** Show a new status. When the job has ended, the page is loaded again: it then shows what there is to see. */
function showStatus(next) {
  if (next === status) return;
  status = next;
  const signal = find("#state .status");
  signal.className = `status ${status}`;
  signal.textContent = say(`status.${status}`);
  if (status === "running") find("[data-line]").textContent = say("job.script.starts");
  if (status === "stopping") find("[data-line]").textContent = say("job.script.stops");
  announce(say(`status.${status}`));
  showActions();
  if (ENDED.has(status)) {
    stream.end();
    setTimeout(reloadUnlessEdited, 300);
  }
}

/** Load the page again, unless it would lose what somebody writes. */
function reloadUnlessEdited() {
  const isWritten = [...edit.elements].some((field) => field.value !== (field.defaultValue ?? field.value));
  if (isWritten) {
    const again = make("button", { type: "button" }, say("job.script.reload"));
    again.addEventListener("click", () => location.reload());
    find("[data-line]").replaceChildren(`${say("job.script.ended")} `, again);
  } else location.reload();
}

function showActions() {
  if (!data.mayEdit) return;
  const actions = find("[data-actions]");
  actions.hidden = false;
  find('[data-act="stop"]').hidden = !["training", "prediction"].includes(data.kind) || status !== "running";
  find('[data-act="cancellation"]').hidden = !["queued", "running", "stopping"].includes(status);
  find('[data-act="retry"]').hidden = !["failed", "cancelled"].includes(status);
}

async function act(name) {
  const place = find("[data-problem]");
  showProblem(place, null);
  try {
    const job = await call(`${path}/${name}`, { method: "POST" });
    if (name === "publication") location.reload();
    else if (name.startsWith("retry")) location.assign(locate(`/ui/jobs/${job.id}`));
    else showStatus(job.status);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    showProblem(place, problem);
  }
}

for (const button of document.querySelectorAll("[data-act]")) {
  button.addEventListener("click", async () => {
    if (button.dataset.act !== "cancellation" || await ask(find("[data-ask]"))) act(button.dataset.act);
  });
}

const smooth = find("[data-smoothing]");
if (smooth) {
  smooth.hidden = false;
  smooth.querySelector("input").addEventListener("input", ({ target }) => {
    smoothing = Number(target.value);
    draw();
  });
}

const edit = find("[data-edit]");
find("[data-edit-box]").hidden = !data.mayEdit;
edit.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(edit);
  const changed = {};
  if (edit.elements.notes.value !== edit.elements.notes.defaultValue) changed.notes = String(fields.get("notes"));
  if (edit.elements.tags.value !== edit.elements.tags.defaultValue) {
    changed.tags = Object.fromEntries(String(fields.get("tags")).split("\n").map((tag) => tag.trim()).filter(Boolean).map((tag) => {
      const at = tag.indexOf(":");
      return at < 0 ? [tag, ""] : [tag.slice(0, at).trim(), tag.slice(at + 1).trim()];
    }));
  }
  const place = find("[data-problem]");
  try {
    await call(path, { method: "PATCH", json: changed });
    showProblem(place, null);
    announce(say("job.script.saved"));
    location.reload();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    showProblem(place, problem);
    place.scrollIntoView({ block: "center" });
  }
});

const remove = find("[data-delete]");
if (remove) {
  remove.hidden = !data.mayEdit;
  remove.addEventListener("click", async () => {
    if (!await ask(find("[data-ask-delete]"))) return;
    attempt(find("[data-problem]"), async () => {
      await call(path, { method: "DELETE" });
      location.assign(locate("/ui/jobs"));
    });
  });
}

showActions();
draw();
const log = find("[data-log]");
log.scrollTop = log.scrollHeight;

const stream = ENDED.has(status) ? null : new Stream({
  address: (lastId) => locate(`${path}/events?after=${Math.max(data.lastEvent, Number(lastId))}`),
  indicator: find("[data-live]"),
  handlers: {
    progress: showProgress,
    epoch(epoch) {
      addEpoch(epoch);
      addLine(`${now()} epoch ${epoch.epoch}: ${Object.entries(epoch.metrics).map(([name, value]) => `${name} ${value === null ? "not finite" : Number(value.toPrecision(4))}`).join(", ")}; ${epoch.seconds.toFixed(1)} s`);
    },
    log: ({ level, message }) => addLine(`${now()} ${level.toLowerCase()}: ${message}`),
    status(event) {
      addLine(`${now()} ${event.status}, attempt ${event.attempt}`);
      find("[data-attempt]").textContent = String(event.attempt);
      showStatus(event.status);
    },
  },
  async refresh() {
    const job = await call(path);
    if (job.progress) showProgress(job.progress);
    showStatus(job.status);
  },
});
