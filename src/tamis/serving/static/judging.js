// Classifies many texts in several requests; refused texts keep the reason, and no text is sent again after a result.

import { Refused, call } from "./server.js";

const FIRST_TEXTS = 50;
const MOST_TEXTS = 500;
const MOST_CHARACTERS = 400_000;
const LONE_SURROGATES = /\p{Surrogate}/gu;

/** A text that JSON can contain: lone surrogates become the replacement character. */
export const sendable = (text) => text.replace(LONE_SURROGATES, "\uFFFD");

/**
 * Classify rows in order: sets `result` or `refused` of each. `judged` is called after every request, `waiting` with the
 * seconds that a busy server requests. Throws what `call` throws; finished rows keep their results.
 */
export async function judge(rows, model, { signal, judged = () => {}, waiting }) {
  let most = FIRST_TEXTS;
  for (let at = 0; at < rows.length;) {
    const part = next(rows, at, most);
    await ask(part, model, { signal, waiting });
    at += part.length;
    judged(at);
    most = Math.min(MOST_TEXTS, 2 * most);
  }
}

function next(rows, at, most) {
  const part = [];
  let characters = 0;
  for (let place = at; place < rows.length && part.length < most; place += 1) {
    characters += rows[place].text.length;
    if (part.length > 0 && characters > MOST_CHARACTERS) break;
    part.push(rows[place]);
  }
  return part;
}

async function ask(rows, model, { signal, waiting }) {
  let rest = rows;
  while (rest.length > 0) {
    try {
      const { results } = await call("POST", "v1/predict", { body: { texts: rest.map((row) => row.text), model }, signal, waiting });
      rest.forEach((row, place) => Object.assign(row, { result: results[place], refused: null }));
      return;
    } catch (error) {
      if (!(error instanceof Refused) || ![413, 422].includes(error.status)) throw error;
      const place = /^texts\.(\d+)$/.exec(error.field ?? "")?.[1] ?? (rest.length === 1 ? 0 : null);
      if (place !== null && Number(place) < rest.length) {
        // The index of a text within this request means nothing to the user.
        Object.assign(rest[place], { result: null, refused: error.message.replace(/^texts\.\d+:? ?/, "") });
        rest = rest.filter((_, other) => other !== Number(place));
      } else if (error.status === 413 && rest.length > 1) {
        const half = Math.ceil(rest.length / 2);
        await ask(rest.slice(0, half), model, { signal, waiting });
        rest = rest.slice(half);
      } else {
        throw error;
      }
    }
  }
}
