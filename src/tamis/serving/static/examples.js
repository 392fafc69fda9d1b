// Messages to try on an empty page; the server gives only those whose verdicts hold.

import { button, byId, element } from "./dom.js";
import { Refused, call } from "./server.js";

/** Examples of the chosen model, shown as long as there are no messages. */
export class Examples {
  /** `tried` is called with the text of an example that was clicked. */
  constructor(tried) {
    this.tried = tried;
    this.empty = true;
    this.asked = null;
  }

  /** Load the examples of a model; without any, or if they cannot be had, the page shows none. */
  async load(model) {
    this.asked = model;
    byId("example-list").replaceChildren();
    this.refresh();
    try {
      const { examples } = await call("GET", `v1/examples?model=${encodeURIComponent(model)}`);
      if (this.asked !== model) return; // another model was chosen meanwhile
      const items = examples.map(({ text }) => element("li", {}, button(text, "", () => this.tried(text), { dir: "auto" })));
      byId("example-list").replaceChildren(...items);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
    this.refresh();
  }

  /** Hide the examples for good: there are messages now. */
  done() {
    this.empty = false;
    this.refresh();
  }

  refresh() {
    byId("examples").hidden = !this.empty || byId("example-list").children.length === 0;
  }
}
