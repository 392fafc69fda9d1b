// The normalizers of a tokenizer.json (Rust library `tokenizers` 0.23, tokenizers/src/normalizers).
// Regular expressions are those of Oniguruma, which that library uses: vscode-oniguruma runs them.
"use strict";
(() => {
  const WHITE = "\\t-\\r\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
  const LEFT = new RegExp(`^[${WHITE}]+`);
  const RIGHT = new RegExp(`[${WHITE}]+$`);

  // Every match of an Oniguruma expression as [start, end], as the crate `onig` iterates: an empty
  // match right after the previous match is skipped. \G is the place where the search begins.
  function* matches(scanner, text) {
    if (text === "") return;
    const onig = globalThis.onig;
    const string = new onig.OnigString(text);
    try {
      let from = 0;
      let previous = -1;
      while (from <= text.length) {
        const found = scanner.findNextMatchSync(string, from);
        if (found === null) return;
        const { start, end } = found.captureIndices[0];
        if (start === end && end === previous) {
          from += text.codePointAt(from) > 0xffff ? 2 : 1;
          continue;
        }
        from = previous = end;
        yield [start, end];
      }
    } finally {
      string.dispose();
    }
  }

  function replacer(pattern, content) {
    if ("String" in pattern) return (text) => text.replaceAll(pattern.String, () => content);
    const scanner = new globalThis.onig.OnigScanner([pattern.Regex]);
    return (text) => {
      let out = "";
      let last = 0;
      for (const [start, end] of matches(scanner, text)) {
        out += text.slice(last, start) + content;
        last = end;
      }
      return last === 0 && out === "" ? text : out + text.slice(last);
    };
  }

  const KINDS = {
    NFC: () => (text) => text.normalize("NFC"),
    NFD: () => (text) => text.normalize("NFD"),
    NFKC: () => (text) => text.normalize("NFKC"),
    NFKD: () => (text) => text.normalize("NFKD"),
    Lowercase: () => (text) => Array.from(text, (sign) => sign.toLowerCase()).join(""),
    StripAccents: () => (text) => text.replace(/\p{M}/gu, ""),
    Prepend: ({ prepend }) => (text) => (text === "" ? text : prepend + text),
    Strip: ({ strip_left: left, strip_right: right }) => (text) => {
      const cut = left ? text.replace(LEFT, "") : text;
      return right ? cut.replace(RIGHT, "") : cut;
    },
    Replace: ({ pattern, content }) => replacer(pattern, content),
    Sequence: ({ normalizers }) => {
      const steps = normalizers.map(normalizer);
      return (text) => steps.reduce((value, step) => step(value), text);
    },
  };

  // The function from text to text that a normalizer of a tokenizer.json describes.
  function normalizer(settings) {
    return settings === null || settings === undefined
      ? (text) => text
      : KINDS[settings.type](settings);
  }

  globalThis.tamisText = { normalizer, matches, WHITE };
})();
