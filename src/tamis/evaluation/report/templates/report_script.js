"use strict";
(() => {
  const whole = new Intl.NumberFormat("en-US");
  const find = (selector) => document.querySelector(".tamis-report " + selector);

  function slider() {
    const source = find("#tamis-scores");
    if (!source) return;
    const scores = JSON.parse(source.textContent);
    const slide = find("#tamis-slide"), number = find("#tamis-number"), told = find("#tamis-told");
    const rows = [...find(".live tbody").rows], all = scores.rows[0] + scores.rows[1];
    const kept = (p) => Math.min(1 - 1e-6, Math.max(1e-6, p));
    const logit = (p) => Math.log(kept(p) / (1 - kept(p)));
    // In log-odds, thresholds near 0 and 1 have as much room as those in the middle.
    const ends = [...scores.upper, ...scores.lower, scores.start].map(logit).map(Math.abs);
    const reach = ends.reduce((a, b) => Math.max(a, b), 2) * 1.02;
    const threshold = (place) => place <= 0 ? 0 : place >= 1000 ? 1
      : Number((1 / (1 + Math.exp(-(place / 500 - 1) * reach))).toPrecision(4));
    const place = (value) => value <= 0 ? 0 : value >= 1 ? 1000
      : Math.min(999, Math.max(1, Math.round((logit(value) / reach + 1) * 500)));

    function from(sorted, value) {  // how many of the sorted scores are at least `value`
      let low = 0, high = sorted.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (sorted[middle] < value) low = middle + 1; else high = middle;
      }
      return sorted.length - low;
    }

    function counts(value) {
      return [scores.upper, scores.lower].flatMap((sorted, which) => {
        const total = scores.rows[which];
        const above = sorted.length ? Math.round(from(sorted, value) * total / sorted.length) : 0;
        return [above, total - above];
      });
    }

    function share(part, total) {
      return total ? (100 * part / total).toFixed(part / total < 0.1 ? 2 : 1) + " %" : "-";
    }

    // Whole numbers that add up to `total`, by the largest remainders, as in the sentence on top.
    function apportion(parts, total) {
      const sum = parts.reduce((a, b) => a + b, 0);
      if (!sum) return parts.map(() => 0);
      const found = parts.map((part) => Math.floor(part * total / sum));
      const rest = parts.map((part, index) => [-(part * total % sum), index]);
      rest.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
      const missing = total - found.reduce((a, b) => a + b, 0);
      for (const [, index] of rest.slice(0, missing)) found[index] += 1;
      return found;
    }

    const own = counts(scores.start);

    function show(value, moved) {
      const [a, b, c, d] = counts(value);
      const [upper, lower] = apportion(scores.rows, 1000);
      const thousand = [...apportion([a, b], upper), ...apportion([c, d], lower)];
      rows.forEach((row, index) => {
        const count = [a, b, c, d][index], change = count - own[index];
        row.cells[1].textContent = whole.format(count);
        row.cells[2].textContent = whole.format(thousand[index]);
        row.cells[3].textContent = change > 0 ? "+" + whole.format(change)
          : change < 0 ? "\u2212" + whole.format(-change) : "0";
      });
      const text = scores.kind === "threshold"
        ? `Recall ${share(a, a + b)}, false positive rate ${share(c, c + d)}, precision ${share(a, a + c)}.`
        : `Unsure: ${share(b + d, all)}. Errors among the other rows: ${share(c, a + c)}.`;
      told.textContent = text;
      slide.setAttribute("aria-valuetext", `${Number(value.toPrecision(4))}. ${text}`);
      if (moved !== slide) slide.value = place(value);
      if (moved !== number) number.value = Number(value.toPrecision(4));
    }

    slide.addEventListener("input", () => show(threshold(Number(slide.value)), slide));
    number.addEventListener("input", () => {
      const value = number.valueAsNumber;
      if (value >= 0 && value <= 1) show(value, number);
    });
    find("#tamis-reset").addEventListener("click", () => show(scores.start));
    show(scores.start);
    find(".live").hidden = false;
  }

  function filter() {
    const controls = find(".filters");
    if (!controls) return;
    const text = find("#tamis-find"), kind = find("#tamis-kind"), found = find("#tamis-found");
    const plain = (words) => words.normalize("NFKC").toLowerCase();
    const rows = [...find(".mistakes tbody").rows].map((row) => (
      {row, text: plain(row.cells[3].textContent), kind: row.dataset.kind}));

    function show() {
      const words = plain(text.value);
      let shown = 0;
      for (const one of rows) {
        const fits = (!kind.value || one.kind === kind.value) && one.text.includes(words);
        one.row.hidden = !fits;
        shown += fits;
      }
      found.textContent = `${whole.format(shown)} of ${whole.format(rows.length)} shown`;
    }

    text.addEventListener("input", show);
    kind.addEventListener("change", show);
    show();
    controls.hidden = false;
  }

  slider();
  filter();
})();
