/** Read the first rows of a table in the browser, and guess what its columns are for. The service decides in the end. */

const SAMPLE_BYTES = 65536, MAX_ROWS = 200, MAX_CATEGORIES = 30;
const MISSING = new Set(["", "?", "na", "n/a", "nan", "null", "none", "-"]);

/**
 * Read the names and the first rows of a CSV.
 * @param {Blob} file
 * @param {string} encoding empty for UTF-8, or else Korean
 * @returns {Promise<{names: string[], rows: string[][]} | null>} null for what looks like no table with names
 */
export async function readSample(file, encoding) {
  const bytes = new Uint8Array(await file.slice(0, SAMPLE_BYTES).arrayBuffer());
  const lines = splitLines(decode(bytes, encoding).replace(/^\uFEFF/, ""));
  if (file.size > SAMPLE_BYTES) lines.pop(); // the last one is cut
  const marked = /^"?sep=(.)"?\s*$/i.exec(lines[0] ?? "");
  if (marked) lines.shift();
  const delimiter = marked?.[1] ?? [",", ";", "\t", "|"].reduce((best, one) => (count(lines[0], one) > count(lines[0], best) ? one : best));
  const table = lines.slice(0, MAX_ROWS + 1).map((line) => splitCells(line, delimiter)).filter((cells) => cells.some(Boolean));
  const [names, ...rows] = table;
  if (!names || names.length < 2 || !rows.length || names.every(isNumber)) return null;
  return { names, rows: rows.filter((row) => row.length === names.length) };
}

/**
 * Guess the roles of all columns, as the service does: a text is the only input, and of two columns the classes are the label.
 * @param {string[]} names
 * @param {string[][]} columns the cells of each column
 * @returns {{role: string, hasMissing: boolean}[]}
 */
export function guessRoles(names, columns) {
  const last = names.length - 1;
  const isLabelFirst = names.length === 2 && hasTexts(columns[1]) && hasClasses(columns[0]);
  const guesses = columns.map((cells, index) => guessRole(cells, isLabelFirst ? index === 0 : index === last));
  const text = guesses.findIndex(({ role }) => role === "text");
  return guesses.map((guess, index) => (text < 0 || index === text || guess.role === "label" ? guess : { ...guess, role: "leave_out" }));
}

/** Guess the role of a column: `number`, `one-hot`, `text`, `leave_out` or `label`; and whether cells are missing. */
function guessRole(cells, isLabel) {
  const known = findKnown(cells), kinds = new Set(known);
  const hasMissing = known.length < cells.length;
  if (isLabel) return { role: "label", hasMissing };
  const isWords = [...kinds].every((cell) => /^(true|false|yes|no)$/i.test(cell));
  if (known.every(isNumber) || isWords) return { role: "number", hasMissing };
  if (hasTexts(cells)) return { role: "text", hasMissing };
  const isName = kinds.size > MAX_CATEGORIES || (known.length > 5 && kinds.size === known.length);
  return { role: isName ? "leave_out" : "one-hot", hasMissing };
}

function findKnown(cells) {
  return cells.filter((cell) => !isMissing(cell));
}

/** Whether hardly any cells are numbers, nearly all differ, and many have a space. */
function hasTexts(cells) {
  const known = findKnown(cells);
  const isMostly = (share, test) => known.filter(test).length >= share * known.length;
  return known.length > 0 && isMostly(0.9, (cell) => !isNumber(cell)) && isMostly(0.5, (cell) => cell.includes(" ")) && new Set(known).size >= 0.8 * known.length;
}

/** Whether the cells are few values, each of which occurs about twice or more. */
function hasClasses(cells) {
  return cells.length >= 4 && 2 * new Set(cells).size <= cells.length;
}

/** @param {string} cell */
export function isMissing(cell) {
  return MISSING.has(cell.trim().toLowerCase());
}

function isNumber(cell) {
  return /^[+-]?[\d.,\s']*\d(e[+-]?\d+)?$/i.test(cell.trim());
}

function count(line, mark) {
  return (line ?? "").split(mark).length;
}

function decode(bytes, encoding) {
  for (const name of encoding ? [encoding, "utf-8"] : ["utf-8", "euc-kr"]) {
    try {
      return new TextDecoder(name, { fatal: true }).decode(bytes, { stream: true });
    } catch { /* another one */ }
  }
  return new TextDecoder("utf-8").decode(bytes);
}

/** Split at line breaks that are not in quotes. */
function splitLines(text) {
  const lines = [];
  let start = 0, isQuoted = false;
  for (let place = 0; place < text.length; place += 1) {
    if (text[place] === '"') isQuoted = !isQuoted;
    else if (text[place] === "\n" && !isQuoted) {
      lines.push(text.slice(start, place).replace(/\r$/, ""));
      start = place + 1;
    }
  }
  return start < text.length ? [...lines, text.slice(start)] : lines;
}

function splitCells(line, delimiter) {
  const cells = [];
  let cell = "", isQuoted = false;
  for (let place = 0; place < line.length; place += 1) {
    const sign = line[place];
    if (isQuoted && sign === '"' && line[place + 1] === '"') {
      cell += '"';
      place += 1;
    } else if (sign === '"') isQuoted = !isQuoted;
    else if (sign === delimiter && !isQuoted) {
      cells.push(cell.trim());
      cell = "";
    } else cell += sign;
  }
  return [...cells, cell.trim()];
}
