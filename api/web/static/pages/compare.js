/** Compare trainings: one metric of all of them in one chart. */

import { call, data, make, save } from "../answers.js";
import { Chart } from "../curves.js";
import { attempt } from "../dialogs.js";

const select = document.querySelector("[data-metric]");
if (select) {
  const names = [...new Set(data.jobs.flatMap((job) => Object.keys(job.columns.metrics)))];
  const count = (name) => data.jobs.filter((job) => name in job.columns.metrics).length;
  names.sort((one, other) => count(other) - count(one)); // first what most of them have
  const shared = names.filter((name) => count(name) === count(names[0]));
  const preferred = shared.find((name) => name.startsWith("val_") && name.includes("accuracy")) ?? shared.find((name) => name === "val_loss") ?? shared[0];
  select.append(...names.map((name) => make("option", { value: name, translate: "no" }, name)));
  select.value = preferred ?? "";
  document.querySelector("[data-metric-choice]").hidden = names.length < 2;
  const shown = document.querySelector("[data-shown]");
  shown.hidden = false;
  const boxes = data.jobs.map((job, index) => {
    const box = make("input", { type: "checkbox", checked: "", value: String(index) });
    box.addEventListener("change", draw);
    shown.append(make("label", { class: "check" }, box, make("span", { translate: "no" }, job.label)));
    return box;
  });
  let chart = null, title = null;
  const csv = document.querySelector("[data-csv]");
  csv.hidden = false;
  csv.addEventListener("click", () => attempt(document.querySelector("[data-problem]"), saveCsv));

  /** Save one metric of the shown jobs with all epochs: the curves in the page are drawn from some of them. */
  async function saveCsv() {
    const jobs = data.jobs.filter((_, index) => boxes[index].checked);
    const columns = await Promise.all(jobs.map(({ id }) => call(`/api/v1/jobs/${id}/metrics.csv`).then((answer) => answer.text())));
    const tables = columns.map((text) => {
      const [head, ...lines] = text.trim().split(/\r?\n/).map((line) => line.split(","));
      const place = head.indexOf(select.value);
      return new Map(lines.map((cells) => [Number(cells[0]), cells[place] ?? ""]));
    });
    const epochs = [...new Set(tables.flatMap((table) => [...table.keys()]))].sort((one, other) => one - other);
    const rows = [["epoch", ...jobs.map((job) => job.label)], ...epochs.map((epoch) => [epoch, ...tables.map((table) => table.get(epoch) ?? "")])];
    save(new Blob([`${rows.map((row) => row.join(",")).join("\r\n")}\r\n`], { type: "text/csv" }), `${select.value}.csv`);
  }
  select.addEventListener("change", draw);
  if (preferred) draw();

  function draw() {
    const jobs = data.jobs.filter((_, index) => boxes[index].checked);
    const epochs = [...new Set(jobs.flatMap((job) => job.columns.epochs))].sort((one, other) => one - other);
    const curves = jobs.map((job) => {
      const known = new Map(job.columns.epochs.map((epoch, index) => [epoch, job.columns.metrics[select.value]?.[index] ?? null]));
      const place = data.jobs.indexOf(job);
      return { label: job.label, values: epochs.map((epoch) => known.get(epoch)), color: (place % 4) + 1, dash: Math.floor(place / 4) + (place % 2) };
    });
    if (title !== select.value) {
      document.querySelector("[data-charts]").replaceChildren();
      chart = new Chart(document.querySelector("[data-charts]"), select.value, "compare");
      title = select.value;
    }
    if (epochs.length) chart.draw(epochs, curves);
  }
}
