/** The editor of a spec: what it would do is told while it is written. */

import { announce, call, data, locate, make, Problem, say, showProblem } from "../answers.js";

const PAUSE_MILLISECONDS = 500;
const find = (selector) => document.querySelector(selector);
const [text, lines, plan, place, train, help] = ["[data-spec]", "[data-lines]", "[data-plan]", "[data-problem]", "[data-train]", "[data-help]"].map(find);
const headers = { "Content-Type": "application/yaml" };
const key = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
let waiting, running, catalog = null, faulty = new Set();

find("[data-without-script]").hidden = true;
find("[data-recipe]").addEventListener("change", (event) => event.target.form.submit());
for (const button of [train, find("[data-download]")]) button.hidden = false;

/** Number the lines, and mark those with faults. */
function number() {
  const count = text.value.split("\n").length;
  lines.replaceChildren(...Array.from({ length: count }, (_, index) => {
    const line = index + 1, shown = faulty.has(line) ? make("b", {}, `✗${line}`) : String(line);
    return index ? [ "\n", shown ] : [shown];
  }).flat());
  lines.scrollTop = text.scrollTop;
}

async function look() {
  running?.abort();
  running = new AbortController();
  plan.setAttribute("aria-busy", "true");
  try {
    const found = await call("/api/v1/jobs?dry_run=true", { method: "POST", body: text.value, headers, signal: running.signal });
    faulty = new Set();
    showPlan(found);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (!(problem instanceof Problem)) throw problem;
    showFaults(problem.document);
  } finally {
    plan.removeAttribute("aria-busy");
  }
  number();
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
    make("p", { class: "muted small", translate: "no" }, `${found.loss} · ${found.optimizer} · ${found.metrics.join(", ")}`),
  );
}

function showFaults({ title, detail, errors }) {
  const list = make("ul", { lang: "en" });
  faulty = new Set();
  for (const fault of errors ?? []) {
    const item = make("li", {});
    if (fault.line) {
      faulty.add(fault.line);
      const go = make("button", { type: "button" }, say("new.script.line", { line: fault.line }));
      go.addEventListener("click", () => select(fault.line));
      item.append(go, " ");
    }
    item.append(make("code", {}, fault.pointer), ` ${fault.detail}`);
    list.append(item);
  }
  const box = make("section", { class: "notice bad" }, make("strong", { lang: "en" }, errors?.length ? say("new.script.faults") : title));
  box.append(errors?.length ? list : make("p", { lang: "en" }, detail));
  plan.replaceChildren(box);
}

function select(line) {
  const before = text.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  text.focus();
  text.setSelectionRange(before, before + (text.value.split("\n")[line - 1]?.length ?? 0));
}

/** Tell the arguments of the layer at the caret. */
async function explain() {
  const start = text.value.lastIndexOf("\n", text.selectionStart - 1) + 1;
  const line = text.value.slice(start).split("\n", 1)[0];
  const name = /(?:layer|name):\s*([A-Za-z0-9]+)/.exec(line)?.[1];
  help.hidden = !name;
  if (!name) return;
  catalog ??= await call("/api/v1/catalog").catch(() => null);
  const entry = catalog && [...catalog.layers, ...catalog.augmentation, ...catalog.optimizers, ...catalog.losses, ...catalog.metrics].find((one) => one.name === name);
  help.hidden = !entry;
  if (entry) help.replaceChildren(make("code", {}, `${entry.name}(${entry.arguments.map((one) => (one.required ? one.name : `${one.name}=${JSON.stringify(one.default)}`)).join(", ")})`), make("span", { lang: "en" }, ` ${entry.description}`));
}

text.addEventListener("input", () => {
  number();
  clearTimeout(waiting);
  waiting = setTimeout(look, PAUSE_MILLISECONDS);
});
text.addEventListener("scroll", () => { lines.scrollTop = text.scrollTop; });
for (const name of ["click", "keyup"]) text.addEventListener(name, explain);

train.addEventListener("click", async () => {
  train.disabled = true;
  try {
    const job = await call("/api/v1/jobs", { method: "POST", body: text.value, headers: { ...headers, "Idempotency-Key": key } });
    announce(say("new.script.queued"));
    isSent = true;
    location.assign(locate(`/ui/jobs/${job.id}`));
  } catch (problem) {
    train.disabled = false;
    if (!(problem instanceof Problem)) throw problem;
    showProblem(place, problem);
    place.scrollIntoView({ block: "nearest" });
  }
});

find("[data-download]").addEventListener("click", () => {
  const link = make("a", { href: URL.createObjectURL(new Blob([text.value], { type: "application/yaml" })), download: `${data.source || "spec"}.yaml` });
  link.click();
  URL.revokeObjectURL(link.href);
});

let isSent = false;
addEventListener("beforeunload", (event) => !isSent && text.value !== text.defaultValue && event.preventDefault());

number();
look();
