"""Texts in other forms, and a pass in which a share of them has one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.text.forms import without_digits, without_punctuation, words_only
from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining.form_dropout import FORMS, vary_forms
from tamis.training.pretraining.sequences import encode
from tests.training.pretraining import small


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        (without_digits, "Call now! It's FREE-ish, a"),
        (without_punctuation, "Call 0900 now It's FREE ish 2 a"),
        (words_only, "call now it's free ish a"),
    ],
)
def test_forms(form, wanted: str) -> None:
    assert form("Call 0900 now! It's FREE-ish, 2 a") == wanted
    assert form("") == ""


@given(st.text())
def test_no_form_loses_a_whole_text(text: str) -> None:
    for form in FORMS:
        assert form(text).strip() or not text.strip()


def test_a_draw_depends_on_the_seed_alone_and_every_form_occurs() -> None:
    texts = ["Call 0900 now!"] * 200
    varied = vary_forms(texts, 1)
    assert varied == vary_forms(texts, 1) != vary_forms(texts, 2)
    assert set(varied) == {form(texts[0]) for form in FORMS}


def test_a_pass_mixes_both_forms_text_by_text() -> None:
    texts = small.texts(9)
    tokenizer = Tokenizer.train(texts, vocab_size=300).prepared(add_bos=True)
    plain, varied = (
        encode(texts, tokenizer, 24),
        encode([text.upper() for text in texts], tokenizer, 24),
    )
    chosen = np.arange(9) % 3 == 0
    mixed = replace(plain, varied=varied).mixed(chosen)
    for row in range(9):
        source = varied if chosen[row] else plain
        np.testing.assert_array_equal(mixed.inputs(row), source.inputs(row))
        np.testing.assert_array_equal(mixed.targets(row), source.targets(row))
        assert mixed.text_bytes[row] == source.text_bytes[row]


def test_a_training_with_form_dropout_and_a_bank_is_deterministic_and_uses_both(tmp_path) -> None:
    changes = {
        "objective.form_dropout": 0.5,
        "objective.bank_weight": 2.0,
        "objective.bank_texts": 6,
        "schedule.tokens": 120,
    }
    runs = []
    for settings in (
        changes,
        changes,
        changes | {"objective.form_dropout": 0.0},
        changes | {"objective.bank_weight": 0.0},
    ):
        training = small.pretraining(tmp_path, settings)
        training.run()
        runs.append(small.weights(training)["trunk.wte.weight"])
    assert runs[0].equal(runs[1])
    assert not runs[0].equal(runs[2]) and not runs[0].equal(runs[3])
