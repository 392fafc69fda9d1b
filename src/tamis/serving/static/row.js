// One message in the table: its verdicts, its explanation, and its correction.

import { announce, beginning, busy, button, count, element, options, probability } from "./dom.js";
import { explanation } from "./explanation.js";
import { UNSURE } from "./rule.js";
import { Refused, call } from "./server.js";

const SHOWN_CHARACTERS = 600;
const MOST_BUTTONS = 2;

/** A text and its state; `cells` are its row of the input file. */
export const newRow = (text, number, cells = null) => ({
  text,
  number,
  cells,
  result: null,
  refused: null,
  explained: null,
  unfolded: false,
  told: null,
  acts: 0,
});

/** A verdict, shown with its name, an edge style and a colour. */
export function chip(verdict, { positive, labels }) {
  const two = positive !== null && labels.length === 2;
  const kind = verdict === UNSURE ? "unsure" : !two ? "other" : verdict === positive ? "positive" : "negative";
  return element("span", { class: `chip ${kind}` }, verdict);
}

/** The two table rows of a message: its results, and its explanation if that is open. */
export class RowView {
  constructor(row, results) {
    Object.assign(this, { row, results, offered: "", asking: false, failed: null });
    const cells = results.names.map((name) => element("td", { role: "cell", "data-name": name }));
    const number = element("th", { scope: "row", role: "rowheader" }, count(row.number));
    // On a phone a cell has two columns: its name, and this content.
    const contents = cells.slice(2, -1).map((cell) => cell.appendChild(element("div")));
    [this.own, this.score, this.here = null] = contents;
    cells[1].append(element("div", { class: "message", dir: "auto" }, beginning(row.text, SHOWN_CHARACTERS)));
    this.inside = element("td", { role: "cell", colspan: cells.length, id: `why-${row.number}` });
    this.why = button("Explain", `message ${row.number}`, () => this.unfold(), { "aria-expanded": "false", "aria-controls": this.inside.id });
    this.correcting = element("span", { class: "choices" });
    this.told = element("p", { class: "told faint" });
    cells.at(-1).append(element("div", { class: "actions" }, this.why, this.correcting), this.told);
    this.line = element("tr", { role: "row" }, number, ...cells.slice(1));
    this.detail = element("tr", { role: "row", class: "detail", hidden: true }, this.inside);
  }

  /** Show the current state. */
  refresh() {
    const { row, results } = this;
    const { result } = row;
    const verdict = results.verdict(row);
    this.own.replaceChildren(...this.ownVerdict());
    this.score.replaceChildren(...(result ? [probability(results.score(row)), bar(results.score(row))] : []));
    if (this.here) this.here.parentNode.hidden = !results.moved;
    this.here?.replaceChildren(...(result ? [chip(verdict, results.model)] : []));
    if (result && verdict !== result.verdict) this.here?.append(element("span", { class: "faint" }, " changed"));
    this.told.textContent = row.told ?? "";
    this.offer();
    const open = row.unfolded && result !== null;
    this.why.hidden = result === null;
    this.why.setAttribute("aria-expanded", String(open));
    this.detail.hidden = !open;
    if (!open) return;
    if (row.explained !== null) {
      if (this.inside.firstChild !== row.explained) this.inside.replaceChildren(row.explained);
    } else if (this.failed !== result) {
      this.explain();
    }
  }

  ownVerdict() {
    const { result, refused } = this.row;
    if (refused !== null) return [element("span", { class: "refused" }, `not classified: ${refused}`)];
    if (result === null) return [element("span", { class: "faint" }, "pending")];
    const rather = result.verdict === UNSURE && result.label !== UNSURE;
    return [chip(result.verdict, this.results.model), rather ? element("span", { class: "faint" }, ` (label: ${result.label})`) : ""];
  }

  /** Show the buttons to confirm, correct or undo; nothing is replaced if nothing changed, so that the focus stays. */
  offer() {
    const { row, results, correcting } = this;
    const made = results.corrections.of(row.text);
    const labels = row.result === null ? [] : results.model.labels.filter((label) => label !== row.result.verdict);
    const own = results.model.labels.find((label) => label === row.result?.verdict);
    const offered = made ? `${made.id} ${made.label} ${made.confirmed}` : JSON.stringify([own, labels]);
    if (offered === this.offered) return;
    this.offered = offered;
    const held = correcting.contains(document.activeElement);
    const refresh = () => results.everywhere(row.text);
    const more = `, message ${row.number}`;
    const correct = (text, label) => {
      const made = button(text, more, () => busy(made, () => results.corrections.correct(row, label(), refresh)));
      return made;
    };
    const confirm = own === undefined ? [] : [correct(`Confirm ${own}`, () => own)];
    if (made) {
      const what = made.confirmed ? `the confirmation of ${made.label}` : `the correction to ${made.label}`;
      const undo = button("Undo", `${what}${more}`, () => busy(undo, () => results.corrections.undo(row, refresh)));
      correcting.replaceChildren(element("span", {}, `${made.confirmed ? "confirmed as" : "corrected to"} ${made.label}`), undo);
    } else if (results.model.labels.length <= MOST_BUTTONS) {
      correcting.replaceChildren(...confirm, ...labels.map((label) => correct(`Correct to ${label}`, () => label)));
    } else if (labels.length > 0) {
      const choice = element("select", { "aria-label": `Correct label${more}` });
      options(
        choice,
        labels.map((label) => [label, label]),
      );
      correcting.replaceChildren(
        ...confirm,
        choice,
        correct("Correct", () => choice.value),
      );
    }
    if (held) (correcting.querySelector("button") ?? this.why).focus();
  }

  unfold() {
    this.row.unfolded = !this.row.unfolded;
    // A failed explanation is requested again only on a click, not on every refresh.
    this.failed = null;
    this.refresh();
  }

  async explain() {
    if (this.asking) return;
    const { row, inside } = this;
    const asked = row.result;
    const say = (text) => inside.replaceChildren(element("p", { class: "faint" }, text));
    this.asking = true;
    say("Computing the explanation…");
    try {
      const body = { texts: [row.text], model: this.results.model.name };
      const answer = await call("POST", "v1/explain", {
        body,
        waiting: (seconds) => say(`The server is busy; trying again in ${seconds} s…`),
      });
      if (row.result === asked) row.explained = explanation(answer.results[0]);
      announce(`The explanation of message ${row.number} is ready.`);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.failed = asked;
      const again = button("Try again", "", () => this.explain());
      inside.replaceChildren(element("p", {}, `The explanation failed: ${error.message}.`), again);
      announce(`The explanation of message ${row.number} failed: ${error.message}.`);
    } finally {
      this.asking = false;
    }
    this.refresh();
  }
}

function bar(score) {
  const made = element("span", { class: "bar", "aria-hidden": "true" });
  made.style.setProperty("--score", String(score));
  return made;
}
