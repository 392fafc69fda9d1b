"""The words-only view: what stays of a text in any alphabet, that it is stable, where its tokens
are in the text as written, and that the saved tokenizer and transformers have the same view.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis import TextClassifier
from tamis.text.tokenizer import Tokenizer
from tamis.text.words_normalizer import words_normalizer
from tests.rows import messages

ROWS = messages()
TEXTS, LABELS = [text for _, text in ROWS], [label for label, _ in ROWS]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    plain = Tokenizer.train(TEXTS, vocab_size=400)
    return plain.prepared(add_bos=True, normalize="words")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("WINNER!! Call 0900-555 now, £5.00", "winner call now"),
        ("b4 2nite fr33 mp3s", "b nite fr mp s"),
        ("https://a.example/b?c=1", "https a example b c"),
        ("Don't, it’s ‘fine’; rock 'n' roll", "dont its fine rock n roll"),
        ("l'eau d\u02bcun O`B", "leau dun o b"),
        ("ＦＲＥＥ ﬁne Ⓐ ½", "free fine a"),
        ("soft\u00adhyphen zero\u200bwidth \ufeff", "softhyphen zerowidth"),
        ("caf\u00e9 cafe\u0301 CAFE\u0301", "café café café"),
        ("İstanbul IŞIK", "istanbul işik"),
        ("ΟΔΟΣ οδός Σ", "οδοσ οδόσ σ"),
        ("Straße STRASSE ẞ", "straße strasse ß"),
        ("नमस्ते! दुनिया २", "नमस्ते दुनिया"),
        ("שָׁלוֹם, 123", "שָׁלוֹם"),
        ("你好，世界！", "你好 世界"),
        ("❤\ufe0f ok 1\ufe0f\u20e3 👍🏽 x", "ok x"),
        ("\u0301start !\u0301\u0301end", "start end"),
        ("line\r\n\tbreak\u00a0\u3000x\x00y", "line break x y"),
        ("snake_case a-b", "snake case a b"),
        ("123 456 !?", ""),
        ("", ""),
        ("   ", ""),
    ],
)
def test_what_stays_of_a_text(text: str, wanted: str) -> None:
    found = words_normalizer().normalize_str(text)
    assert unicodedata.normalize("NFC", found) == unicodedata.normalize("NFC", wanted)


@settings(max_examples=400)
@given(st.text(max_size=40))
def test_only_letters_and_single_spaces_stay_and_a_second_time_changes_nothing(text: str) -> None:
    once = words_normalizer().normalize_str(text)
    assert words_normalizer().normalize_str(once) == once
    assert once == once.strip(" ") and "  " not in once
    for word in filter(None, once.split(" ")):
        kinds = [unicodedata.category(letter) for letter in word]
        # A letter that this Python does not know yet is unassigned (Cn).
        assert kinds[0][0] == "L" or kinds[0] == "Cn"
        assert all(kind[0] in "LM" or kind == "Cn" for kind in kinds)
    assert not re.search(r"[A-Z0-9]", once)


def test_texts_that_differ_in_form_alone_are_the_same(tokenizer: Tokenizer) -> None:
    one, *others = tokenizer.encode(
        ["free entry dont wait", "FREE ENTRY!!! Don't wait", "free (entry) 4... don’t-wait 123"]
    )
    assert all(other.tolist() == one.tolist() for other in others)


def test_a_text_without_letters_is_the_empty_text(tokenizer: Tokenizer) -> None:
    numbers, empty = tokenizer.encode(["0900 555 01", ""])
    assert numbers.tolist() == empty.tolist() == [tokenizer.end_of_text]
    assert tokenizer.offsets("0900 555 01") == [(0, 0)]


def test_tokens_know_their_place_in_the_text_as_written(tokenizer: Tokenizer) -> None:
    text = "  URGENT!! You've WON 500 pounds: call 0900, at (WIN-now.example)"
    ids, spans = tokenizer.encode([text])[0], tokenizer.offsets(text)
    assert len(ids) == len(spans) and spans[0] == (0, 0)
    assert spans[1][0] >= 2 and spans == sorted(spans)
    for token, (start, end) in zip(ids[1:], spans[1:], strict=True):
        own = tokenizer.decode([token]).strip()
        assert re.sub(r"[^a-z]", "", text[start:end].lower()) == own
    covered = "".join(text[start:end] for start, end in spans)
    assert re.sub(r"[^a-z]", "", covered.lower()) == "urgentyouvewonpoundscallatwinnowexample"


def test_saved_and_in_transformers_it_is_the_same_view(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path, max_length=64)
    expected = [ids.tolist() for ids in tokenizer.encode(TEXTS)]
    again, theirs = Tokenizer.from_folder(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert [ids.tolist() for ids in again.encode(TEXTS)] == expected
    assert theirs(TEXTS)["input_ids"] == expected
    assert again.normalized("CALL 0900 now") == "call now"


def test_the_stored_steps_need_nothing_that_javascript_lacks(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Types that transformers.js knows, and patterns without Oniguruma's own syntax."""
    tokenizer.save(tmp_path, max_length=64)
    stored = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["normalizer"]
    kinds = {step["type"] for step in stored["normalizers"]}
    assert kinds == {"Replace", "NFKC", "NFC", "Lowercase", "Strip"}
    for step in stored["normalizers"]:
        pattern = step.get("pattern", {}).get("Regex", "")
        assert not re.search(r"\\[AGKzZhH]|&&|\\x\{|\(\?<[a-z]|[*+?]\+|\(\?>", pattern)


JAVASCRIPT = """
const {steps, texts} = JSON.parse(require("fs").readFileSync(0, "utf8"));
const kinds = {
  NFKC: () => (text) => text.normalize("NFKC"),
  NFC: () => (text) => text.normalize("NFC"),
  Lowercase: () => (text) => text.toLowerCase(),
  Strip: () => (text) => text.trim(),
  Replace: ({pattern, content}) => {
    const found = new RegExp(pattern.Regex, "gu");
    return (text) => text.replace(found, content);
  },
};
const view = steps.map((step) => kinds[step.type](step));
console.log(JSON.stringify(texts.map((text) => view.reduce((value, step) => step(value), text))));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_javascript_reads_the_same_words(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """By the browser's own regular expressions, as transformers.js applies the steps."""
    tokenizer.save(tmp_path, max_length=64)
    stored = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["normalizer"]
    texts = [
        *TEXTS,
        "İstanbul ΟΔΟΣ ΣΑΣ",
        "Don’t 'n' O'Brien's",
        "\u0301a !\u0301b\n\u0301c",
        "❤\ufe0f1",
    ]
    given = json.dumps({"steps": stored["normalizers"], "texts": texts})
    ran = subprocess.run(
        ["node", "-e", JAVASCRIPT], input=given, capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout) == [tokenizer.normalized(text) for text in texts]


def test_long_texts_take_linear_time() -> None:
    """Ten times the text takes about ten times the time; a quadratic step would take a hundred."""
    view, seconds = words_normalizer(), []
    for count in (20_000, 200_000):
        begun = time.perf_counter()
        view.normalize_str("a1'! \u0301" * count)
        seconds.append(time.perf_counter() - begun)
    assert seconds[1] < 50 * seconds[0] + 1.0


def test_a_model_of_words_judges_and_explains_by_words() -> None:
    classifier = TextClassifier(
        "scratch:tiny", "head", settings={"text.normalize": "words", "compute.threads": 1}
    ).fit(TEXTS, LABELS)
    text = "URGENT! Call 0900 555 NOW"
    pair = classifier.predict_proba([text, "urgent call now"])
    assert pair[0].tolist() == pair[1].tolist()
    found = classifier.explain(text)
    shares = {text[word.start : word.end]: word.attribution for word in found.words}
    assert set(shares) == {"URGENT!", "Call", "0900", "555", "NOW"}
    assert all(0 <= token.start <= token.end <= len(text) for token in found.tokens)
    alone = classifier.predict_proba(["0900 555", ""])
    assert alone[0].tolist() == alone[1].tolist()
