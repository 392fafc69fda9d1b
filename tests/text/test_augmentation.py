"""Attacked copies: of training rows alone, of both classes, the same for a seed; and a fit that
learns from them and from nothing else.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tamis import TextClassifier
from tamis.config import Recipe, TrainSettings
from tamis.head.linear_head import fit_head
from tamis.text.augmentation import CopySource, augmented_copies
from tamis.text.tokenizer import Tokenizer
from tamis.workflows.training_options import ROBUST
from tests import runs
from tests.rows import messages

ROWS = messages()
TEXTS, LABELS = [text for _, text in ROWS], [label for label, _ in ROWS]
TARGETS = np.array([label == "spam" for label in LABELS], dtype=np.int64)


def copies(
    rows: np.ndarray | None = None,
    *,
    seed: int = 1,
    positive: int | None = 1,
    positives: float = 2.0,
    negatives: float = 0.5,
) -> Any:
    settings = (
        Recipe()
        .changed({"train.augment_positives": positives, "train.augment_negatives": negatives})
        .train
    )
    source = CopySource(TEXTS, TARGETS, positive)
    return augmented_copies(source, np.arange(len(TEXTS)), settings, seed=seed)


def test_the_same_seed_gives_the_same_copies_and_another_others() -> None:
    assert copies().texts == copies().texts != copies(seed=2).texts


def test_every_class_is_copied_as_often_as_asked_and_nothing_without_being_asked() -> None:
    found = copies()
    of = TARGETS[found.of]
    assert (of == 1).sum() == 2 * TARGETS.sum() and 0.3 < (of == 0).sum() / (
        TARGETS == 0
    ).sum() < 0.7
    assert len(copies(positives=0.0, negatives=0.0)) == 0
    three = copies(
        positive=None, positives=1.0, negatives=7.0
    )  # more than two classes: all alike, no good words
    assert three.of.tolist() == list(range(len(TEXTS)))
    assert max(len(text) for text in three.texts) < 3 * max(len(text) for text in TEXTS)


def test_nothing_is_taken_from_rows_that_are_not_trained_on() -> None:
    held_out = np.flatnonzero(np.arange(len(TEXTS)) % 3 == 0)
    rows = np.setdiff1d(np.arange(len(TEXTS)), held_out)
    marked = [f"zzqq{row} {text}" if row in held_out else text for row, text in enumerate(TEXTS)]
    settings = (
        Recipe().changed({"train.augment_positives": 9.0, "train.augment_negatives": 3.0}).train
    )
    found = augmented_copies(CopySource(marked, TARGETS, 1), rows, settings, seed=5)
    assert set(found.of.tolist()) <= set(rows.tolist())
    assert not any("zzqq" in text.lower() for text in found.texts)


def test_another_edit_is_drawn_where_the_tokenizer_would_undo_the_first() -> None:
    """Look-alikes, full width and the like come back as they were; what is left to learn from is
    what does not.
    """
    undo = (
        Tokenizer.train(TEXTS, vocab_size=300).prepared(add_bos=True, normalize="robust").normalized
    )
    settings = (
        Recipe().changed({"train.augment_positives": 3.0, "train.augment_negatives": 3.0}).train
    )
    undone = []
    for how in (str, undo):
        source = CopySource(TEXTS, TARGETS, None, normalize=how)
        found = augmented_copies(source, np.arange(len(TEXTS)), settings, seed=3)
        undone.append(
            np.mean(
                [
                    undo(copy) == undo(TEXTS[row])
                    for copy, row in zip(found.texts, found.of, strict=True)
                ]
            )
        )
    assert undone[0] > 0.25 > 0.1 > undone[1]


def test_the_texts_around_a_copy_are_of_its_rows_fold() -> None:
    """Else a fold's held-out texts would be learnt inside copies of the others' rows."""
    parts = np.arange(len(TEXTS)) % 3
    marked = [f"{text} fold{'ABC'[part]}" for text, part in zip(TEXTS, parts, strict=True)]
    settings = (
        Recipe().changed({"train.augment_positives": 6.0, "train.augment_negatives": 2.0}).train
    )
    for given, alone in ((parts, True), (None, False)):
        source = CopySource(marked, TARGETS, 1, given)
        found = augmented_copies(source, np.arange(len(TEXTS)), settings, seed=1)
        foreign = [
            any(f"fold{other}" in copy for other in "ABC".replace("ABC"[parts[row]], ""))
            for copy, row in zip(found.texts, found.of, strict=True)
        ]
        assert (sum(foreign) == 0) is alone


def test_most_copies_differ_and_many_of_both_classes_get_other_texts_of_ham_around() -> None:
    found = copies(positives=6.0, negatives=2.0)
    longer = np.array(
        [
            len(text) > 1.5 * len(TEXTS[row]) + 12
            for text, row in zip(found.texts, found.of, strict=True)
        ]
    )
    for kind in (0, 1):
        assert 0.2 < longer[TARGETS[found.of] == kind].mean() < 0.9
    same = [text == TEXTS[row] for text, row in zip(found.texts, found.of, strict=True)]
    assert np.mean(same) < 0.1


@pytest.mark.parametrize("tune", ["head", "full"])
def test_a_hardened_fit_holds_out_no_copy_and_keeps_the_shares_of_the_rows(tune: str) -> None:
    more = {} if tune == "head" else runs.settings()
    settings = {
        **more,
        "train.augment_positives": 4.0,
        "train.augment_negatives": 0.5,
        "text.normalize": "robust",
    }
    hardened = TextClassifier("scratch:tiny", tune, threads=1, settings=settings).fit(TEXTS, LABELS)
    assert hardened.training_.held_out.max() < len(TEXTS)
    assert hardened.predict_proba(TEXTS).shape == (len(TEXTS), 2)
    # Five spam rows for one would make spam more likely by ln 5 or so; the scores are put back to
    # the share of the rows.
    copied = hardened.training_.shift[1] - hardened.training_.shift[0]
    assert copied * hardened.temperature_ < -0.5
    if tune == "head":
        assert (
            len(hardened.training_.held_out) == len(TEXTS)
            and hardened.training_.features is not None
            and len(hardened.training_.features) == len(TEXTS)
        )


def test_the_switch_stands_for_settings_that_exist() -> None:
    recipe = Recipe().changed(ROBUST)
    assert (
        recipe.text.normalize == "robust"
        and recipe.train.augment_positives > 0
        and recipe.train.augment_negatives > 0
    )


def test_copies_with_digits_for_letters_are_the_most_frequent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[str] = []

    def told(texts: list[str], name: str, **rest: object) -> list[str]:
        drawn.append(name)
        return [f"{texts[0]}!"]

    monkeypatch.setattr("tamis.text.augmentation.perturb", told)
    settings = TrainSettings(augment_positives=1, augment_negatives=1)
    source = CopySource(["hello there"] * 3000, np.zeros(3000, dtype=np.int64), None)
    augmented_copies(source, np.arange(3000), settings, seed=1)
    counts = Counter(drawn)
    others = [count for name, count in counts.items() if name != "leetspeak"]
    assert 2.2 < counts["leetspeak"] / np.mean(others) < 3.8 and max(others) < 1.5 * min(others)


def test_no_head_of_a_fold_learns_a_held_out_text_inside_a_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The exact head's folds and those that the copies were made by are one division."""
    from tamis.head import linear_probe
    from tamis.training import prepare

    made: list[Any] = []
    taken: list[np.ndarray] = []
    copy, solve = augmented_copies, fit_head

    def copied(*rest: Any, **named: Any) -> Any:
        made.append(copy(*rest, **named))
        return made[0]

    def solved(given: Any, *rest: Any, **named: Any) -> Any:
        taken.append(given.fold_ids)
        return solve(given, *rest, **named)

    monkeypatch.setattr(prepare, "augmented_copies", copied)
    monkeypatch.setattr(linear_probe, "fit_head", solved)
    settings = {"train.augment_positives": 6.0, "train.augment_negatives": 1.0}
    fitted = TextClassifier("scratch:tiny", "head", threads=1, settings=settings).fit(TEXTS, LABELS)
    (parts,), rows = taken, len(TEXTS)
    assert (
        fitted.training_.fold_ids is not None
        and parts[:rows].tolist() == fitted.training_.fold_ids.tolist()
    )
    assert parts[rows:].tolist() == parts[made[0].of].tolist() and parts.max() == 4
    inside = [
        (number, ham)
        for number, text in enumerate(made[0].texts)
        for ham in np.flatnonzero(TARGETS == 0).tolist()
        if TARGETS[made[0].of[number]] == 1 and len(TEXTS[ham]) > 20 and TEXTS[ham] in text
    ]
    assert len(inside) > 100 and all(parts[rows + number] == parts[ham] for number, ham in inside)


def form_copies(count: float, *, seed: int = 1, **others: float) -> Any:
    changed = {f"train.{name}": value for name, value in others.items()}
    settings = Recipe().changed({"train.augment_forms": count} | changed).train
    return augmented_copies(
        CopySource(TEXTS, TARGETS, 1), np.arange(len(TEXTS)), settings, seed=seed
    )


def test_rows_of_every_class_get_plainer_copies_alike() -> None:
    found = form_copies(2.0)
    assert found.of.tolist() == np.repeat(np.arange(len(TEXTS)), 2).tolist()
    assert found.texts == form_copies(2.0).texts != form_copies(2.0, seed=2).texts
    for copy, row in zip(found.texts, found.of.tolist(), strict=True):
        # No word is added or replaced; only links, digits, signs and capitals go.
        assert set(re.findall(r"[^\W\d_]+", copy.lower())) <= set(
            re.findall(r"[^\W\d_]+", TEXTS[row].lower())
        )
    digits = [
        sum(any(c.isdigit() for c in text) for text in texts) for texts in (TEXTS, found.texts)
    ]
    assert digits[1] < 0.7 * 2 * digits[0]
    half = form_copies(0.5)
    assert 0.35 < len(half) / len(TEXTS) < 0.65


def test_plainer_copies_leave_the_perturbed_ones_as_they_are() -> None:
    alone = form_copies(0.0, augment_positives=2.0)
    both = form_copies(1.0, augment_positives=2.0)
    assert both.texts[: len(alone)] == alone.texts
    assert both.texts[len(alone) :] == form_copies(1.0).texts


@pytest.mark.parametrize("tune", ["head", "full"])
def test_a_fit_learns_from_plainer_copies_and_holds_none_of_them_out(tune: str) -> None:
    more = {} if tune == "head" else runs.settings()
    fitted = [
        TextClassifier(
            "scratch:tiny", tune, threads=1, settings={**more, "train.augment_forms": copies}
        ).fit(TEXTS, LABELS)
        for copies in (0.0, 1.0)
    ]
    assert fitted[1].training_.held_out.max() < len(TEXTS)
    plain = ["call now to claim your prize", "see you at home"]
    scores = [one.predict_proba(plain) for one in fitted]
    assert not np.allclose(scores[0], scores[1])
