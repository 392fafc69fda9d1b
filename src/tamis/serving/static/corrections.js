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

  /** The correction of a text: `{id, label}`; undefined if there is none. */
  of(text) {
    return this.made.get(text);
  }

  /** Correct the label of a row. */
  async correct(row, label, refresh) {
    await this.act(row, refresh, async () => {
      const answer = await call("POST", "v1/feedback", { body: { items: [{ text: row.text, label, model: this.model.name }] } });
      this.made.set(row.text, { id: answer.ids[0], label });
      return `Correction ${answer.ids[0]} is saved: ${label}.`;
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
    const names = ["Number", "Label", "Created", ...(several ? ["Model"] : []), "Undo"];
    const rows = newest.map((item) => {
      const undo = button("Undo", `correction ${item.id}`, () => take(undo, [item.id], () => remove(item.id)));
      const cells = [item.label, new Date(item.created).toLocaleString(), ...(several ? [item.model] : [])].map((cell) =>
        element("td", {}, cell),
      );
      return element("tr", {}, element("th", { scope: "row" }, String(item.id)), ...cells, element("td", {}, undo));
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
    const caption = `${counted(items.length, "correction")}${part}. The list does not show the texts.`;
    const table = element("table", { class: "figures" }, element("caption", {}, caption));
    table.append(
      element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...rows),
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
