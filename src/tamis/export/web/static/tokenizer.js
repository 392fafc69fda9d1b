// From text to token ids: byte-level BPE as a tokenizer.json describes it, with the same ids as the
// Rust library `tokenizers` 0.23. The export refuses a tokenizer with parts that are not here.
"use strict";
(() => {
  const { normalizer, matches, WHITE } = globalThis.tamisText;
  const GPT2 = new RegExp(
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+" +
      `| ?[^${WHITE}\\p{L}\\p{N}]+|[${WHITE}]+(?![^${WHITE}])|[${WHITE}]+`,
    "gu",
  );
  const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d]/u;
  const SPACE = new RegExp(`[${WHITE}]`);
  const UTF8 = new TextEncoder();

  // GPT-2's printable character for each byte (openai/gpt-2, encoder.py).
  function byteCharacters() {
    const printable = (byte) =>
      (byte > 32 && byte < 127) || (byte > 160 && byte < 256 && byte !== 173);
    let next = 256;
    return Array.from({ length: 256 }, (_, byte) =>
      String.fromCharCode(printable(byte) ? byte : next++),
    );
  }
  const CHARACTERS = byteCharacters();

  // A priority queue of [rank, position, ...]: the lowest rank first, then the leftmost.
  class Queue {
    items = [];
    static before = (a, b) => a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);
    push(item) {
      const { items } = this;
      let place = items.push(item) - 1;
      while (place > 0) {
        const parent = (place - 1) >> 1;
        if (!Queue.before(item, items[parent])) break;
        items[place] = items[parent];
        place = parent;
      }
      items[place] = item;
    }
    pop() {
      const { items } = this;
      const top = items[0];
      const last = items.pop();
      if (items.length === 0) return top;
      let place = 0;
      for (;;) {
        let child = 2 * place + 1;
        if (child >= items.length) break;
        if (child + 1 < items.length && Queue.before(items[child + 1], items[child])) child++;
        if (!Queue.before(items[child], last)) break;
        items[place] = items[child];
        place = child;
      }
      items[place] = last;
      return top;
    }
  }

  // Byte-level BPE with its vocabulary and merges.
  class Bpe {
    constructor(model) {
      this.vocabulary = new Map(Object.entries(model.vocab));
      this.unknown = model.unk_token == null ? null : this.vocabulary.get(model.unk_token);
      this.fused = model.fuse_unk === true;
      this.whole = model.ignore_merges === true;
      this.merges = new Map();
      model.merges.forEach((merge, rank) => {
        const [left, right] = typeof merge === "string" ? merge.split(" ") : merge;
        const one = this.vocabulary.get(left);
        const two = this.vocabulary.get(right);
        this.merges.set(one * 2 ** 26 + two, [rank, this.vocabulary.get(left + right)]);
      });
      this.kept = new Map();
    }

    // The ids of one piece, already written in byte characters.
    ids(piece) {
      const known = this.kept.get(piece);
      if (known !== undefined) return known;
      const found =
        this.whole && this.vocabulary.has(piece)
          ? [this.vocabulary.get(piece)]
          : this.merged(this.letters(piece));
      if (this.kept.size < 20000) this.kept.set(piece, found);
      return found;
    }

    letters(piece) {
      const ids = [];
      let afterUnknown = false;
      for (const letter of piece) {
        const id = this.vocabulary.get(letter);
        if (id !== undefined) ids.push(id);
        else if (this.unknown !== null && !(this.fused && afterUnknown)) ids.push(this.unknown);
        afterUnknown = id === undefined;
      }
      return ids;
    }

    merged(ids) {
      const next = ids.map((_, place) => place + 1);
      const before = ids.map((_, place) => place - 1);
      const queue = new Queue();
      const add = (place) => {
        if (place < 0 || next[place] >= ids.length) return;
        const right = next[place];
        const merge = this.merges.get(ids[place] * 2 ** 26 + ids[right]);
        if (merge) queue.push([merge[0], place, ids[place], ids[right], merge[1]]);
      };
      for (let place = 0; place + 1 < ids.length; place++) add(place);
      while (queue.items.length > 0) {
        const [, place, left, right, together] = queue.pop();
        const other = next[place];
        if (ids[place] !== left || other >= ids.length || ids[other] !== right) continue;
        ids[place] = together;
        ids[other] = -1;
        next[place] = next[other];
        if (next[place] < ids.length) before[next[place]] = place;
        add(before[place]);
        add(place);
      }
      return ids.filter((id) => id !== -1);
    }
  }

  // Splits a text at added tokens: a list of [text, null] and [content, id].
  class AddedTokens {
    constructor(tokens, normalize) {
      this.tokens = new Map(tokens.map((token) => [normalize(token.content), token]));
      const longest = [...this.tokens.keys()].filter(Boolean).sort((a, b) => b.length - a.length);
      const quoted = longest.map((content) => content.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
      this.pattern = quoted.length === 0 ? null : new RegExp(quoted.join("|"), "g");
    }

    split(text) {
      if (this.pattern === null) return [[text, null]];
      const parts = [];
      let last = 0;
      for (const found of text.matchAll(this.pattern)) {
        const token = this.tokens.get(found[0]);
        let start = found.index;
        let end = start + found[0].length;
        if (start < last) continue;
        const sides = [text.slice(0, start), text.slice(end)];
        const left = Array.from(sides[0].slice(-2)).pop() ?? "";
        const right = Array.from(sides[1].slice(0, 2))[0] ?? "";
        if (token.single_word && (WORD.test(left) || WORD.test(right))) continue;
        while (token.lstrip && start > last && SPACE.test(text[start - 1])) start--;
        while (token.rstrip && end < text.length && SPACE.test(text[end])) end++;
        if (start > last) parts.push([text.slice(last, start), null]);
        parts.push([text.slice(start, end), token.id]);
        last = end;
      }
      if (last < text.length) parts.push([text.slice(last), null]);
      return parts;
    }
  }

  // Pre-tokenizers: each is a function from pieces to pieces.
  const SPLITTERS = {
    Sequence: ({ pretokenizers }) => {
      const steps = pretokenizers.map(splitter);
      return (pieces) => steps.reduce((value, step) => step(value), pieces);
    },
    ByteLevel: (settings) => (pieces) => {
      const spaced = pieces.map((piece) =>
        settings.add_prefix_space && !piece.startsWith(" ") ? ` ${piece}` : piece,
      );
      const cut =
        settings.use_regex === false ? spaced : spaced.flatMap((piece) => piece.match(GPT2) ?? []);
      return cut.map((piece) =>
        Array.from(UTF8.encode(piece), (byte) => CHARACTERS[byte]).join(""),
      );
    },
    Digits: ({ individual_digits: single }) => (pieces) =>
      pieces.flatMap((piece) => piece.match(single ? /\p{N}|\P{N}+/gu : /\p{N}+|\P{N}+/gu) ?? []),
    Split: ({ pattern, behavior, invert }) => {
      const scanner =
        "Regex" in pattern ? new globalThis.onig.OnigScanner([pattern.Regex]) : null;
      const find = (piece) =>
        scanner !== null
          ? [...matches(scanner, piece)]
          : places(piece, pattern.String);
      return (pieces) => pieces.flatMap((piece) => cutAt(piece, find(piece), behavior, invert));
    },
  };

  function places(piece, content) {
    const found = [];
    for (let at = piece.indexOf(content); at !== -1; at = piece.indexOf(content, at)) {
      found.push([at, (at += content.length)]);
    }
    return found;
  }

  // Cuts a piece at matches, as `NormalizedString::split` does.
  function cutAt(piece, found, behavior, invert) {
    const parts = [];
    let last = 0;
    for (const [start, end] of found) {
      if (start > last) parts.push([piece.slice(last, start), invert]);
      if (end > start) parts.push([piece.slice(start, end), !invert]);
      last = end;
    }
    if (last < piece.length) parts.push([piece.slice(last), invert]);
    if (behavior === "Removed") return parts.filter((part) => !part[1]).map((part) => part[0]);
    const out = [];
    let previous = null;
    parts.forEach(([text, hit]) => {
      const joined =
        previous !== null &&
        ((behavior === "Contiguous" && previous === hit) ||
          (behavior === "MergedWithPrevious" && hit && !previous) ||
          (behavior === "MergedWithNext" && !hit && previous));
      if (joined) out[out.length - 1] += text;
      else out.push(text);
      previous = hit;
    });
    return out;
  }

  function splitter(settings) {
    return settings === null || settings === undefined
      ? (pieces) => pieces
      : SPLITTERS[settings.type](settings);
  }

  // Post-processors: the ids before and after those of the text.
  function around(settings) {
    const none = [[], []];
    if (settings === null || settings === undefined || settings.type === "ByteLevel") return none;
    if (settings.type === "Sequence") {
      return settings.processors.map(around).reduce(
        ([before, after], [first, last]) => [
          [...first, ...before],
          [...after, ...last],
        ],
        none,
      );
    }
    const sides = [[], []];
    let side = 0;
    for (const part of settings.single) {
      if ("Sequence" in part) side = 1;
      else sides[side].push(...settings.special_tokens[part.SpecialToken.id].ids);
    }
    return sides;
  }

  class Tokenizer {
    constructor(file) {
      // A special token that a text spells is text; the others are found in texts.
      const added = (file.added_tokens ?? []).filter((token) => !token.special);
      this.normalize = normalizer(file.normalizer);
      this.raw = new AddedTokens(added.filter((token) => !token.normalized), (text) => text);
      this.normalized = new AddedTokens(added.filter((token) => token.normalized), this.normalize);
      this.split = splitter(file.pre_tokenizer);
      this.model = new Bpe(file.model);
      this.around = around(file.post_processor);
      this.truncation = file.truncation ?? null;
      this.padding = file.padding ?? null;
    }

    // The token ids of a text; lone surrogates are read as U+FFFD.
    encode(text) {
      const valid = text.toWellFormed ? text.toWellFormed() : text;
      let ids = [];
      for (const [part, token] of this.raw.split(valid)) {
        if (token !== null) ids.push(token);
        else {
          for (const [piece, id] of this.normalized.split(this.normalize(part))) {
            if (id !== null) ids.push(id);
            else if (piece !== "") {
              for (const word of this.split([piece])) {
                for (const one of this.model.ids(word)) ids.push(one);
              }
            }
          }
        }
      }
      const [before, after] = this.around;
      if (this.truncation !== null) {
        const most = Math.max(0, this.truncation.max_length - before.length - after.length);
        ids = this.truncation.direction === "Left" && ids.length > most
          ? ids.slice(ids.length - most)
          : ids.slice(0, most);
      }
      return this.padded([...before, ...ids, ...after]);
    }

    padded(ids) {
      const length = this.padding?.strategy?.Fixed ?? 0;
      const fill = Array(Math.max(0, length - ids.length)).fill(this.padding?.pad_id ?? 0);
      return this.padding?.direction === "Left" ? [...fill, ...ids] : [...ids, ...fill];
    }
  }

  globalThis.tamisText.Tokenizer = Tokenizer;
})();
