"""Cleaning by examples, and what must hold of every line: nothing is lost, tidying twice changes
nothing.
"""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tamis.training.pretraining.cleaning import (
    RULES,
    close_spacing,
    cut,
    has_content,
    plain_markdown,
    tidy,
)

CONTROL = [
    chr(code) for code in (*range(0x09), 0x0B, 0x0C, 0x0D, *range(0x0E, 0x20), *range(0x7F, 0xA0))
]
LINES = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(" \t\u00a0\u3000\u200b\ufeffe\u0301.!?\"')"),
    )
)
PROSE = st.lists(
    st.sampled_from(["a", "word", "end.", "what?", 'said."', "so!)", "3.5", "…", "U.S."]),
    min_size=1,
).map(" ".join)


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("  two\t\tblanks   here \n", "two blanks here"),
        ("no\u00a0break\u2009thin\u3000wide", "no break thin wide"),
        ("\ufeffbom, zero\u200bwidth, word\u2060joiner", "bom, zerowidth, wordjoiner"),
        ("bad\ufffdbyte \x00nul\x07 \x85next", "badbyte nul next"),
        ("cafe\u0301", "café"),
        ("e\u200b\u0301", "é"),
        ("a \x00 b", "a b"),
        ("SHOUTING  and  Cafés, 50% 😀 ﬁne", "SHOUTING and Cafés, 50% 😀 ﬁne"),
        (" \t ", ""),
    ],
)
def test_tidy_folds_blanks_and_drops_what_cannot_be_seen(line: str, clean: str) -> None:
    assert tidy(line) == clean


@given(LINES)
@example("e\u200b\u0301")
@example("\u1100\u200b\u1161")
@example("\u2028 a")
def test_tidying_twice_is_tidying_once(line: str) -> None:
    once = tidy(line)
    assert tidy(once) == once == once.strip() == unicodedata.normalize("NFC", once)
    assert "  " not in once and "\t" not in once and not set(once) & set(CONTROL)


@given(LINES)
def test_tidy_keeps_every_letter_and_digit_in_order(line: str) -> None:
    def letters(text: str) -> str:
        return "".join(c for c in unicodedata.normalize("NFD", text) if c.isalnum())

    assert letters(tidy(line)) == letters(
        "".join(c for c in line if c not in "\u200b\u2060\ufeff\ufffd")
    )


@pytest.mark.parametrize(
    ("line", "closed"),
    [
        ("hello , world .", "hello, world."),
        ("really ? yes ! a : b ; c", "really? yes! a: b; c"),
        ("50 % of it", "50% of it"),
        ("( in brackets ) and [ these ] { too }", "(in brackets) and [these] {too}"),
        ('he said " no ." and left', 'he said " no." and left'),
        ('he left ."', 'he left."'),
        ("he left .\u201d", "he left.\u201d"),
        ("version .5 and .txt stay", "version .5 and .txt stay"),
        ("wait ...", "wait ..."),
        ("hi :) and bye ;-) or :D", "hi :) and bye ;-) or :D"),
        ("so : there ; yes", "so: there; yes"),
        ("already, fine. (yes)", "already, fine. (yes)"),
        ("", ""),
    ],
)
def test_spacing_is_closed_up_around_punctuation(line: str, closed: str) -> None:
    assert close_spacing(line) == closed == close_spacing(closed)


@given(
    st.lists(
        st.sampled_from(["(", "[", "word", ")", "]", ",", ".", "?", '"', "%", ".5", "end."])
    ).map(" ".join)
)
def test_closing_up_takes_away_blanks_only(line: str) -> None:
    assert close_spacing(line).replace(" ", "") == line.replace(" ", "")


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("see [the guide](https://example.org/a_b) now", "see the guide now"),
        ('[a](u "title") and [b](v)', "a and b"),
        ("![picture](a.png)", "picture"),
        ("## A heading", "A heading"),
        ("###### six", "six"),
        ("   # three blanks before", "three blanks before"),
        ("#hashtag is a word", "#hashtag is a word"),
        ("item # 5", "item # 5"),
        ("**bold**, *italic*, ***both*** and __bold__", "bold, italic, both and bold"),
        ("snake_case_name and _one_ stay", "snake_case_name and _one_ stay"),
        ("5 * 3 * 2", "5 * 3 * 2"),
        ("2*3*4 and a**b**c", "2*3*4 and a**b**c"),
        ("[brackets] alone and (round)", "[brackets] alone and (round)"),
        ("# **[all](x)**", "all"),
    ],
)
def test_markdown_becomes_plain_text(line: str, plain: str) -> None:
    assert plain_markdown(line) == plain


def test_a_recipe_may_name_these_rules() -> None:
    assert RULES == {"spacing": close_spacing, "markdown": plain_markdown}


@pytest.mark.parametrize(
    ("line", "says"),
    [("", False), ("... !? -- 😀", False), ("___", False), ("5", True), ("é", True), ("!你", True)],
)
def test_a_line_says_something_with_a_letter_or_a_digit(line: str, says: bool) -> None:
    assert has_content(line) is says


@pytest.mark.parametrize(
    ("line", "longest", "parts"),
    [
        ("one two three", 3, ["one two three"]),
        ("one two three", 2, ["one two", "three"]),
        ("one two three", 1, ["one", "two", "three"]),
        ("One two. Three four five. Six.", 5, ["One two. Three four five.", "Six."]),
        ("One two. Three four five. Six.", 4, ["One two.", "Three four five. Six."]),
        ("One two. Three four five. Six.", 3, ["One two.", "Three four five.", "Six."]),
        ('"Go!" he said. (Really?) Yes', 3, ['"Go!" he said.', "(Really?) Yes"]),
        ("Hi. a b c d e f g", 3, ["Hi.", "a b c", "d e f", "g"]),
        ("a b c d e. Hi. Oh", 3, ["a b c", "d e. Hi.", "Oh"]),
        ("", 4, [""]),
    ],
)
def test_a_long_line_is_cut_at_the_ends_of_sentences_else_between_words(
    line: str, longest: int, parts: list[str]
) -> None:
    assert cut(line, longest) == parts


@given(st.one_of(PROSE, LINES.map(tidy)), st.integers(1, 13))
def test_cutting_loses_no_word_and_no_part_is_too_long(line: str, longest: int) -> None:
    parts = cut(line, longest)
    assert " ".join(parts) == line
    assert all(len(part.split(" ")) <= longest for part in parts)
    assert all(parts) or line == ""


@given(PROSE, st.integers(1, 13))
def test_two_neighbouring_parts_would_not_fit_into_one_unless_a_sentence_was_cut(
    line: str, longest: int
) -> None:
    ends = (".", "?", "!", '."', "!)", "…")
    parts = cut(line, longest)
    for part, after in pairwise(parts):
        full = len(part.split(" ")) == longest
        assert full or part.endswith(ends), f"{part!r} ends before {after!r} without need"
