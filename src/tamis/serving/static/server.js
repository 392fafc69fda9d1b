// Requests to the server: API key, errors, and retries when the server is busy.

import { byId } from "./dom.js";

/** The server returned an error; `field` is the path in the body. Status 0: the server was not reached. */
export class Refused extends Error {
  constructor(status, message, field = null) {
    super(message);
    this.status = status;
    this.field = field;
  }
}

let key = null;
let asked = null;

/**
 * One call with retries: with an API key if the server requires one, and after the wait that a busy server requests.
 * `waiting` is called with the seconds of each wait. Throws Refused, or an AbortError if `signal` is aborted.
 */
export async function call(method, path, { body = null, signal = null, waiting = () => {} } = {}) {
  for (;;) {
    const used = key;
    const response = await send(method, path, body, used, signal);
    if (response.status === 401) {
      if (used === key) await askForKey(used !== null, signal);
      continue;
    }
    const seconds = Number.parseFloat(response.headers.get("Retry-After"));
    if (response.status === 429 || (response.status === 503 && seconds >= 0)) {
      waiting(seconds >= 0 ? seconds : 1);
      await sleep(seconds >= 0 ? seconds : 1, signal);
      continue;
    }
    const answer = await response.json().catch((error) => {
      if (error.name === "AbortError") throw error;
      return null;
    });
    if (response.ok && answer !== null) return answer;
    const error = answer?.error ?? {};
    throw new Refused(
      response.status,
      error.message ?? `the server answered with status ${response.status} and no readable message`,
      error.field,
    );
  }
}

/** Wait that many seconds; throws an AbortError as soon as `signal` is aborted. */
export function sleep(seconds, signal = null) {
  return new Promise((done, failed) => {
    const stop = () => {
      clearTimeout(timer);
      failed(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      done();
    }, 1000 * seconds);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}

async function send(method, path, body, used, signal) {
  const headers = {};
  if (body !== null) headers["Content-Type"] = "application/json";
  if (used !== null) headers.Authorization = `Bearer ${used}`;
  try {
    return await fetch(path, { method, headers, body: body === null ? null : JSON.stringify(body), signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "the server cannot be reached");
  }
}

/** Resolves when the user has entered a key; all waiting calls share one promise. */
function askForKey(refused, signal) {
  const section = byId("key");
  const field = byId("key-value");
  if (asked === null) {
    section.hidden = false;
    field.value = "";
    field.setCustomValidity("");
    byId("key-form").querySelector("label").textContent = refused
      ? "The server refused that key; enter another one"
      : "This server requires an API key";
    field.focus();
    asked = new Promise((given) => {
      byId("key-form").onsubmit = (event) => {
        event.preventDefault();
        // A header can contain only these characters.
        if (!/^[\x21-\x7e]+$/.test(field.value.trim())) {
          field.setCustomValidity("A key must contain only ASCII characters and no spaces.");
          field.reportValidity();
          return;
        }
        key = field.value.trim();
        field.value = "";
        section.hidden = true;
        asked = null;
        given();
      };
    });
    field.oninput = () => field.setCustomValidity("");
  }
  return new Promise((done, failed) => {
    asked.then(done);
    if (signal?.aborted) failed(signal.reason);
    signal?.addEventListener("abort", () => failed(signal.reason), { once: true });
  });
}
