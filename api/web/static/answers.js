/** Words of the page, calls of the API, and problems as people read them. */

const root = document.documentElement.dataset.root;
const words = JSON.parse(document.getElementById("words").textContent);

/** The data that the page was rendered with. */
export const data = JSON.parse(document.getElementById("data")?.textContent ?? "null");

/**
 * Return a sentence in the language of the page, with its values filled in.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function say(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Return the address of a path below the root of the service. @param {string} path */
export function locate(path) {
  return root + path;
}

/** A problem document that the API answered, or an answer that did not come. */
export class Problem extends Error {
  /** @param {{title: string, detail: string, type?: string, status?: number, errors?: object[], request_id?: string}} document */
  constructor(document) {
    super(document.detail);
    this.document = document;
  }
}

/**
 * Call the API and return its answer, as JSON if it is JSON. Throws a Problem.
 * @param {string} path below the root, such as `/api/v1/jobs`
 * @param {{method?: string, json?: unknown, body?: BodyInit, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 */
export async function call(path, { method = "GET", json, body, headers = {}, signal } = {}) {
  let answer;
  const typed = json === undefined ? headers : { "Content-Type": "application/json", ...headers };
  const sent = json === undefined ? body : JSON.stringify(json);
  const request = new Request(root + path, { headers: typed, signal, ...(method === "GET" ? {} : { method, body: sent }) });
  try {
    answer = await fetch(request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: say("script.unreachable"), detail: "" });
  }
  const isJson = (answer.headers.get("Content-Type") ?? "").includes("json");
  const content = isJson ? await answer.json() : answer;
  if (answer.ok) return content;
  throw new Problem(isJson ? content : { title: `HTTP ${answer.status}`, detail: "", status: answer.status });
}

/** Fetch an image. Throws a Problem. @param {string} address with the root */
export async function fetchImage(address) {
  return (await call(address.slice(root.length))).blob();
}

/**
 * Show a problem in an element, until it is dismissed; null empties the element.
 * @param {Element} place
 * @param {Problem | null} problem
 */
export function showProblem(place, problem) {
  place.replaceChildren();
  if (!problem) return;
  const { title, detail, type, errors, request_id: id } = problem.document;
  const box = make("section", { class: "notice bad", role: "alert" });
  const known = words[`script.kind.${(type ?? "").split("/").at(-1)}`];
  box.append(known ? make("strong", {}, known) : make("strong", { lang: "en" }, title));
  if (known) {
    const remedy = make("p");
    box.append(remedy);
    explain(type).then((text) => remedy.append(text), () => remedy.remove()); // without an explanation, the detail remains
  }
  const faults = errors ?? [];
  if (faults.length) {
    box.append(make("ul", { class: "small" }, ...faults.map((fault) => make("li", {}, make("code", {}, fault.pointer), " ", showFault(fault.detail)))));
  } else if (detail) box.append(make("p", { class: "small" }, showFault(detail)));
  const last = make("p", { class: "row small" });
  if (type && type !== "about:blank") last.append(make("a", { href: root + type }, say("script.more")));
  if (id) last.append(make("span", { class: "muted" }, `${say("script.request")} ${id}`));
  const dismiss = make("button", { type: "button" }, say("script.dismiss"));
  dismiss.addEventListener("click", () => place.replaceChildren());
  last.append(dismiss);
  box.append(last);
  place.append(box);
}

let translations;

/** Return an element with a fault, which is replaced by its translation if there is one. @param {string} detail */
export function showFault(detail) {
  const shown = make("span", { lang: "en" }, detail);
  if (document.documentElement.lang === "en") return shown;
  translations ??= fetch(`${root}/ui/faults`).then((answer) => answer.json()).catch(() => []);
  translations.then((pairs) => {
    for (const [pattern, sentence] of pairs) {
      const found = new RegExp(`^${pattern}$`, "s").exec(detail);
      if (!found) continue;
      shown.textContent = sentence.replace(/\{(\w+)\}/g, (whole, name) => found.groups[name] ?? whole);
      shown.lang = document.documentElement.lang;
      return;
    }
  });
  return shown;
}

/** Return what a type of problem means and what to do, in the language of the page. @param {string} type */
async function explain(type) {
  const answer = await fetch(`${root}/ui${type}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return page.querySelector("[data-meaning]").textContent;
}

/**
 * Make an element. Texts become text, never markup.
 * @param {string} name
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} content
 */
export function make(name, attributes = {}, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...content);
  return element;
}

/** Let the browser save a file. @param {Blob} content @param {string} name */
export function save(content, name) {
  const link = make("a", { href: URL.createObjectURL(content), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

/** Tell something to people who hear the page. @param {string} text */
export function announce(text) {
  document.getElementById("said").textContent = text;
}

/** Format a metric with four significant digits, as the server does. @param {number | null} value */
export function showNumber(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return size >= 0.001 && size < 10 ? value.toFixed(4) : String(Number(value.toPrecision(4)));
}

/** Format a duration in its two largest units. @param {number} seconds */
export function showSeconds(seconds) {
  let rest = Math.round(seconds);
  const days = Math.floor(rest / 86400), hours = Math.floor((rest % 86400) / 3600), minutes = Math.floor((rest % 3600) / 60);
  rest %= 60;
  for (const [key, large, small] of [["days", days, hours], ["hours", hours, minutes], ["minutes", minutes, rest]]) {
    if (large) return say(`script.time.${key}`, { large, small });
  }
  return say("script.time.seconds", { large: seconds < 10 ? seconds.toFixed(1) : rest });
}

/** Show every time of an element in the time zone of the reader. @param {ParentNode} [place] */
export function showLocalTimes(place = document) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  for (const time of place.querySelectorAll("time[datetime]")) {
    time.textContent = format.format(new Date(time.dateTime));
  }
}

showLocalTimes();
