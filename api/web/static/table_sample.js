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
 * Guess the role of a column: `number`, `one-hot`, `text`, `leave_out` or `label`; and whether cells are missing.
 * @param {string} name
 * @param {string[]} cells
 * @param {boolean} isLast
 */
export function guessRole(name, cells, isLast) {
  const known = cells.filter((cell) => !isMissing(cell)), kinds = new Set(known);
  const hasMissing = known.length < cells.length;
  if (isLast) return { role: "label", hasMissing };
  const isWords = [...kinds].every((cell) => /^(true|false|yes|no)$/i.test(cell));
  if (known.every(isNumber) || isWords) return { role: "number", hasMissing };
  if (known.filter((cell) => cell.includes(" ")).length * 2 >= known.length && kinds.size >= 0.8 * known.length) return { role: "text", hasMissing };
  const isName = kinds.size > MAX_CATEGORIES || (known.length > 5 && kinds.size === known.length);
  return { role: isName ? "leave_out" : "one-hot", hasMissing };
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
