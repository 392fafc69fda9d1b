"""Explanations: the curve against prefixes scored one by one, shares against a slow second version,
sums, and planted phrases found.
"""

from __future__ import annotations

import json
import random
import re
from functools import cache
from html.parser import HTMLParser
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tamis import ConfigError, DataError, NotFittedError, TextClassifier
from tamis.classifier.explain import Explanation, explain
from tamis.classifier.explain.explanation import printable
from tamis.classifier.explain.occlusion import (
    MOST_TOKENS,
    PARTS,
    RUNS,
    leave_out_words,
    word_attributions,
    words_of,
)
from tamis.classifier.explain.render_html import page as as_page
from tamis.decision.verdict import DecisionRule
from tamis.gpt2.packing import pack
from tests import runs
from tests.rows import messages

ROWS = messages()
TEXTS, LABELS = [text for _, text in ROWS], [label for label, _ in ROWS]
ODD = [
    "",
    "  ",
    "k",
    "\n\t URGENT!  prize\u00a0now ",
    "e\u0301 is not é 👨‍👩‍👧‍👦 <|endoftext|> ＦＲＥＥ",
    "a\x00b \x1b[31m <b>&amp;</b> 'q\"q'",
]
LONG = " ".join(TEXTS[:20])
"""Several windows of scratch:tiny's 64 tokens."""


def fit(**settings: Any) -> TextClassifier:
    return TextClassifier("scratch:tiny", threads=1, settings=runs.settings(**settings)).fit(
        TEXTS, LABELS
    )


@cache
def fitted() -> TextClassifier:
    return fit()


@cache
def fitted_last() -> TextClassifier:
    """Reads the last token's own state."""
    return fit(**{"text.pooling": "last_position", "text.normalize": "nfkc"})


@cache
def fitted_three() -> TextClassifier:
    labels = [
        "short" if len(text) < 30 else label for text, label in zip(TEXTS, LABELS, strict=True)
    ]
    return TextClassifier("scratch:tiny", "head", threads=1).fit(TEXTS, labels)


def probabilities_of(classifier: TextClassifier, *windows: NDArray[Any]) -> NDArray[np.float64]:
    """(K,) of one text, given by its windows of ids, scored the plain way."""
    with torch.no_grad():
        logits = torch.cat([classifier.predictor_.model(pack([ids])).double() for ids in windows])
    if classifier.positive_ is None:
        return torch.softmax(logits.mean(0), 0).numpy()
    place = [str(c) for c in classifier.classes_].index(classifier.positive_)
    margins = logits[:, place] - logits[:, 1 - place]
    chance = float(torch.sigmoid(margins.max() - np.log(len(windows))))
    return np.array([chance, 1 - chance] if place == 0 else [1 - chance, chance])


class Adding:
    """Stands for a classifier whose log-odds for spam are a number a word, and one more where `win`
    comes before `cash`.
    """

    rule_ = DecisionRule()

    def __init__(
        self, values: dict[str, float], *, together: float = 0.0, empty: float = -3.0
    ) -> None:
        self.values, self.together, self.empty = values, together, empty
        self.words_scored, self.texts_scored = 0, 0

    def log_odds(self, text: str) -> float:
        words = text.split()
        return (
            self.empty
            + sum(self.values.get(word, 0.0) for word in words)
            + self.together * ("win cash" in text)
        )

    def predict_proba(self, texts: list[str]) -> NDArray[np.float64]:
        self.words_scored += sum(len(text.split()) for text in texts)
        self.texts_scored += len(texts)
        spam = 1 / (1 + np.exp(-np.array([self.log_odds(text) for text in texts])))
        return np.stack([1 - spam, spam], 1)


def shares_of(classifier: Adding, text: str, *, tokens: int | None = None) -> Any:
    return word_attributions(
        cast(TextClassifier, classifier),
        text,
        1,
        tokens=tokens if tokens is not None else len(text.split()),
    )


@pytest.mark.parametrize("make", [fitted, fitted_last, fitted_three])
@pytest.mark.parametrize("text", [*TEXTS[:7], *ODD])
def test_every_point_of_the_curve_is_the_score_of_the_text_up_to_there(
    make: Any, text: str
) -> None:
    classifier = make()
    ids = classifier.predictor_.tokenizer.encode([text])[0]
    assert len(ids) <= 64
    found = explain(classifier, text)
    place = [str(c) for c in classifier.classes_].index(found.explained)
    expected = [probabilities_of(classifier, ids[: t + 1])[place] for t in range(len(ids))]
    np.testing.assert_allclose([token.probability for token in found.tokens], expected, atol=1e-5)
    assert abs(found.tokens[-1].probability - classifier.predict_proba([text])[0, place]) < 1e-5


@pytest.mark.parametrize("make", [fitted, fitted_last, fitted_three])
def test_over_several_windows_the_one_being_read_is_pooled_with_the_finished_ones(
    make: Any,
) -> None:
    classifier = make()
    ids = classifier.predictor_.tokenizer.encode([LONG])[0]
    windows = classifier.predictor_.encoder.windows(ids)
    assert len(windows) > 5
    found = explain(classifier, LONG)
    tokens, place = found.tokens, [str(c) for c in classifier.classes_].index(found.explained)
    assert len(tokens) == len(ids)
    assert abs(tokens[-1].probability - classifier.predict_proba([LONG])[0, place]) < 1e-5
    for number in (0, 17, len(windows[0]) - 1):
        assert (
            abs(tokens[number].probability - probabilities_of(classifier, ids[: number + 1])[place])
            < 1e-5
        )
    # The second window's first new token, and its last.
    size = len(windows[0])
    new = next(
        i for i in range(size) if np.array_equal(windows[1][i:][: size - i], ids[size:][: size - i])
    )
    for i in (new, size - 1):
        expected = probabilities_of(classifier, windows[0], windows[1][: i + 1])[place]
        assert abs(tokens[size + i - new].probability - expected) < 1e-5
    assert (
        found.window is not None
        and found.window.of == len(windows)
        and found.to_dict()["window"]["of"] == len(windows)
    )


def test_only_words_of_the_window_that_decides_have_shares() -> None:
    classifier, text = (
        fitted(),
        " ".join([*TEXTS[:9], "URGENT! Your number won a £500 prize.", *TEXTS[9:20]]),
    )
    found = explain(classifier, text)
    window = found.window
    assert window is not None
    assert any(
        note.endswith("speaks most for spam.") for note in found.notes
    )  # whatever the verdict
    outside = [word for word in found.words if word.end <= window.start or word.start >= window.end]
    assert len(outside) > 20 and all(word.attribution == 0 for word in outside)
    inside = [word for word in found.words if word not in outside]
    alone = word_attributions(classifier, text[inside[0].start : inside[-1].end], 1, tokens=99)
    assert [word.attribution for word in inside] == [word.attribution for word in alone.words]
    assert found.log_odds == pytest.approx(
        np.log(found.probabilities["spam"] / found.probabilities["ham"])
    )
    assert found.log_odds == pytest.approx(
        found.empty_log_odds + sum(word.attribution for word in found.words) + found.remainder
    )


def test_windows_of_any_lengths_come_back_in_their_order() -> None:
    windows = fitted().predictor_.tokenizer.encode([TEXTS[3], "k", TEXTS[5], "", TEXTS[3] + " k"])
    together = fitted().predictor_.token_logits(windows)
    for ids, values in zip(windows, together, strict=True):
        np.testing.assert_allclose(values, fitted().predictor_.token_logits([ids])[0], atol=1e-4)


@pytest.mark.parametrize("text", [*TEXTS[:5], *ODD, LONG])
def test_the_tokens_cover_the_text_in_order(text: str) -> None:
    found = explain(fitted(), text)
    assert (found.tokens[0].start, found.tokens[0].end) == (0, 0)  # the leading <|endoftext|>
    spans = list(dict.fromkeys((t.start, t.end) for t in found.tokens[1:]))
    assert "".join(text[a:b] for a, b in spans) == text


def test_the_turn_is_the_token_from_which_on_the_label_stays() -> None:
    classifier = fitted()
    seen = set()
    for text in TEXTS[:40]:
        found = explain(classifier, text)
        assert found.threshold is not None and found.threshold == classifier.rule_.threshold
        flagged = [token.probability >= found.threshold for token in found.tokens]
        assert all(flag == flagged[-1] for flag in flagged[found.turn :])
        assert found.turn == 0 or flagged[found.turn - 1] != flagged[-1]
        assert found.label == ("spam" if flagged[-1] else "ham")
        seen.add((found.label, found.turn > 0))
    assert {("ham", False), ("spam", True)} <= seen


@pytest.mark.parametrize("make", [fitted, fitted_last, fitted_three])
@pytest.mark.parametrize("text", [TEXTS[3], *ODD, LONG])
def test_the_sums_hold(make: Any, text: str) -> None:
    classifier = make()
    found = explain(classifier, text)
    place = [str(c) for c in classifier.classes_].index(found.explained)
    whole, empty = classifier.predict_proba([text, ""])[:, place]
    assert found.log_odds == pytest.approx(np.log(whole / (1 - whole)), abs=1e-6)
    assert found.empty_log_odds == pytest.approx(np.log(empty / (1 - empty)), abs=1e-6)
    total = found.empty_log_odds + sum(word.attribution for word in found.words) + found.remainder
    assert total == pytest.approx(found.log_odds, abs=1e-9)
    assert 1 / (1 + np.exp(-found.log_odds)) == pytest.approx(
        found.tokens[-1].probability, abs=1e-5
    )


def test_of_a_single_word_the_share_is_everything() -> None:
    found = explain(fitted(), "  prize! ")
    (word,) = found.words
    assert (word.start, word.end) == (2, 8)
    assert found.remainder == pytest.approx(0, abs=0.05)  # the white space is no word's
    assert shares_of(Adding({"win": 2.5}), "win").words[0].attribution == pytest.approx(2.5)


@pytest.mark.parametrize("text", ["", " \n\t\u2003 "])
def test_a_text_without_words_has_no_shares(text: str) -> None:
    found = explain(fitted(), text)
    assert found.words == () and found.remainder == found.log_odds - found.empty_log_odds
    assert found.to_text() and as_page(found)


@pytest.mark.parametrize("text", ["\n" * 3000, "a " + " " * 3000])
def test_a_long_text_whose_window_has_no_words_is_explained_too(text: str) -> None:
    found = explain(fitted(), text)
    assert [word.attribution for word in found.words] == [0.0] * len(text.split())
    assert found.log_odds == pytest.approx(
        found.empty_log_odds + sum(word.attribution for word in found.words) + found.remainder
    )


def slow_shares(classifier: Adding, words: list[str]) -> list[float]:
    """The rule of `word_attributions` once more, word by word."""
    whole = classifier.log_odds(" ".join(words))
    lengths = [n for n in RUNS if n < len(words)]
    found = []
    for word in range(len(words)):
        means = []
        for length in lengths:
            starts = [a for a in range(len(words) - length + 1) if a <= word < a + length]
            lost = [
                (whole - classifier.log_odds(" ".join(words[:a] + words[a + length :]))) / length
                for a in starts
            ]
            means.append(sum(lost) / len(lost))
        found.append(sum(means) / len(means))
    return found


@pytest.mark.parametrize("count", [2, 3, 4, 7, 8, 9, 13])
def test_shares_equal_a_slow_second_version(count: int) -> None:
    words = ["hi", "win", "cash", "at", "the", "bank", "now", "or", "win", "it", "back", "ok", "x"][
        :count
    ]
    classifier = Adding({"hi": -1.0, "win": 0.7, "cash": 1.9, "now": 0.4, "ok": -0.6}, together=2.0)
    found = shares_of(classifier, " ".join(words))
    assert [word.attribution for word in found.words] == pytest.approx(
        slow_shares(classifier, words), abs=1e-9
    )
    assert classifier.texts_scored <= len(RUNS) * count + 2


def test_words_that_say_the_same_get_the_same_at_the_ends_as_in_the_middle() -> None:
    found = shares_of(Adding({"yes": 0.25}), " ".join(["yes"] * 11))
    assert [word.attribution for word in found.words] == pytest.approx([0.25] * 11, abs=1e-9)
    assert found.log_odds - found.empty_log_odds - sum(
        word.attribution for word in found.words
    ) == pytest.approx(0, abs=1e-9)


def test_what_two_words_say_only_together_reaches_both() -> None:
    found = shares_of(Adding({}, together=4.0), "a b c win cash d e f g")
    best = sorted(found.words, key=lambda word: -word.attribution)[:2]
    assert {"a b c win cash d e f g"[word.start : word.end] for word in best} == {"win", "cash"}


@pytest.mark.parametrize("place", [0, 5, 1234, 2999])
def test_a_long_text_is_taken_apart_within_bounds_and_the_word_is_found(place: int) -> None:
    words = ["word"] * 3000
    words[place] = "win"
    text = " ".join(words)
    classifier = Adding({"win": 3.0, "word": 0.0})
    found = shares_of(classifier, text, tokens=5000)
    best = max(found.words, key=lambda word: word.attribution)
    assert text[best.start : best.end] == "win" and best.attribution > 0.5
    levels = 3  # 3,000 words, 375, 47, 6
    assert classifier.texts_scored <= PARTS * levels + 19 + 2
    assert len(found.words) == 3000 and len(found.notes) == 1
    numbers = [int(n) for n in re.findall(r"\d+", found.notes[0])]
    assert numbers[0] <= best.start < best.end <= numbers[1]
    assert "left out one by one, the others in larger parts" in found.notes[0]


def test_words_of_a_part_that_is_not_taken_apart_have_equal_parts_of_its_share() -> None:
    words = ["word"] * 800
    words[123], words[750] = "cash", "win"
    found = shares_of(Adding({"win": 3.0, "cash": 1.0}), " ".join(words), tokens=5000)
    # Eight parts of 100 words: the one with "cash" stays whole.
    assert [word.attribution for word in found.words[100:200]] == pytest.approx(
        [0.01] * 100, abs=1e-9
    )
    assert sum(word.attribution for word in found.words[:700]) == pytest.approx(1.0, abs=1e-9)


def test_up_to_the_bound_every_word_is_left_out_alone_and_beyond_it_the_work_does_not_jump() -> (
    None
):
    count = 150
    text = " ".join(["word"] * count)
    below, above = Adding({}), Adding({})
    limit = MOST_TOKENS // (len(RUNS) * count)
    assert not shares_of(below, text, tokens=limit).notes
    assert below.texts_scored == sum(count - length + 1 for length in RUNS) + 2
    assert (
        shares_of(above, text, tokens=limit + 1).notes and above.texts_scored < below.texts_scored
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Win £100 now!", ["Win", "£100", "now!"]),
        ("\u2003dîner\u00a0à\n20h\t🎂 ", ["dîner", "à", "20h", "🎂"]),
        ("zero\u200bwidth e\u0301", ["zero\u200bwidth", "e\u0301"]),
        ("你好，see カナ。x", ["你", "好，", "see", "カ", "ナ。", "x"]),
        ("", []),
    ],
)
def test_words_are_what_stands_between_white_space_and_single_han_characters(
    text: str, words: list[str]
) -> None:
    assert [text[a:b] for a, b in words_of(text)] == words


def test_left_out_words_take_the_white_space_behind_them_along() -> None:
    text = " Win  a\nprize now "
    words = words_of(text)
    assert leave_out_words(text, words, 0, 1) == " a\nprize now "
    assert leave_out_words(text, words, 1, 3) == " Win  now "
    assert leave_out_words(text, words, 2, 4) == " Win  a "
    assert leave_out_words(text, words, 0, 4) == ""


@given(st.text(alphabet="ab \n\u00a0é你。", max_size=20), st.data())
def test_leaving_words_out_leaves_the_other_words(text: str, data: st.DataObject) -> None:
    words = words_of(text)
    if words:
        first = data.draw(st.integers(0, len(words) - 1))
        stop = data.draw(st.integers(first + 1, len(words)))
        left = leave_out_words(text, words, first, stop)
        kept = [text[a:b] for a, b in words[:first] + words[stop:]]
        # Compared without white space: a Han character may take over the punctuation of the one
        # before it.
        assert "".join(left.split()) == "".join("".join(kept).split())


PHRASES = (
    "URGENT! Your number won a £500 prize.",
    "FREE ringtones for 3 weeks! Txt TONE to",
    "your account is on hold. Verify at",
    "Lonely? 4 singles near you want to chat.",
    "Final notice: parcel #343 is waiting,",
)


def test_the_strongest_word_lies_inside_a_planted_spam_phrase() -> None:
    classifier, draw = fitted(), random.Random(3)
    ham = [
        text for label, text in ROWS if label == "ham" and text.isascii() and len(text.split()) > 3
    ]
    inside, chance, cases = 0, 0.0, 30
    for _ in range(cases):
        words, phrase = (
            f"{draw.choice(ham)} {draw.choice(ham)}".split(),
            draw.choice(PHRASES).split(),
        )
        at = draw.randrange(len(words) + 1)
        text = " ".join(words[:at] + phrase + words[at:])
        start = len(" ".join([*words[:at], ""]))
        best = explain(classifier, text).strongest()[0]
        inside += start <= best.start and best.end <= start + len(" ".join(phrase))
        chance += len(phrase) / (len(words) + len(phrase))
    assert inside >= 0.95 * cases and chance < 0.5 * cases


def test_the_same_text_gets_the_same_explanation() -> None:
    assert explain(fitted(), TEXTS[7]) == explain(fitted(), TEXTS[7])


def test_the_positive_label_is_explained_whatever_the_verdict_unless_another_is_asked_for() -> None:
    ham = explain(fitted(), "ill ring u after the lecture")
    assert (ham.label, ham.explained) == ("ham", "spam") and ham.log_odds < 0
    other = explain(fitted(), ham.text, label="ham")
    assert (other.label, other.explained, other.turn) == ("ham", "ham", ham.turn)
    assert other.threshold == pytest.approx(1 - fitted().rule_.threshold)  # type: ignore[operator] # two classes have one
    assert [word.attribution for word in other.words] == pytest.approx(
        [-word.attribution for word in ham.words], abs=1e-5
    )
    assert other.tokens[-1].probability == pytest.approx(1 - ham.tokens[-1].probability, abs=1e-6)


def test_of_more_than_two_classes_the_label_that_the_text_got_is_explained() -> None:
    for text in TEXTS[:6]:
        found = explain(fitted_three(), text)
        assert (
            found.explained == found.label
            and found.threshold is None
            and set(found.probabilities) == {"ham", "short", "spam"}
        )
        assert found.tokens[-1].probability == pytest.approx(
            found.probabilities[found.label], abs=1e-5
        )


def test_what_cannot_be_explained_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"label must be one of \['ham', 'spam'\]; got 'eggs'"):
        explain(fitted(), "a", label="eggs")
    with pytest.raises(NotFittedError, match="not fitted yet"):
        explain(TextClassifier(), "a")
    with pytest.raises(DataError, match="expected a string, got int"):
        explain(fitted(), 5)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not valid Unicode"):
        explain(fitted(), "a \ud800 b")


@pytest.mark.parametrize("text", [TEXTS[2], *ODD])
def test_the_dictionary_is_json_and_its_offsets_are_the_texts(text: str) -> None:
    found = explain(fitted(), text)
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    verdict = fitted().verdicts([text])[0].to_dict()
    assert {key: values[key] for key in verdict} == verdict
    for item in values["words"]:
        assert text[item["start"] : item["end"]] == item["word"]
    assert [item["word"] for item in values["words"]] == [text[a:b] for a, b in words_of(text)]
    assert all(text[item["start"] : item["end"]] == item["token"] for item in values["tokens"])
    sums = (
        values["empty_log_odds"]
        + sum(item["attribution"] for item in values["words"])
        + values["remainder"]
    )
    assert sums == pytest.approx(values["log_odds"], abs=1e-9)


@pytest.mark.parametrize("text", [TEXTS[2], *ODD])
def test_the_terminal_gets_every_word_and_token_and_no_control_character(text: str) -> None:
    found = explain(fitted(), text)
    lines = found.to_text().splitlines()
    assert lines[0] == found.headline() and found.verdict in lines[0]
    assert all(c.isprintable() for line in lines for c in line)
    split = lines.index("P(spam) after every token")
    assert [line.split(maxsplit=2)[-1] for line in lines[3 : 3 + len(found.words)]] == [
        printable(text[word.start : word.end]) for word in found.strongest()
    ]
    assert [float(line.split()[0]) for line in lines[split + 1 :]] == [
        round(token.probability, 4) for token in found.tokens
    ]
    assert found.sums() in lines
    assert sum("from here on the label stays" in line for line in lines) == (found.turn > 0)


class Read(HTMLParser):
    """Tags, attributes, and the content of the element of class `text`."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.shaded: list[tuple[str, str]] = []
        self.content, self.inside = "", False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        given = dict(attrs)
        self.inside = self.inside or given.get("class") == "text"
        if self.inside and tag == "span":
            self.shaded.append((given["class"] or "", given["style"] or ""))

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "div"

    def handle_data(self, data: str) -> None:
        self.content += data if self.inside else ""


@pytest.mark.parametrize(
    "text", [TEXTS[2], *ODD, "<script>alert(1)</script> </div> \" onload='x' &lt;"]
)
def test_the_page_holds_the_text_as_it_is_and_nothing_that_runs_or_is_fetched(text: str) -> None:
    found = explain(fitted(), text)
    page = as_page(found)
    read = Read(page)
    pictures = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"}
    assert read.content == text.translate(pictures) and not re.search(
        r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", page
    )
    assert not set(read.tags) & {"script", "link", "img", "iframe", "object", "base", "a"}
    assert not any(name.startswith("on") or name in ("src", "href") for name, _ in read.attributes)
    assert "url(" not in page and "@import" not in page and "prefers-color-scheme: dark" in page
    assert len(read.shaded) == len(found.words)
    largest = max((abs(word.attribution) for word in found.words), default=1.0)
    for (kind, style), word in zip(read.shaded, found.words, strict=True):
        assert kind == ("against" if word.attribution < 0 else "for")
        assert float(style.removeprefix("--a:")) == pytest.approx(
            0.75 * abs(word.attribution) / largest, abs=1e-3
        )
    drawing = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    line = drawing.find("polyline")
    assert line is not None and len(line.attrib["points"].split()) == len(found.tokens)


def test_labels_and_notes_are_escaped_as_well() -> None:
    found = explain(fitted(), TEXTS[2])
    named = Explanation(
        **{
            **vars(found),
            "explained": "<i>x",
            "verdict": "<i>x",
            "label": "<i>x",
            "notes": ["a <i> note"],
        }
    )
    page = as_page(named)
    assert "<i>" not in page and "a &lt;i&gt; note" in page
    assert named.to_text().endswith("\n\na <i> note\n")
