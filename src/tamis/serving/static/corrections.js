// Sends and undoes corrections and shows their effect. Corrections are identified by their text, as on the server.

import { announce, busy, button, byId, complain, counted, element, probability } from "./dom.js";
import { Refused, call, sleep } from "./server.js";

const LOOKS = 8;
const LOOK_EVERY_S = 0.4;
const MOST_LISTED = 200;
const SAME = 1e-4;

/** The corrections of one model that were made on this page. */
export class Corrections {
  /** `learnt` is called after the model has changed. */
  constructor(model, learnt) {
    this.model = model;
    this.learnt = learnt;
    this.made = new Map();
  }

  /** The correction of a text: `{id, label, confirmed}`; undefined if there is none. */
  of(text) {
    return this.made.get(text);
  }

  /** Correct the label of a row, or confirm it. */
  async correct(row, label, refresh) {
    await this.act(row, refresh, async () => {
      const answer = await call("POST", "v1/feedback", { body: { items: [{ text: row.text, label, model: this.model.name }] } });
      const confirmed = label === row.result?.verdict;
      this.made.set(row.text, { id: answer.ids[0], label, confirmed });
      return `${confirmed ? "Confirmation" : "Correction"} ${answer.ids[0]} is saved: ${label}.`;
    });
  }

  /** Undo the correction of a row. */
  async undo(row, refresh) {
    const id = this.of(row.text)?.id;
    if (id === undefined) return;
    await this.act(row, refresh, async () => {
      const said = await remove(id);
      this.forget(id);
      return said;
    });
  }

  /** Correct or undo, and show the result: first the request, then what was learned and the new prediction. */
  async act(row, refresh, work) {
    row.acts += 1;
    const act = row.acts;
    const tell = (told) => {
      if (row.acts !== act) return; // a newer action on this row shows its own result
      row.told = told;
      refresh();
      announce(told);
    };
    try {
      const before = await learning(this.model.name);
      const done = await work();
      tell(`${done} Learning…`);
      const said = await outcome(this.model.name, before);
      const [result] = (await call("POST", "v1/predict", { body: { texts: [row.text], model: this.model.name } })).results;
      const was = row.result;
      if (row.acts !== act) return;
      Object.assign(row, { result, explained: null });
      if (moved(was, result)) this.learnt();
      tell(`${done} ${said} ${this.compared(was, result)}`);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      tell(`${row.told ?? ""} Failed: ${error.message}.`.trim());
    }
  }

  forget(id) {
    for (const [text, made] of this.made) if (made.id === id) this.made.delete(text);
  }

  compared(was, now) {
    const label = this.model.positive ?? now.label;
    const said = ({ verdict, probabilities }) => `${verdict}, P(${label}) ${probability(probabilities[label])}`;
    return moved(was, now) ? `New prediction: ${said(now)}; before: ${said(was)}.` : `Prediction unchanged: ${said(now)}.`;
  }
}

/** Whether a prediction has changed; the other texts of a batch change a probability by less than this tolerance. */
const moved = (was, now) => Math.abs(now.probabilities[was.label] - was.probabilities[was.label]) > SAME;

/** The list of all stored corrections, loaded each time it is opened; `undone` is called with the ids that were removed. */
export function listKept(undone) {
  const folded = byId("kept");
  const list = byId("kept-list");
  const load = async () => {
    try {
      show((await call("GET", "v1/feedback")).items);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      list.replaceChildren(element("p", {}, `The list cannot be loaded: ${error.message}.`));
    }
  };
  const take = (pressed, ids, work) =>
    busy(pressed, async () => {
      try {
        announce(await work());
        undone(ids);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        complain(`The correction cannot be undone: ${error.message}.`);
      }
      await load();
      folded.querySelector("summary").focus();
    });
  const show = (items) => {
    const newest = items.slice(-MOST_LISTED).reverse();
    const several = items.some((item) => item.model !== undefined);
    const users = items.some((item) => item.user !== undefined);
    const texts = items.some((item) => item.excerpt !== undefined);
    const columns = [
      ...(texts ? [["Text", (item) => element("span", { class: "message", dir: "auto" }, item.excerpt)]] : []),
      ["Label", (item) => item.label],
      ["In effect", (item) => (item.in_effect ? "yes" : "no")],
      ...(users ? [["User", (item) => item.user ?? ""]] : []),
      ...(several ? [["Model", (item) => item.model]] : []),
      ["Created", (item) => new Date(item.created).toLocaleString()],
    ];
    const names = ["Number", ...columns.map(([name]) => name), "Undo"];
    const rows = newest.map((item) => {
      const undo = button("Undo", `correction ${item.id}`, () => take(undo, [item.id], () => remove(item.id)));
      const cells = columns.map(([name, cell]) => element("td", { role: "cell", "data-name": name }, element("div", {}, cell(item))));
      const number = element("th", { scope: "row", role: "rowheader" }, String(item.id));
      return element("tr", { role: "row" }, number, ...cells, element("td", { role: "cell" }, undo));
    });
    const all = button("Undo all", "corrections", () => {
      if (!confirm(`Undo all ${counted(items.length, "correction")}, including those of other users? Their texts will be deleted.`)) return;
      take(
        all,
        items.map((item) => item.id),
        async () => `${counted((await call("DELETE", "v1/feedback")).removed, "correction")} undone.`,
      );
    });
    const part = items.length > MOST_LISTED ? `, showing the newest ${MOST_LISTED}` : "";
    const hidden = texts ? "" : " This server does not show the texts.";
    const caption = `${counted(items.length, "correction")}${part}.${hidden}`;
    const table = element("table", { class: "figures stacked", role: "table" }, element("caption", {}, caption));
    table.append(
      element(
        "thead",
        { role: "rowgroup" },
        element("tr", { role: "row" }, ...names.map((name) => element("th", { scope: "col", role: "columnheader" }, name))),
      ),
      element("tbody", { role: "rowgroup" }, ...rows),
    );
    list.replaceChildren(...(items.length ? [table, all] : [element("p", {}, "There are no corrections.")]));
  };
  folded.addEventListener("toggle", () => folded.open && load());
}

async function remove(id) {
  try {
    await call("DELETE", `v1/feedback/${id}`);
    return `Correction ${id} is undone; its text is deleted.`;
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 404) throw error;
    return `Correction ${id} no longer exists.`;
  }
}

async function learning(name) {
  const { models } = await call("GET", "v1/models");
  return models.find((model) => model.name === name)?.learning ?? null;
}

/** The result of learning as a sentence; learning runs in the background, so this polls for a while. */
async function outcome(name, before) {
  let now = before;
  for (let look = 0; look < LOOKS && JSON.stringify(now) === JSON.stringify(before); look += 1) {
    await sleep(LOOK_EVERY_S);
    now = await learning(name);
  }
  if (now === null) return "Learning has not finished yet.";
  return `${now.reason.slice(0, 1).toUpperCase()}${now.reason.slice(1)}.`;
}
