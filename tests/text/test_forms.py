"""Plainer forms of a text: what each edit leaves, what is drawn, and that no text is lost."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.text.forms import EDITS, plainer_form, without_links, words_only

TEXT = "Call 0900 NOW! See https://Win.example/a?b=1, it's free"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("go to http://a.b/c?d=e now", "go to now"),
        ("HTTPS://A.B/X", "HTTPS://A.B/X"),  # nothing else would remain
        ("pay at post-office.co.uk/fee or not", "pay at or not"),
        ("write to anna.b+c@mail.example.org today", "write to today"),
        ("see www.win.xyz, ok", "see ok"),
        ("see you.come in", "see you.come in"),
        ("e.g. 3.50 or v1.2.3", "e.g. 3.50 or v1.2.3"),
        ("no links", "no links"),
    ],
)
def test_links_are_left_out_and_sentences_are_not(text: str, wanted: str) -> None:
    assert without_links(text) == wanted


def test_every_combination_of_edits_occurs_and_none_at_all_does_not() -> None:
    def edited(chosen) -> str:
        text = TEXT
        for edit in chosen:
            text = edit(text)
        return text

    every = {edited(some) for n in range(1, len(EDITS) + 1) for some in combinations(EDITS, n)}
    draw = random.Random(1)
    found = [plainer_form(TEXT, draw) for _ in range(600)]
    assert set(found) == every and TEXT not in found
    assert "call now see it's free" in every  # all of them


def test_a_draw_depends_on_the_generator_alone() -> None:
    twice = [[plainer_form(TEXT, draw) for _ in range(9)] for draw in map(random.Random, (1, 1, 2))]
    assert twice[0] == twice[1] != twice[2]


def test_a_plain_text_is_its_own_form() -> None:
    draw = random.Random(3)
    assert {plainer_form("see you at home", draw) for _ in range(50)} == {"see you at home"}


@given(st.text(), st.integers(0, 9))
def test_no_form_loses_a_whole_text(text: str, seed: int) -> None:
    assert plainer_form(text, random.Random(seed)).strip() or not text.strip()
    assert words_only(text).strip() or not text.strip()
