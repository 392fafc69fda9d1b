// Threshold and unsure band on P(positive): first the model's values, then those of the sliders.

import { byId, drawn, element, probability } from "./dom.js";

export const UNSURE = "unsure";
const BINS = 50;
const WIDTH = 500;
const HEIGHT = 60;
const NEW_BAND = 0.05;

/** The decision rule on this page, for a model with a positive label. */
export class Rule {
  constructor(model) {
    this.positive = model.positive;
    this.negative = model.labels.find((label) => label !== model.positive);
    this.model = { threshold: model.threshold ?? 0.5, low: model.unsure?.[0] ?? null, high: model.unsure?.[1] ?? null };
    this.reset();
  }

  /** Whether a model has a positive label and a threshold. */
  static fits(model) {
    return model.positive !== null && model.labels.length === 2;
  }

  /** Use the model's values, with all digits. */
  reset() {
    Object.assign(this, this.model);
    this.keepDistances();
  }

  /** Whether all values are the model's. */
  get isOwn() {
    return ["threshold", "low", "high"].every((name) => this[name] === this.model[name]);
  }

  /** Set the threshold; the band moves with it. */
  cut(threshold) {
    this.threshold = threshold;
    if (this.low !== null) [this.low, this.high] = [Math.max(0, threshold - this.below), Math.min(1, threshold + this.above)];
  }

  /** Set one end of the band; it stays on its side of the threshold. */
  reach(end, value) {
    this[end] = end === "low" ? Math.min(value, this.threshold) : Math.max(value, Math.min(1, this.threshold));
    this.keepDistances();
  }

  /** Enable or disable the band. */
  band(on) {
    if (!on) [this.low, this.high] = [null, null];
    else if (this.model.low !== null && this.threshold === this.model.threshold) [this.low, this.high] = [this.model.low, this.model.high];
    else [this.low, this.high] = [Math.max(0, this.threshold - NEW_BAND), Math.min(1, this.threshold + NEW_BAND)];
    this.keepDistances();
  }

  /** The verdict for P(positive); the server uses the same rule. */
  verdict(score) {
    if (this.low !== null && score >= this.low && score <= this.high) return UNSURE;
    return score >= this.threshold ? this.positive : this.negative;
  }

  keepDistances() {
    this.below = this.low === null ? 0 : this.threshold - this.low;
    this.above = this.high === null ? 0 : this.high - this.threshold;
  }
}

/** The sliders of a rule, with a histogram of the scores. */
export class RuleControls {
  /** `changed` is called after every change by the user. */
  constructor(changed) {
    this.changed = changed;
    this.rule = null;
    this.inputs = {};
    byId("band").addEventListener("change", (event) => this.set(() => this.rule.band(event.target.checked)));
    byId("own").addEventListener("click", () => this.set(() => this.rule.reset()));
  }

  /** Show a rule, or hide the sliders for null. */
  show(rule) {
    this.rule = rule;
    byId("rule").hidden = rule === null;
    if (rule === null) return;
    for (const name of document.querySelectorAll(".positive-name")) name.textContent = rule.positive;
    const rows = [
      ["threshold", `${rule.positive} from`, (value) => rule.cut(value)],
      ["low", "unsure from", (value) => rule.reach("low", value)],
      ["high", "unsure up to", (value) => rule.reach("high", value)],
    ];
    byId("sliders").replaceChildren(...rows.map((row) => this.slider(...row)));
    this.refresh();
  }

  /** Draw the histogram of the scores; heights are square roots, so that small counts remain visible. */
  draw(scores) {
    const { rule } = this;
    if (rule === null) return;
    const bins = new Array(BINS).fill(0);
    for (const score of scores) bins[Math.min(BINS - 1, Math.floor(score * BINS))] += 1;
    const most = Math.sqrt(Math.max(1, ...bins));
    const width = WIDTH / BINS;
    const parts = bins.map((number, bin) => {
      const height = (HEIGHT * Math.sqrt(number)) / most;
      return drawn("rect", { class: "bar", x: bin * width + 1, y: HEIGHT - height, width: width - 2, height });
    });
    const at = (score) => Math.min(1, score) * WIDTH;
    if (rule.low !== null) {
      parts.unshift(
        drawn("rect", { class: "band", x: at(rule.low), y: 0, width: Math.max(1, at(rule.high) - at(rule.low)), height: HEIGHT }),
      );
    }
    parts.push(drawn("line", { class: "cut", x1: at(rule.threshold), x2: at(rule.threshold), y1: 0, y2: HEIGHT }));
    byId("histogram").replaceChildren(...parts);
  }

  slider(name, label, put) {
    const range = element("input", { type: "range", id: `slide-${name}`, min: 0, max: 1, step: 0.001 });
    const number = element("input", { type: "number", min: 0, max: 1, step: "any", "aria-label": `${label}, as a number` });
    const moved = (value) => {
      if (Number.isFinite(value) && value >= 0 && value <= 1) this.set(() => put(value), number);
    };
    range.addEventListener("input", () => moved(range.valueAsNumber));
    number.addEventListener("input", () => moved(number.valueAsNumber));
    number.addEventListener("change", () => this.refresh());
    this.inputs[name] = { range, number };
    return element("div", { class: "slider" }, element("label", { for: range.id }, label), range, number);
  }

  set(change, typed = null) {
    change();
    this.refresh(typed);
    this.changed();
  }

  /** Show the current values; a field with the focus keeps its content. */
  refresh(typed = null) {
    const { rule } = this;
    byId("band").checked = rule.low !== null;
    byId("own").disabled = rule.isOwn;
    for (const [name, { range, number }] of Object.entries(this.inputs)) {
      const value = rule[name];
      range.disabled = number.disabled = value === null;
      range.value = value ?? rule.threshold;
      range.setAttribute("aria-valuetext", value === null ? "none" : probability(value));
      if (number !== typed || document.activeElement !== number) number.value = value === null ? "" : Number(value.toFixed(4));
    }
  }
}
