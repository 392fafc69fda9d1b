// The table of verdicts: filter, order, counts, and the saved file.

import { announce, byId, count, element, options } from "./dom.js";
import { RowView, chip } from "./row.js";
import { UNSURE } from "./rule.js";

const ROWS_A_PAGE = 50;
const TOLD_AFTER_MS = 700;
const CHANGED = "changed";
const OPEN = "open";

/** The verdicts of one model. */
export class Results {
  constructor() {
    Object.assign(this, { rows: [], model: null, rule: null, corrections: null, views: new Map(), page: 0, timer: 0 });
    byId("filter").addEventListener("change", () => this.turn(0));
    byId("order").addEventListener("change", () => this.turn(0));
    byId("previous").addEventListener("click", () => this.turn(this.page - 1));
    byId("next").addEventListener("click", () => this.turn(this.page + 1));
  }

  /** Show rows; they replace the previous ones. */
  show(rows, { model, rule, corrections }) {
    Object.assign(this, { rows, model, rule, corrections, page: 0 });
    this.views.clear();
    byId("verdicts").tBodies[0].replaceChildren();
    const { positive, labels } = model;
    const names = [
      "No.",
      "Message",
      "Model’s verdict",
      positive ? `P(${positive})` : "P(label)",
      ...(rule ? ["Verdict here"] : []),
      "Actions",
    ];
    this.names = names;
    const head = names.map((name) => element("th", { scope: "col", role: "columnheader" }, name));
    this.here = rule ? head[4] : null;
    byId("verdicts").tHead.replaceChildren(element("tr", { role: "row" }, ...head));
    options(byId("filter"), [
      ["", "all"],
      ...[...labels, UNSURE].map((name) => [`=${name}`, name]),
      ...(rule ? [[CHANGED, "changed by the sliders"]] : []),
      [OPEN, "not classified"],
    ]);
    const scores = rule
      ? [
          ["high", `P(${positive}), highest first`],
          ["near", "nearest to the threshold first"],
        ]
      : [["doubt", "least certain first"]];
    options(byId("order"), [["", "as given"], ...scores]);
    this.update();
  }

  /** P(positive) of a classified row, or P(label) if the model has no positive label. */
  score(row) {
    return row.result.probabilities[this.model.positive ?? row.result.label];
  }

  /** The verdict with this page's settings; null if there is no result. */
  verdict(row) {
    if (row.result === null) return null;
    return this.rule ? this.rule.verdict(this.score(row)) : row.result.verdict;
  }

  /** Whether a slider has been moved: only then this page has verdicts of its own. */
  get moved() {
    return this.rule !== null && !this.rule.isOwn;
  }

  /** Update everything after new results or a changed rule. */
  update() {
    const filter = byId("filter");
    if (this.here) this.here.hidden = !this.moved;
    for (const option of filter.options) if (option.value === CHANGED) option.hidden = option.disabled = !this.moved;
    if (!this.moved && filter.value === CHANGED) filter.value = "";
    this.count();
    this.list();
  }

  turn(page) {
    this.page = page;
    this.list();
  }

  count() {
    const judged = this.rows.filter((row) => row.result !== null);
    const names = [...this.model.labels, UNSURE];
    const found = new Map(names.map((name) => [name, 0]));
    let changed = 0;
    for (const row of judged) {
      const verdict = this.verdict(row);
      found.set(verdict, (found.get(verdict) ?? 0) + 1);
      changed += verdict !== row.result.verdict;
    }
    const shares = [...found].map(([name, number]) => [
      name,
      number,
      judged.length ? `${((100 * number) / judged.length).toFixed(1)} %` : "",
    ]);
    const items = shares.map(([name, number, share]) =>
      element("li", {}, chip(name, this.model), element("strong", {}, count(number)), element("span", { class: "faint" }, share)),
    );
    const open = this.rows.length - judged.length;
    if (this.moved) items.push(element("li", {}, element("span", {}, "changed by the sliders"), element("strong", {}, count(changed))));
    if (open) items.push(element("li", {}, element("span", {}, "not classified"), element("strong", {}, count(open))));
    byId("counts").replaceChildren(...items);
    const told = shares.map(([name, number]) => `${count(number)} ${name}`).join(", ");
    const before = this.told;
    this.told = told;
    clearTimeout(this.timer);
    // A moving slider changes the counts often; they are announced only when it rests.
    if (before !== undefined && before !== told) this.timer = setTimeout(() => announce(told), TOLD_AFTER_MS);
  }

  list() {
    const filter = byId("filter").value;
    const kept = this.rows.filter((row) => {
      if (filter === "") return true;
      if (filter === OPEN) return row.result === null;
      const verdict = this.verdict(row);
      return filter === CHANGED ? verdict !== null && verdict !== row.result.verdict : `=${verdict}` === filter;
    });
    const by = {
      high: (row) => -this.score(row),
      near: (row) => Math.abs(this.score(row) - this.rule.threshold),
      doubt: (row) => this.score(row),
    }[byId("order").value];
    if (by) {
      const place = new Map(kept.map((row) => [row, row.result === null ? Infinity : by(row)]));
      kept.sort((one, other) => place.get(one) - place.get(other) || one.number - other.number);
    }
    const pages = Math.max(1, Math.ceil(kept.length / ROWS_A_PAGE));
    this.page = Math.min(this.page, pages - 1);
    const first = this.page * ROWS_A_PAGE;
    this.place(kept.slice(first, first + ROWS_A_PAGE));
    byId("shown").textContent = kept.length
      ? `Messages ${count(first + 1)} to ${count(Math.min(first + ROWS_A_PAGE, kept.length))} of ${count(kept.length)}`
      : "No message matches";
    byId("pages").hidden = pages === 1;
    byId("page-number").textContent = `Page ${count(this.page + 1)} of ${count(pages)}`;
    byId("previous").disabled = this.page === 0;
    byId("next").disabled = this.page === pages - 1;
  }

  /** Put rows into the table; rows that stay keep their open explanation and the focus. */
  place(rows) {
    const held = document.activeElement;
    const body = byId("verdicts").tBodies[0];
    const before = [...this.views.keys()];
    this.views = new Map(rows.map((row) => [row, this.views.get(row) ?? new RowView(row, this)]));
    const stay = before.length <= rows.length && before.every((row, at) => row === rows[at]);
    const nodes = [...this.views.values()].slice(stay ? before.length : 0).flatMap((view) => [view.line, view.detail]);
    if (stay) body.append(...nodes);
    else body.replaceChildren(...nodes);
    for (const view of this.views.values()) view.refresh();
    if (held.isConnected && held !== document.activeElement) held.focus({ preventScroll: true });
  }

  /** Update all rows with a text: a correction applies to all of them. */
  everywhere(text) {
    for (const [row, view] of this.views) if (row.text === text) view.refresh();
    this.count();
  }

  /** The content of the saved file: column names, then the cells of each row. */
  table(columns) {
    const { labels } = this.model;
    const own = columns ?? ["text"];
    const names = [
      ...own,
      "label",
      "verdict",
      ...labels.map((label) => `P(${label})`),
      ...(this.moved ? ["verdict here"] : []),
      "corrected to",
      "note",
    ];
    const rows = this.rows.map((row) => {
      const cells = columns ? columns.map((_, place) => row.cells[place] ?? "") : [row.text];
      const { result } = row;
      const found = result
        ? [result.label, result.verdict, ...labels.map((label) => result.probabilities[label])]
        : ["", "", ...labels.map(() => "")];
      const note = row.refused ?? (result ? "" : "not classified");
      return [...cells, ...found, ...(this.moved ? [this.verdict(row) ?? ""] : []), this.corrections.of(row.text)?.label ?? "", note];
    });
    return [names, ...rows];
  }
}
