// Corrections: sent, undone, and what became of them. What was corrected is remembered by text, as the server does.

import { announce, busy, button, byId, complain, counted, element, probability } from "./dom.js";
import { Refused, call, sleep } from "./server.js";

const LOOKS = 8;
const LOOK_EVERY_S = 0.4;
const MOST_LISTED = 200;
const SAME = 1e-4;

/** The corrections of one model, as far as they were made on this page. */
export class Corrections {
  /** `learnt` is called when the model has changed. */
  constructor(model, learnt) {
    this.model = model;
    this.learnt = learnt;
    this.made = new Map();
  }

  /** The correction of a text: `{id, label}`; undefined where there is none. */
  of(text) {
    return this.made.get(text);
  }

  /** Say which label a row should have had. */
  async correct(row, label, refresh) {
    await this.act(row, refresh, async () => {
      const answer = await call("POST", "v1/feedback", { body: { items: [{ text: row.text, label, model: this.model.name }] } });
      this.made.set(row.text, { id: answer.ids[0], label });
      return `Correction ${answer.ids[0]} is kept: ${label}.`;
    });
  }

  /** Take a row's correction back. */
  async undo(row, refresh) {
    const id = this.of(row.text)?.id;
    if (id === undefined) return;
    await this.act(row, refresh, async () => {
      const said = await remove(id);
      this.forget(id);
      return said;
    });
  }

  /** Correct or undo, tell that, then what was learnt and what the model says of the text now. */
  async act(row, refresh, work) {
    row.acts += 1;
    const act = row.acts;
    const tell = (told) => {
      if (row.acts !== act) return; // undone while it was being learnt: that is told instead
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
    return moved(was, now) ? `The model says ${said(now)}; before: ${said(was)}.` : `The model says ${said(now)}, as before.`;
  }
}

/** Whether a verdict differs from the one before; what shares a batch moves a probability by less than this. */
const moved = (was, now) => Math.abs(now.probabilities[was.label] - was.probabilities[was.label]) > SAME;

/** The list of everything that the server keeps, fetched each time it is unfolded; `undone` is told the ids that are gone. */
export function listKept(undone) {
  const folded = byId("kept");
  const list = byId("kept-list");
  const load = async () => {
    try {
      show((await call("GET", "v1/feedback")).items);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      list.replaceChildren(element("p", {}, `The list cannot be had: ${error.message}.`));
    }
  };
  const take = (pressed, ids, work) =>
    busy(pressed, async () => {
      try {
        announce(await work());
        undone(ids);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        complain(`It cannot be undone: ${error.message}.`);
      }
      await load();
      folded.querySelector("summary").focus();
    });
  const show = (items) => {
    const newest = items.slice(-MOST_LISTED).reverse();
    const several = items.some((item) => item.model !== undefined);
    const names = ["Number", "Label", "Since", ...(several ? ["Model"] : []), "Undo"];
    const rows = newest.map((item) => {
      const undo = button("Undo", `correction ${item.id}`, () => take(undo, [item.id], () => remove(item.id)));
      const cells = [item.label, new Date(item.created).toLocaleString(), ...(several ? [item.model] : [])].map((cell) =>
        element("td", {}, cell),
      );
      return element("tr", {}, element("th", { scope: "row" }, String(item.id)), ...cells, element("td", {}, undo));
    });
    const all = button("Undo all", "corrections", () => {
      if (!confirm(`Undo ${counted(items.length, "correction")}, whoever made them? Their texts are erased.`)) return;
      take(
        all,
        items.map((item) => item.id),
        async () => `${counted((await call("DELETE", "v1/feedback")).removed, "correction")} undone.`,
      );
    });
    const part = items.length > MOST_LISTED ? `, the newest ${MOST_LISTED}` : "";
    const caption = `${counted(items.length, "correction")}${part}. The list has no texts.`;
    const table = element("table", { class: "figures" }, element("caption", {}, caption));
    table.append(
      element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...rows),
    );
    list.replaceChildren(...(items.length ? [table, all] : [element("p", {}, "There are none.")]));
  };
  folded.addEventListener("toggle", () => folded.open && load());
}

async function remove(id) {
  try {
    await call("DELETE", `v1/feedback/${id}`);
    return `Correction ${id} is undone, its text erased.`;
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 404) throw error;
    return `Correction ${id} was gone already.`;
  }
}

async function learning(name) {
  const { models } = await call("GET", "v1/models");
  return models.find((model) => model.name === name)?.learning ?? null;
}

/** How learning went, in a sentence; it follows by itself, so it is looked for a while. */
async function outcome(name, before) {
  let now = before;
  for (let look = 0; look < LOOKS && JSON.stringify(now) === JSON.stringify(before); look += 1) {
    await sleep(LOOK_EVERY_S);
    now = await learning(name);
  }
  if (now === null) return "It is not learnt yet.";
  return `${now.reason.slice(0, 1).toUpperCase()}${now.reason.slice(1)}.`;
}
