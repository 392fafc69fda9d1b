// The explanation of a prediction: words shaded by their contribution, and a curve of P(label) after each token.

import { beginning, counted, drawn, element, probability } from "./dom.js";

const MOST_ROWS = 300;
const LONGEST_WORD = 60;
const STRONGEST_SHADE = 0.7;
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [640, 150, 34, 632, 12, 128];
const MINUS = "\u2212";

/** The view of one explanation, as returned by `POST /v1/explain`. */
export function explanation(found) {
  return element(
    "div",
    { class: "why" },
    element("h3", {}, "Contribution of each word"),
    ...words(found),
    element("h3", {}, `P(${found.explained}) after each token`),
    curve(found),
    table(
      "All tokens",
      ["Token", `P(${found.explained}) if the text ended here`],
      found.tokens.map((token) => [shown(token.token), probability(token.probability)]),
    ),
    ...found.notes.map((note) => element("p", { class: "faint" }, note)),
  );
}

function words(found) {
  const { explained } = found;
  if (found.words.length === 0) return [element("p", {}, "The text has no words.")];
  const strongest = Math.max(...found.words.map((word) => Math.abs(word.attribution))) || 1;
  const readout = element("p", { class: "readout", "aria-hidden": "true" }, "Point at a word, or use the arrow keys.");
  const said = (word) => `${beginning(word.word, LONGEST_WORD)}: ${signed(word.attribution)} ${word.attribution < 0 ? "against" : "for"} ${explained}`;
  const box = element("div", {
    class: "words",
    role: "listbox",
    "aria-orientation": "horizontal",
    "aria-label": "Words and their contributions, in log-odds",
    dir: "auto",
  });
  // Offsets count code points; JavaScript strings count UTF-16 units.
  const characters = Array.from(found.text);
  let done = 0;
  const spans = found.words.map((word, place) => {
    const span = element("span", {
      class: word.attribution < 0 ? "against" : "for",
      role: "option",
      tabindex: place ? -1 : 0,
      title: said(word),
      "aria-label": said(word),
      "aria-selected": "false",
    });
    span.textContent = word.word;
    span.style.setProperty("--shade", String((STRONGEST_SHADE * Math.abs(word.attribution)) / strongest));
    span.addEventListener("pointerenter", () => (readout.textContent = said(word)));
    box.append(characters.slice(done, word.start).join(""), span);
    done = word.end;
    return span;
  });
  box.append(characters.slice(done).join(""));
  box.addEventListener("focusin", ({ target }) => {
    for (const span of box.querySelectorAll('[tabindex="0"]')) span.tabIndex = -1;
    for (const span of box.querySelectorAll('[aria-selected="true"]')) span.setAttribute("aria-selected", "false");
    target.tabIndex = 0;
    target.setAttribute("aria-selected", "true");
    readout.textContent = said(found.words[spans.indexOf(target)]);
  });
  box.addEventListener("keydown", (event) => {
    const at = spans.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: spans.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    spans[to]?.focus();
  });
  const legend = element(
    "p",
    { class: "legend faint" },
    element("span", { class: "for sample" }, `for ${explained}`),
    element("span", { class: "against sample" }, `against ${explained}`),
    "a stronger shade means a larger contribution",
  );
  const sorted = [...found.words].sort((one, other) => Math.abs(other.attribution) - Math.abs(one.attribution));
  const list = table(
    "All words, largest contribution first",
    ["Word", `Contribution to the log-odds of ${explained}`],
    sorted.map((word) => [beginning(word.word, LONGEST_WORD), signed(word.attribution)]),
  );
  return [box, readout, legend, list, element("p", { class: "faint" }, sums(found))];
}

function sums(found) {
  const all = found.words.reduce((sum, word) => sum + word.attribution, 0);
  return (
    `Log-odds of ${found.explained}: ${signed(found.log_odds)}. An empty text has ${signed(found.empty_log_odds)}; ` +
    `the words add ${signed(all)}, and their interactions add ${signed(found.remainder)}.`
  );
}

function curve(found) {
  const { tokens, threshold, explained } = found;
  const x = (place) => LEFT + (RIGHT - LEFT) * (tokens.length > 1 ? place / (tokens.length - 1) : 1);
  const y = (p) => BOTTOM - (BOTTOM - TOP) * p;
  const line = (kind, p) => drawn("line", { class: kind, x1: LEFT, x2: RIGHT, y1: y(p), y2: y(p) });
  const text = (said, at, height, anchor) => drawn("text", { x: at, y: height, "text-anchor": anchor }, said);
  const points = tokens.map((token, place) => `${x(place).toFixed(1)},${y(token.probability).toFixed(1)}`).join(" ");
  const cut = threshold === null || threshold > 1 ? [] : [line("cut", threshold)];
  const mark = drawn("circle", { class: "end", r: 4, cx: x(tokens.length - 1), cy: y(tokens.at(-1).probability) });
  const picture = drawn(
    "svg",
    { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": told(found) },
    line("axis", 0),
    line("axis", 1),
    ...cut,
    text("1", LEFT - 6, y(1) + 4, "end"),
    text("0", LEFT - 6, y(0) + 4, "end"),
    text("first token", LEFT, HEIGHT - 4, "start"),
    text(`last of ${tokens.length}`, RIGHT, HEIGHT - 4, "end"),
    drawn("polyline", { class: "line", points }),
    mark,
  );
  const caption = element("figcaption", { class: "faint" }, told(found));
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const share = (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (RIGHT - LEFT);
    const place = Math.max(0, Math.min(tokens.length - 1, Math.round(share * (tokens.length - 1))));
    const p = tokens[place].probability;
    mark.setAttribute("cx", x(place));
    mark.setAttribute("cy", y(p));
    const at = `token ${place + 1} of ${tokens.length}`;
    caption.textContent = `After “${shown(tokens[place].token)}”, ${at}: P(${explained}) ${probability(p)}.`;
  });
  picture.addEventListener("pointerleave", () => {
    mark.setAttribute("cx", x(tokens.length - 1));
    mark.setAttribute("cy", y(tokens.at(-1).probability));
    caption.textContent = told(found);
  });
  return element("figure", {}, picture, caption);
}

/** A description of the curve. */
function told({ tokens, turn, label, threshold, explained }) {
  const highest = tokens.reduce((best, token, place) => (token.probability > tokens[best].probability ? place : best), 0);
  const from = turn > 0 ? ` From token ${turn + 1}, “${shown(tokens[turn].token)}”, on, the label is ${label}.` : "";
  const dashed = threshold === null || threshold > 1 ? "" : ` The dashed line is the model's threshold, ${probability(threshold)}.`;
  return (
    `P(${explained}) over ${counted(tokens.length, "token")}: ${probability(tokens[0].probability)} after the first, ` +
    `${probability(tokens[highest].probability)} at the maximum, after “${shown(tokens[highest].token)}” (token ${highest + 1}), ` +
    `and ${probability(tokens.at(-1).probability)} at the end.${from}${dashed}`
  );
}

/** A collapsible table; its rows are created when it is first opened. */
function table(summary, names, rows) {
  const folded = element("details", {}, element("summary", {}, summary));
  folded.addEventListener(
    "toggle",
    () => {
      const head = element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)));
      const body = rows
        .slice(0, MOST_ROWS)
        .map(([name, value]) => element("tr", {}, element("th", { scope: "row", dir: "auto" }, name), element("td", {}, value)));
      const caption = rows.length > MOST_ROWS ? `${summary}: ${MOST_ROWS} of ${counted(rows.length, "row")}` : summary;
      folded.append(
        element(
          "table",
          { class: "figures" },
          element("caption", { class: "hidden" }, caption),
          element("thead", {}, head),
          element("tbody", {}, ...body),
        ),
      );
      if (rows.length > MOST_ROWS)
        folded.append(element("p", { class: "faint" }, `The first ${MOST_ROWS} of ${counted(rows.length, "row")} are shown.`));
    },
    { once: true },
  );
  return folded;
}

/** A token as shown in messages; the empty first token is the beginning-of-text token. */
function shown(token) {
  if (token === "") return "(beginning)";
  return beginning(token.trim(), LONGEST_WORD) || "(white space)";
}

const signed = (value) => (value < 0 ? MINUS : "+") + Math.abs(value).toFixed(2);
