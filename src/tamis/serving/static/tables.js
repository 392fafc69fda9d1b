// Reads messages from files and writes verdicts: encodings, the quoting of RFC 4180, choice of the text column.

const DELIMITERS = ["\t", ",", ";"];
const SAMPLE_CHARACTERS = 1 << 18;
const SAMPLE_ROWS = 200;
// The same names as in src/tamis/data/files/column_names.py; a test compares the two.
const TEXT_NAMES = [
  "text",
  "message",
  "sms",
  "body",
  "content",
  "v2",
  "texts",
  "messages",
  "msg",
  "sentence",
  "utterance",
  "tweet",
  "review",
  "comment",
  "email",
  "mail",
  "document",
  "query",
  "question",
  "input",
  "post",
  "phrase",
  "headline",
  "description",
  "text_message",
  "message_text",
  "sms_text",
  "message_body",
  "email_text",
  "content_text",
];
const OTHER_NAMES = ["label", "class", "category", "target", "spam", "v1", "verdict", "id", "date", "from", "sender", "subject", "number"];

/** A file that cannot be read with the chosen settings; `rows` are those before the error. */
export class TableError extends Error {
  constructor(message, rows) {
    super(message);
    this.rows = rows;
  }
}

/** Bytes to text: UTF-8 with or without BOM, UTF-16 with BOM, else Windows-1252 with a note. */
export function decode(bytes) {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return { text: new TextDecoder("utf-16le").decode(bytes), note: "" };
  if (first === 0xfe && second === 0xff) return { text: new TextDecoder("utf-16be").decode(bytes), note: "" };
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), note: "" };
  } catch {
    return { text: new TextDecoder("windows-1252").decode(bytes), note: "The file is not UTF-8 and was read as Windows-1252. " };
  }
}

/** Detects how to read a file: format (a delimiter or "lines"), quoted, header. */
export function guess(name, text) {
  const fits = DELIMITERS.map((delimiter) => ({ delimiter, share: regularity(text, delimiter) }));
  const best = fits.reduce((one, other) => (other.share > one.share ? other : one));
  const table = /\.(csv|tsv|tab)$/i.test(name);
  // Messages often contain commas and semicolons; tabs in nearly every line mean a table.
  if (!table && fits[0].share < 0.95) return { format: "lines", quoted: false, header: false };
  const format = table ? (best.share > 0.5 ? best.delimiter : /\.csv$/i.test(name) ? "," : "\t") : "\t";
  const quoted = format !== "\t" || isQuoted(text);
  const rows = firstRows(text, format, quoted);
  return { format, quoted, header: rows.length > 1 && rows[0].some(isName) };
}

/** The number of the text column: by name, else the column with the longest cells. */
export function textColumn(rows, header) {
  const names = header ? (rows[0] ?? []).map((cell) => cell.trim().toLowerCase()) : [];
  const named = TEXT_NAMES.map((name) => names.indexOf(name)).find((place) => place >= 0);
  if (named !== undefined) return named;
  const lengths = [];
  for (const row of rows.slice(header ? 1 : 0, SAMPLE_ROWS)) {
    row.forEach((cell, place) => (lengths[place] = (lengths[place] ?? 0) + cell.length));
  }
  return lengths.reduce((longest, length, place) => (length > lengths[longest] ? place : longest), 0);
}

/** Lines that contain more than white space; a lone CR ends a line only if the text has no LF. */
export const lines = (text) => text.split(text.includes("\n") ? /\r?\n/ : "\r").filter((line) => line.trim() !== "");

/** Text to rows of cells, at most `most`, without blank lines. Throws TableError if a quoted cell is never closed. */
export function parse(text, delimiter, quoted, most = Infinity) {
  if (!quoted)
    return lines(text)
      .slice(0, most)
      .map((line) => line.split(delimiter));
  const end = new RegExp(`[${delimiter}\r\n]`, "g");
  const stop = (from) => {
    end.lastIndex = from;
    return end.exec(text)?.index ?? text.length;
  };
  const rows = [];
  let row = [];
  let blank = true;
  let at = 0;
  while (rows.length < most && (at < text.length || row.length > 0)) {
    let cell = "";
    if (text[at] === '"') {
      blank = false;
      for (at += 1; ; at += 2) {
        const close = text.indexOf('"', at);
        if (close < 0) throw new TableError(`Row ${rows.length + 1} opens a quote that is never closed.`, rows);
        cell += text.slice(at, close);
        at = close;
        if (text[at + 1] !== '"') break;
        cell += '"';
      }
      at += 1;
    }
    const next = stop(at);
    cell += text.slice(at, next);
    row.push(cell);
    at = next;
    if (text[at] === delimiter) {
      at += 1;
      continue;
    }
    if (!blank || row.length > 1 || cell !== "") rows.push(row);
    row = [];
    blank = true;
    at += text.startsWith("\r\n", at) ? 2 : 1;
  }
  return rows;
}

/** Rows of cells to CSV with a BOM, which spreadsheets need. A cell that looks like a formula gets an apostrophe. */
export function write(rows) {
  return `\uFEFF${rows.map((row) => row.map(written).join(",")).join("\r\n")}\r\n`;
}

function written(cell) {
  const text = String(cell);
  const safe = /^[=+\-@\t\r\uFF1D\uFF0B\uFF0D\uFF20]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const isName = (cell) => [...TEXT_NAMES, ...OTHER_NAMES].includes(cell.trim().toLowerCase());

/** Some rows from the beginning, as far as they can be read with these settings. */
function firstRows(text, delimiter, quoted) {
  try {
    return parse(quoted ? text : beginning(text), delimiter, quoted, SAMPLE_ROWS);
  } catch (error) {
    if (error instanceof TableError) return error.rows;
    throw error;
  }
}

/** Whole lines from the beginning of a long text; a longer first line is included completely. */
function beginning(text) {
  const end = text.indexOf("\n", SAMPLE_CHARACTERS);
  return end < 0 ? text : text.slice(0, end);
}

/** Share of the rows that have the most frequent width; 0 if that is one column. */
function regularity(text, delimiter) {
  const rows = firstRows(text, delimiter, delimiter !== "\t");
  const times = new Map();
  for (const row of rows) times.set(row.length, (times.get(row.length) ?? 0) + 1);
  const [width, most] = [...times].reduce((one, other) => (other[1] > one[1] ? other : one), [1, 0]);
  return width > 1 ? most / rows.length : 0;
}

/** Whether quotes in a tab-separated text enclose cells: one column has them around every cell below the first row. */
function isQuoted(text) {
  const rows = firstRows(text, "\t", false);
  if (rows.length < 2) return false;
  return rows[1].some((_, place) => rows.slice(1).every((row) => /^"(?:[^"]|"")*"$/.test(row[place] ?? "")));
}
