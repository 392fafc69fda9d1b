// The page: choice of the model, input of messages, and one classification run at a time.

import { Corrections, listKept } from "./corrections.js";
import { announce, beginning, byId, complain, count, counted, element, probability } from "./dom.js";
import { Examples } from "./examples.js";
import { judge, sendable } from "./judging.js";
import { Results } from "./results.js";
import { newRow } from "./row.js";
import { Rule, RuleControls } from "./rule.js";
import { Refused, call } from "./server.js";
import { TableError, decode, guess, lines, parse, textColumn, write } from "./tables.js";

const MOST_FILE_BYTES = 200 * 2 ** 20;
const PREVIEWED_ROWS = 3;
const PREVIEWED_CHARACTERS = 200;

const results = new Results();
const controls = new RuleControls(() => refreshed());
const examples = new Examples((text) => {
  byId("texts").value = text;
  byId("paste").elements.kind.value = "one";
  start([newRow(text, 1)]);
});
let models = [];
let model = null;
let rule = null;
let corrections = null;
const correctionsOf = new Map();
let rows = [];
let columns = null;
let file = null;
let run = null;

async function loadModels() {
  try {
    ({ models } = await call("GET", "v1/models"));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    complain(`The models cannot be loaded: ${error.message}. Reload the page to try again.`);
    return;
  }
  const choice = byId("model");
  choice.replaceChildren(...models.map(({ name }) => element("option", { value: name }, name)));
  choice.disabled = models.length < 2;
  choose(models[0]);
}

function choose(chosen) {
  model = chosen;
  byId("model").value = model.name;
  rule = Rule.fits(model) ? new Rule(model) : null;
  const learnt = () => (byId("again").textContent = "Classify again: the model has changed");
  if (!correctionsOf.has(model.name)) correctionsOf.set(model.name, new Corrections(model, learnt));
  corrections = correctionsOf.get(model.name);
  const facts = [model.labels.join(" / ")];
  if (rule) facts.push(`${rule.positive} from ${probability(rule.threshold)}`);
  if (rule && rule.low !== null) facts.push(`unsure ${probability(rule.low)} to ${probability(rule.high)}`);
  if (model.confidence_floor !== null) facts.push(`unsure below ${probability(model.confidence_floor)}`);
  if (model.stale) facts.push("its folder was replaced by one that cannot be loaded; the previous model answers");
  byId("model-facts").textContent = facts.join(" · ");
  controls.show(rule);
  byId("to-rule").hidden = rule === null;
  if (rows.length === 0) examples.load(model.name);
  if (rows.length > 0)
    start(
      rows.map((row) => newRow(row.text, row.number, row.cells)),
      columns,
    );
}

/** Classify rows; they replace the previous ones. */
async function start(fresh, names = null) {
  complain("");
  if (model === null) return complain("No model is loaded yet.");
  if (fresh.length === 0) return complain("There is no message to classify: paste one, or choose a file.");
  run?.abort();
  rows = fresh;
  columns = names;
  examples.done();
  byId("results").hidden = false;
  results.show(rows, { model, rule, corrections });
  await judgeRest(rows);
}

/** Classify the remaining rows, and show the progress. */
async function judgeRest(rest) {
  run?.abort();
  const own = new AbortController();
  run = own;
  byId("again").textContent = "Classify again";
  const begun = rows.length - rest.length;
  let done = begun;
  const [work, bar, said] = ["work", "progress", "work-text"].map(byId);
  const at = () => `${count(done)} of ${counted(rows.length, "message")} classified`;
  const tell = (text) => {
    said.textContent = text;
    announce(text);
  };
  const judged = (number) => {
    done = begun + number;
    bar.value = done;
    said.textContent = at();
    refreshed();
  };
  work.hidden = false;
  bar.max = rows.length;
  bar.value = done;
  showButtons({ stop: true });
  tell(at());
  try {
    await judge(rest, model.name, {
      signal: own.signal,
      judged,
      waiting: (seconds) => tell(`${at()}; the server is busy, trying again in ${seconds} s`),
    });
    if (work.contains(document.activeElement)) byId("results").focus({ preventScroll: true });
    work.hidden = true;
    if (begun === 0) comeIntoView(byId("results"));
    const refused = rows.filter((row) => row.refused !== null).length;
    announce(refused ? `${at()}, ${count(refused)} of them refused.` : `${at()}.`);
  } catch (error) {
    if (run !== own) return;
    if (error.name !== "AbortError" && !(error instanceof Refused)) throw error;
    const why = error instanceof Refused ? `Stopped: ${error.message}. ` : "Stopped. ";
    tell(`${why}${at()}; the results so far are kept.`);
    byId("go-on").onclick = () => judgeRest(rest.slice(done - begun));
    showButtons({ stop: false });
  }
}

function showButtons({ stop }) {
  const [one, other] = stop ? ["stop", "go-on"] : ["go-on", "stop"];
  const held = document.activeElement === byId(other);
  byId(one).hidden = false;
  byId(other).hidden = true;
  if (held) byId(one).focus();
}

/** Scroll to a section that starts below the visible part of the page. */
function comeIntoView(section) {
  if (section.getBoundingClientRect().top > 0.7 * innerHeight) section.scrollIntoView({ block: "start" });
}

let drawing = false;

/** Show new or changed results, at most once per frame. */
function refreshed() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    results.update();
    controls.draw(rows.filter((row) => row.result !== null).map((row) => results.score(row)));
  });
}

async function take(chosen) {
  complain("");
  if (chosen === undefined) return;
  if (chosen.size > MOST_FILE_BYTES) {
    const [has, takes] = [chosen.size, MOST_FILE_BYTES].map((bytes) => `${count(Math.ceil(bytes / 2 ** 20))} MiB`);
    return complain(`${chosen.name} has ${has}; this page accepts at most ${takes}. For larger files, use: tamis predict RUN --file.`);
  }
  try {
    const { text, note } = decode(new Uint8Array(await chosen.arrayBuffer()));
    file = { name: chosen.name, text: sendable(text), note };
  } catch (error) {
    return complain(`${chosen.name} cannot be read: ${error.message}`);
  }
  const { format, quoted, header } = guess(file.name, file.text);
  byId("table-title").textContent = file.name;
  byId("format").value = format;
  byId("quoted").checked = quoted;
  byId("header").checked = header;
  byId("table").hidden = false;
  readFile({ columns: true });
  byId("table-title").focus();
}

/** Read the file with the chosen settings; `columns`: choose the text column again. */
function readFile({ columns: anew }) {
  const format = byId("format").value;
  const table = format.length === 1;
  for (const id of ["column-choice", "header-choice", "quoted-choice"]) byId(id).hidden = !table;
  let problem = "";
  file.names = null;
  try {
    file.rows = table
      ? parse(file.text, format, byId("quoted").checked)
      : (format === "one" ? [file.text] : lines(file.text)).map((line) => [line]);
  } catch (error) {
    if (!(error instanceof TableError)) throw error;
    problem = `${error.message} If quotes are part of the texts, clear “quotes enclose cells”.`;
    file.rows = [];
  }
  if (table) {
    const header = byId("header").checked;
    const width = file.rows.reduce((most, row) => Math.max(most, row.length), 0);
    const first = header ? (file.rows[0] ?? []) : [];
    file.names = Array.from({ length: width }, (_, place) => first[place]?.trim() || `column ${place + 1}`);
    const column = anew ? textColumn(file.rows, header) : Number(byId("column").value);
    byId("column").replaceChildren(...file.names.map((name, place) => element("option", { value: place }, beginning(name, 40))));
    byId("column").value = column;
    if (header) file.rows.shift();
  }
  const column = table ? Number(byId("column").value) : 0;
  const short = file.rows.filter((row) => row.length <= column).length;
  if (short && !problem) problem = `${counted(short, "row")} without that column; the text is taken as empty.`;
  byId("table-note").textContent = `${file.note}${problem}`;
  const previewed = file.rows
    .slice(0, PREVIEWED_ROWS)
    .map((row) => element("tr", {}, element("td", { dir: "auto" }, beginning(row[column] ?? "", PREVIEWED_CHARACTERS))));
  byId("preview").tBodies[0].replaceChildren(...previewed);
  byId("preview").hidden = previewed.length === 0;
  byId("judge-table").textContent = `Classify ${counted(file.rows.length, "message")}`;
  byId("judge-table").disabled = file.rows.length === 0;
}

function putAway() {
  file = null;
  byId("table").hidden = true;
  byId("file").value = "";
  byId("file").focus();
}

function save() {
  const link = element("a", {
    href: URL.createObjectURL(new Blob([write(results.table(columns))], { type: "text/csv" })),
    download: "verdicts.csv",
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  announce("The table is saved as verdicts.csv.");
}

byId("paste").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = sendable(byId("texts").value);
  const texts = event.target.elements.kind.value === "lines" ? lines(text) : text.trim() === "" ? [] : [text];
  start(texts.map((one, place) => newRow(one, place + 1)));
});
byId("table").addEventListener("submit", (event) => {
  event.preventDefault();
  const column = file.names ? Number(byId("column").value) : 0;
  start(
    file.rows.map((cells, place) => newRow(cells[column] ?? "", place + 1, cells)),
    file.names,
  );
});
for (const id of ["format", "header", "quoted"]) byId(id).addEventListener("change", () => readFile({ columns: true }));
byId("column").addEventListener("change", () => readFile({ columns: false }));
byId("file").addEventListener("change", (event) => take(event.target.files[0]));
byId("put-away").addEventListener("click", putAway);
byId("stop").addEventListener("click", () => run.abort());
byId("again").addEventListener("click", () =>
  start(
    rows.map((row) => newRow(row.text, row.number, row.cells)),
    columns,
  ),
);
byId("export").addEventListener("click", save);
byId("model").addEventListener("change", (event) => choose(models.find(({ name }) => name === event.target.value)));
// Files can be dropped anywhere on the page; otherwise the browser would open a file dropped beside the field.
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  byId("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => event.relatedTarget === null && byId("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  byId("drop").classList.remove("over");
  take(event.dataTransfer.files[0]);
});
listKept((ids) => {
  for (const made of correctionsOf.values()) ids.forEach((id) => made.forget(id));
  if (rows.length > 0) refreshed();
});
loadModels();
