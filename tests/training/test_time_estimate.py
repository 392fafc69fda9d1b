"""How long training everything would take: counted by hand, measured only where that matters, and
what `auto` makes of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tamis.compute import device
from tamis.config import Recipe
from tamis.training.defaults import resolve_tune
from tamis.training.resolve import resolve_recipe
from tamis.training.time_estimate import LONG_S, MOST_STATES, REACHED, Duration, training_time


def full(**settings: Any) -> Recipe:
    base = {"tune": "full", "train.epochs": 3, "compute.device": "cpu", "compute.threads": 1}
    return Recipe().changed(
        {**base, **{name.replace("__", "."): value for name, value in settings.items()}}
    )


def seconds(recipe: Recipe, texts: list[str], labels: list[str]) -> float:
    return training_time(recipe, texts, labels, "spam").seconds


def test_the_time_is_that_of_the_work_counted_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "measured_gflops", lambda *rest: pytest.fail("measured"))
    texts, labels = ["x" * 40, "y" * 80], ["spam", "ham"]
    found = training_time(full(), texts, labels, "spam")
    assert found.tokens == 3 * (11 + 21)
    # nano: six blocks and the one that pools, 384 channels; 20 GFLOP/s are taken for granted.
    assert found.seconds == pytest.approx(6 * 12 * 384**2 * 7 * 96 / (REACHED * 20e9))
    assert found.share == 2 / 7 and found.states == 32 * 384 * 4
    # Where the depth is chosen, four of the six are expected.
    chosen = full(text__pooling="mean", train__head_init="linear_probe")
    assert seconds(chosen, texts, labels) == pytest.approx(found.seconds * 5 / 7)
    plain = found.seconds
    assert seconds(full(decision__cv_folds=3), texts, labels) == pytest.approx(3 * plain)
    assert seconds(
        full(train__augment_positives=3.0, train__augment_negatives=1.0), texts, labels
    ) == pytest.approx(3 * plain)
    assert training_time(
        full(train__augment_positives=1.0), texts, labels, None
    ).seconds == pytest.approx(2 * plain)
    assert seconds(full(train__augment_forms=1.0), texts, labels) == pytest.approx(2 * plain)


def test_the_adaptation_is_part_of_the_time_whatever_is_tuned() -> None:
    texts, labels = ["x" * 40, "y" * 80], ["spam", "ham"]
    found = training_time(full(train__adapt_passes=2.0), texts, labels, "spam")
    plain = training_time(full(), texts, labels, "spam")
    # nano's six blocks, and the products with 16,384 pieces at half of the positions.
    work = 6 * (12 * 384**2 * 6 + 0.5 * 16384 * 384) * 2 * 32
    assert found.adaptation == pytest.approx(work / (REACHED * 20e9)) and plain.adaptation == 0
    assert found.seconds == plain.seconds and found.tokens == plain.tokens + 2 * 32
    long = Duration(LONG_S / 2, 1e7, share=0.4, states=1.0, gflops=50.0, adaptation=LONG_S * 0.7)
    assert resolve_tune("auto", pretrained=True, small=True, duration=long)[0] == "blocks:2"
    assert long.words().startswith("36 minutes")
    longer = replace(long, adaptation=LONG_S * 0.9)
    assert resolve_tune("auto", pretrained=True, small=True, duration=longer)[0] == "head"


@pytest.mark.parametrize(
    ("gflops", "tune", "words"),
    [
        (2000.0, "full", "the backbone is small"),
        (
            300.0,
            "blocks:2",
            "GFLOP/s measured), so only the last blocks are trained; to train everything, use "
            "--tune full",
        ),
        (20.0, "head", "GFLOP/s measured), so only the head is trained"),
    ],
)
def test_many_rows_on_a_slow_machine_are_trained_on_less_and_the_reason_says_so(
    gflops: float, tune: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "measured_gflops", lambda *rest: gflops)
    texts, labels = ["x" * 400] * 12_000, ["spam", "ham"] * 6_000
    settled = resolve_recipe(
        Recipe().changed({"compute.device": "cpu", "compute.threads": 1}), texts, labels
    )
    assert settled.recipe.tune == tune and words in settled.tune_reason
    assert [settled.tune_reason in note for note in settled.notes] == [True] * (
        tune != "full"
    )  # said before training
    asked = resolve_recipe(Recipe().changed({"tune": "full"}), texts, labels)
    assert asked.recipe.tune == "full" and asked.tune_reason == "requested"


def test_states_that_do_not_fit_leave_the_head() -> None:
    for states, tune in ((MOST_STATES, "blocks:2"), (MOST_STATES + 1, "head")):
        long = Duration(seconds=LONG_S + 1, tokens=1e7, share=0.4, states=states, gflops=50.0)
        assert resolve_tune("auto", pretrained=True, small=True, duration=long)[0] == tune
    within = Duration(seconds=LONG_S, tokens=1e7, share=0.4, states=9e9, gflops=50.0)
    assert resolve_tune("auto", pretrained=True, small=True, duration=within)[0] == "full"
