// The page: what is typed is classified as it is typed.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const about = globalThis.tamisData.description;
  const { rule, labels } = about;
  const PAUSE_MS = 150;
  const MOST_LINES = 2000;
  let classifier = null;
  let turn = 0;
  let results = [];

  const percent = (value) => `${(100 * value).toFixed(value > 0.0005 && value < 0.9995 ? 1 : 2)} %`;
  const element = (tag, kind, text) => {
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // The colour of a verdict: the positive label, the other one, unsure, or one of many labels.
  function kind(said) {
    if (said === "unsure" && !rule.multi_label) return "unsure";
    if (rule.positive === null || labels.length !== 2) return "";
    return said === rule.positive ? "positive" : "negative";
  }

  function reason(found) {
    const parts = [];
    if (found.verdict === "unsure") parts.push(`leaning to ${found.label}`);
    if (found.windows > 1) {
      parts.push(
        about.windows.positive === null
          ? `mean over ${found.windows} parts of a long text`
          : `decided by part ${found.window + 1} of ${found.windows}`,
      );
    }
    return parts.join("; ");
  }

  function bar(label, value) {
    const row = element("div", "bar");
    const track = element("div", "track");
    const fill = element("div", `fill ${kind(label)}`);
    fill.style.width = percent(value).replace(" ", "");
    track.append(fill);
    if (label === rule.positive && labels.length === 2) {
      if (rule.low !== null && rule.high !== null) {
        const band = element("div", "band");
        band.style.left = `${100 * rule.low}%`;
        band.style.width = `${100 * (rule.high - rule.low)}%`;
        band.title = `unsure from ${percent(rule.low)} to ${percent(rule.high)}`;
        track.append(band);
      }
      if (rule.threshold !== null) {
        const mark = element("div", "mark");
        mark.style.left = `${100 * rule.threshold}%`;
        mark.title = `threshold ${percent(rule.threshold)}`;
        track.append(mark);
      }
    }
    row.append(element("span", "name", label), track, element("span", "value", percent(value)));
    return row;
  }

  function showOne(found) {
    byId("single").hidden = found === null;
    if (found === null) return;
    const tag = byId("verdict");
    tag.textContent = found.verdict;
    tag.className = `tag ${kind(found.verdict)}`;
    byId("reason").textContent = reason(found);
    const order = Object.entries(found.probabilities);
    if (labels.length > 2) order.sort((a, b) => b[1] - a[1]);
    byId("bars").replaceChildren(...order.map(([label, value]) => bar(label, value)));
  }

  function showRow(found) {
    const row = element("li");
    const value = rule.positive ?? found.label;
    const shown = element("span", "value", percent(found.probabilities[value]));
    shown.title = `P(${value})`;
    row.append(element("span", `tag ${kind(found.verdict)}`, found.verdict), shown);
    row.append(element("span", "text", found.text));
    byId("rows").append(row);
  }

  function showCounts() {
    const counts = new Map();
    for (const { verdict } of results) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
    byId("counts").replaceChildren(
      ...[...counts].map(([said, count]) => element("span", `tag ${kind(said)}`, `${count} ${said}`)),
      element("span", "note", `% = probability of ${rule.positive ?? "the label"}`),
    );
  }

  function status(text, wrong = false) {
    byId("status").textContent = text;
    byId("status").className = wrong ? "error" : "";
  }

  const pause = () => new Promise((resolve) => setTimeout(resolve));

  async function classify() {
    if (classifier === null) return;
    const mine = ++turn;
    const text = byId("text").value;
    const many = byId("lines").checked;
    results = [];
    byId("rows").replaceChildren();
    byId("many").hidden = true;
    if (many || text === "") showOne(null);
    if (text === "") return status("Ready.");
    const begun = performance.now();
    let left = 0;
    try {
      if (!many) {
        status("Computing …");
        const found = await classifier.classify(text);
        if (mine !== turn) return;
        showOne(found);
      } else {
        const all = text.split(/\r?\n/).filter((line) => line.trim() !== "");
        const lines = all.slice(0, MOST_LINES);
        left = all.length - lines.length;
        byId("many").hidden = false;
        for (const line of lines) {
          const found = await classifier.classify(line);
          if (mine !== turn) return;
          results.push(found);
          showRow(found);
          if (results.length % 20 === 0) {
            status(`${results.length} of ${lines.length} …`);
            await pause();
          }
        }
        showCounts();
      }
      const took = Math.round(performance.now() - begun);
      const rest = left > 0 ? ` ${left.toLocaleString()} lines were left out.` : "";
      status(`Computed here in ${took.toLocaleString()} ms.${rest}`, left > 0);
    } catch (error) {
      status(`The text could not be classified: ${error.message}`, true);
    }
  }

  function csv() {
    const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
    const head = ["text", "label", "verdict", ...labels.map((label) => `p_${label}`)];
    const rows = results.map((found) => [
      found.text,
      found.label,
      found.verdict,
      ...labels.map((label) => found.probabilities[label]),
    ]);
    return [head, ...rows].map((row) => row.map(quoted).join(",")).join("\r\n");
  }

  function save() {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = "verdicts.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function describe() {
    const title = labels.length > 4 ? "Text classifier" : `Is it ${labels.join(" or ")}?`;
    document.title = title;
    byId("title").textContent = title;
    const rows = { Labels: labels.join(", ") };
    if (rule.positive !== null && rule.threshold !== null) {
      rows.Threshold = `${rule.positive} from ${percent(rule.threshold)}`;
    }
    if (rule.low !== null && rule.high !== null) {
      rows.Unsure = `from ${percent(rule.low)} to ${percent(rule.high)}`;
    } else if (rule.confidence_floor !== null) {
      rows.Unsure = `below ${percent(rule.confidence_floor)} for every label`;
    }
    rows["Long texts"] = `more than ${about.windows.context} tokens are read in parts`;
    rows.Backbone = String(about.source.backbone ?? "").split(/[\\/]/).pop();
    rows.Weights = about.precision.type === "int8" ? "8 bits, checked against 32 bits" : "32 bits";
    rows["Made with"] = `tamis ${about.source.version}`;
    byId("about").replaceChildren(
      ...Object.entries(rows).flatMap(([name, value]) => [
        element("dt", "", name),
        element("dd", "", value),
      ]),
    );
  }

  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(classify, PAUSE_MS);
  };

  byId("form").addEventListener("submit", (event) => event.preventDefault());
  byId("text").addEventListener("input", later);
  byId("lines").addEventListener("change", classify);
  byId("save").addEventListener("click", save);
  byId("clear").addEventListener("click", () => {
    byId("text").value = "";
    byId("text").focus();
    classify();
  });
  byId("file").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) {
      byId("text").value = await file.text();
      event.target.value = "";
      classify();
    }
  });

  // The large files are loaded behind the page, so that it is seen at once.
  function script(source) {
    return new Promise((resolve, reject) => {
      const added = element("script");
      added.src = source;
      added.onload = resolve;
      added.onerror = () => reject(new Error(`${source} is missing; copy the whole folder`));
      document.head.append(added);
    });
  }

  async function begin() {
    describe();
    try {
      if (!globalThis.WebAssembly) throw new Error("this browser cannot run WebAssembly");
      for (const file of globalThis.tamisData.files) await script(`data/${file}`);
      classifier = await globalThis.tamis.Classifier.load();
      globalThis.tamis.classifier = classifier;
      status("Ready.");
      classify();
    } catch (error) {
      status(`The model could not be loaded: ${error.message}`, true);
    }
  }

  globalThis.tamis.ready = begin();
})();
