// From a text to a verdict, as `predict.py` of `tamis export --to onnx`: windows, aggregation,
// calibrated probabilities, threshold, unsure band. Everything is in this folder; no request is made.
"use strict";
(() => {
  const data = globalThis.tamisData;

  function bytes(base64) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
    const text = atob(base64);
    const out = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
    return out;
  }

  function taken(name) {
    const value = data[name];
    data[name] = null; // the text of a large file is not kept beside its bytes
    return value;
  }

  // The windows of token ids that a text is scored by.
  function windows(ids, about) {
    while (ids.length > 1 && ids[ids.length - 1] === about.dropped_id) ids.pop();
    const cut = about.windows;
    if (ids.length === 0) return [[about.empty_id]];
    if (ids.length <= cut.context) return [ids];
    const room = cut.size - cut.begin;
    const last = ids.length - room;
    const step = Math.max(1, room - Math.trunc(cut.overlap * room));
    const count = 1 + Math.ceil((last - cut.begin) / step);
    const width = count > 1 ? (last - cut.begin) / (count - 1) : 0;
    return Array.from({ length: count }, (_, i) => {
      const start = count > 1 && i === count - 1 ? last : Math.trunc(i * width + cut.begin);
      return [...ids.slice(0, cut.begin), ...ids.slice(start, start + room)];
    });
  }

  // One score for the logits of a text's windows, and the number of the deciding window.
  function aggregate(rows, { positive, penalty }) {
    if (rows.length === 1) return [rows[0], 0];
    if (positive === null) {
      const mean = rows[0].map((_, k) => rows.reduce((sum, row) => sum + row[k], 0) / rows.length);
      const best = mean.indexOf(Math.max(...mean));
      const margin = (row) => row[best] - Math.max(...row.filter((_, k) => k !== best));
      const margins = rows.map(margin);
      return [mean, margins.indexOf(Math.max(...margins))];
    }
    const odds = rows.map((row) => row[positive] - row[1 - positive]);
    const place = odds.indexOf(Math.max(...odds));
    const score = [...rows[place]];
    score[positive] -= penalty * Math.log(rows.length);
    return [score, place];
  }

  function probabilities(score, rule) {
    if (rule.multi_label) return score.map((value) => 1 / (1 + Math.exp(-value)));
    const largest = Math.max(...score);
    const odds = score.map((value) => Math.exp(value - largest));
    const sum = odds.reduce((total, value) => total + value, 0);
    return odds.map((value) => value / sum);
  }

  // Label (never unsure) and verdict for probabilities.
  function decide(p, labels, rule) {
    const two = labels.length === 2 && rule.positive !== null;
    const place = two ? labels.indexOf(rule.positive) : -1;
    let label = labels[p.indexOf(Math.max(...p))];
    if (two && rule.threshold !== null) {
      label = labels[p[place] >= rule.threshold ? place : 1 - place];
    }
    if (rule.multi_label) {
      const applying = labels.filter((_, k) => p[k] >= 0.5);
      return { label, verdict: applying.join(", ") || "none", labels: applying };
    }
    const unsure =
      two && rule.low !== null && rule.high !== null
        ? p[place] >= rule.low && p[place] <= rule.high
        : rule.confidence_floor !== null && Math.max(...p) < rule.confidence_floor;
    return { label, verdict: unsure ? "unsure" : label };
  }

  class Classifier {
    constructor(session, tokenizer, about) {
      this.session = session;
      this.tokenizer = tokenizer;
      this.about = about;
      this.labels = about.labels;
    }

    // Loads everything; `globalThis.ort` and the files of data/ must be there.
    static async load() {
      const about = data.description;
      const settings = globalThis.ort.env.wasm;
      const module = new Blob([bytes(taken("runtimeModule"))], { type: "text/javascript" });
      const address = URL.createObjectURL(module);
      settings.numThreads = 1;
      settings.wasmPaths = { mjs: address };
      settings.wasmBinary = bytes(taken("runtimeWasm")).buffer;
      if (data.onigurumaWasm) await globalThis.onig.loadWASM(bytes(taken("onigurumaWasm")).buffer);
      const tokenizer = new globalThis.tamisText.Tokenizer(JSON.parse(taken("tokenizer")));
      const session = await globalThis.ort.InferenceSession.create(bytes(taken("model")), {
        executionProviders: ["wasm"],
      });
      URL.revokeObjectURL(address);
      settings.wasmBinary = undefined;
      return new Classifier(session, tokenizer, about);
    }

    async logits(ids) {
      const { Tensor } = globalThis.ort;
      const shape = [1, ids.length];
      const feeds = {
        input_ids: new Tensor("int64", BigInt64Array.from(ids, BigInt), shape),
        attention_mask: new Tensor("int64", new BigInt64Array(ids.length).fill(1n), shape),
      };
      const found = await this.session.run(feeds, ["logits"]);
      return Array.from(found.logits.data);
    }

    // { text, label, verdict, probabilities, window, windows } of one text.
    async classify(text) {
      const parts = windows(this.tokenizer.encode(text), this.about);
      const rows = [];
      for (const ids of parts) rows.push(await this.logits(ids));
      const [score, window] = aggregate(rows, this.about.windows);
      const p = probabilities(score, this.about.rule);
      const named = Object.fromEntries(this.labels.map((label, k) => [label, p[k]]));
      const said = decide(p, this.labels, this.about.rule);
      return { text, ...said, probabilities: named, window, windows: parts.length };
    }
  }

  globalThis.tamis = { Classifier, windows, aggregate, decide };
})();
