"""The number of blocks of a training of everything: chosen as the exact head chooses its layer, by
the fitted rows alone, and then as if it had been asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.gpt2.freezing import Pooling
from tamis.head.training_set import TrainingSet
from tamis.training import depth_selection
from tamis.training.depth import chooses_depth, expected_depth
from tests.tiny import equal, weights_of
from tests.training.test_fit import HELD_OUT, folder, fresh, recipe_of, tuned

__all__ = ["folder"]
FULL: dict[str, Any] = {
    "tune": "full",
    "backbone": "nano",
    "epochs": 1,
    "head_init": "linear_probe",
    "dropout": 0.0,
}


@pytest.mark.parametrize(
    ("changes", "chosen"),
    [
        ({}, True),
        ({"text.layers": 2}, False),
        ({"lm_loss_weight": 0.5}, False),
        ({"head_init": "random"}, False),
        ({"text.pooling": "attention"}, True),
        ({"text.pooling": "last_token"}, False),
        ({"tune": "blocks:2"}, False),
        ({"tune": "head"}, False),
        ({"backbone": "gpt2"}, False),
    ],
    ids=str,
)
def test_the_depth_is_chosen_where_a_probe_can_choose_it(
    changes: dict[str, Any], chosen: bool
) -> None:
    assert chooses_depth(recipe_of(FULL | changes)) == chosen


def test_a_forecast_counts_on_two_thirds_of_the_blocks_where_they_are_chosen() -> None:
    assert [expected_depth(recipe_of(FULL), blocks) for blocks in (6, 3, 1)] == [4, 2, 1]
    assert expected_depth(recipe_of(FULL | {"text.layers": 5}), 6) == 5
    assert expected_depth(recipe_of(FULL | {"text.layers": 5}), 3) == 3
    assert expected_depth(recipe_of(FULL | {"tune": "blocks:2"}), 6) == 6


def test_the_chosen_depth_gives_the_model_of_one_that_was_asked_for(folder: Path) -> None:
    found, _ = tuned(fresh(folder), recipe_of(FULL))
    layers = found.selected_settings["text.layers"]
    assert layers in (1, 2, 3) and len(found.model.transformer.h) == layers + 1
    assert found.notes[0].startswith(f"Depth: the first {layers} of 3 blocks are kept and trained")
    asked, _ = tuned(fresh(folder), recipe_of(FULL | {"text.layers": layers}))
    assert equal(weights_of(found.model), weights_of(asked.model))
    assert "text.layers" not in asked.selected_settings


@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_rows_that_are_held_out_do_not_choose(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    asked: list[TrainingSet] = []

    def choose(*parts: Any, **_: Any) -> Any:
        asked.append(parts[2])
        return Pooling(wanted, "mean"), dict.fromkeys(parts[3], 0.5), None

    monkeypatch.setattr(depth_selection, "choose_pooling", choose)
    found, _ = tuned(fresh(folder), recipe_of(FULL))
    assert len(found.model.transformer.h) == min(wanted + 1, 3) + 1  # one more, and the pooling
    assert len(asked) == 1 and not set(asked[0].train) & set(HELD_OUT)
    assert len(asked[0].train) + len(HELD_OUT) == 61 and len(asked[0].validation) == 0


def test_folds_are_trained_at_the_depth_of_the_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        depth_selection,
        "choose_pooling",
        lambda *parts, **_: (Pooling(1, "mean"), dict.fromkeys(parts[3], 0.5), None),
    )
    folds = np.arange(61) % 2
    chosen, asked = (
        tuned(fresh(folder), recipe_of(FULL | more), held_out=HELD_OUT[:0], fold_ids=folds)[0]
        for more in ({}, {"text.layers": 2})
    )
    np.testing.assert_array_equal(chosen.held_out_logits, asked.held_out_logits)


def test_rows_too_few_to_compare_keep_every_block(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        depth_selection, "choose_pooling", lambda *_, **__: (Pooling(3, "mean"), {}, None)
    )
    found, _ = tuned(fresh(folder), recipe_of(FULL))
    assert found.selected_settings == {} and len(found.model.transformer.h) == 4
    assert not [note for note in found.notes if note.startswith("Depth")]
