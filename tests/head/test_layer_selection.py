"""Which layer a head reads: every candidate against a model that really ends there, and the choice
against one made by hand.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.gpt2.features import last_tokens
from tamis.gpt2.freezing import Pooling, apply_pooling
from tamis.gpt2.model import GPT2Classifier, MeanPoolingBlock
from tamis.gpt2.scoring import score
from tamis.head.layer_selection import POOLING_MODES, Layers, all_layers, candidates, select_layer
from tamis.head.linear_head import HeadSearch, fold_into, length_one
from tamis.head.training_set import TrainingSet
from tests.tiny import CONFIG, messages, trunk


@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize("position", POOLING_MODES)
def test_a_candidates_states_are_those_of_the_trunk_that_ends_there(
    layer: int, position: str
) -> None:
    of = messages()
    states = all_layers(trunk(), of, (1, 2, 3))
    reading = Pooling(layer, position)
    last = states.last(reading)
    ended = apply_pooling(trunk(), reading)
    assert len(ended.h) == layer + (position != "last_token") == ended.config.n_layer
    assert isinstance(ended.h[-1], MeanPoolingBlock) == (position != "last_token")
    expected = last_tokens(ended, of)
    np.testing.assert_allclose(length_one(last, 1e-5), length_one(expected, 1e-5), atol=2e-6)


def test_a_head_on_a_lower_layer_scores_in_transformers_as_here(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    from tamis.gpt2.checkpoints import write_checkpoint

    of = messages()
    states = all_layers(trunk(), of, (2,))
    for position in POOLING_MODES:
        last = states.last(Pooling(2, position))
        model = GPT2Classifier(apply_pooling(trunk(), Pooling(2, position)), 2)
        random = np.random.default_rng(1)
        fold_into(model, random.normal(size=(2, 12)), random.normal(size=2))
        write_checkpoint(tmp_path / position, model)
        theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / position).eval()
        with torch.no_grad():
            logits = [
                theirs(torch.from_numpy(ids[None].astype(np.int64))).logits[0].numpy()
                for ids in of.windows
            ]
        np.testing.assert_allclose(score(model, of), np.stack(logits), atol=2e-3)
        with torch.no_grad():
            np.testing.assert_allclose(
                model.head(torch.from_numpy(last)).numpy(), np.stack(logits), atol=2e-3
            )


def test_the_usual_reading_comes_first_and_deep_trunks_are_sampled() -> None:
    assert candidates(3, layer=None, mode="auto")[:2] == [
        Pooling(3, "mean"),
        Pooling(3, "last_token"),
    ]
    assert [r.layer for r in candidates(12, layer=None, mode="mean")] == [12, 10, 8, 6, 4, 2]
    deep = candidates(48, layer=None, mode="auto")
    assert deep[0].layer == 48 and len(deep) == 12
    assert candidates(5, layer=4, mode="last_token") == [Pooling(4, "last_token")]


def layers_of(values: dict[int, np.ndarray]) -> Layers:
    """One layer a key; its means are the values, its last tokens noise."""
    random = np.random.default_rng(0)
    parts = [
        part
        for key in sorted(values)
        for part in (random.normal(size=values[key].shape), values[key])
    ]
    return Layers(
        tuple(sorted(values)),
        np.concatenate(parts, 1).astype(np.float32),
        values[next(iter(values))].shape[1],
        2.0**15,
    )


def test_a_clearly_better_layer_is_taken_and_a_level_one_is_not() -> None:
    random = np.random.default_rng(3)
    of, targets = messages([1] * 80), np.arange(80) % 2
    noise, telling = random.normal(size=(80, 9)), random.normal(size=(80, 9))
    telling[:, 0] += 4 * targets
    also = telling + 0.01 * random.normal(size=(80, 9))
    data = TrainingSet(of, targets, ("a", "b"), np.ones(2), np.arange(80), np.arange(80))
    search = HeadSearch(seed=1)
    tried = [Pooling(2, "mean"), Pooling(1, "mean")]
    chosen, merits = select_layer(
        layers_of({2: noise, 1: telling}), tried, data, search, epsilon=1e-5
    )
    assert chosen == Pooling(1, "mean") and merits[chosen] > merits[tried[0]] + 0.1
    chosen, merits = select_layer(
        layers_of({2: also, 1: telling}), tried, data, search, epsilon=1e-5
    )
    assert chosen == Pooling(2, "mean")
    few = np.where(np.arange(80) == 3, 1, 0)  # one row of a class has no folds: the usual reading
    data = replace(data, targets=few)
    assert select_layer(layers_of({2: noise, 1: telling}), tried, data, search, epsilon=1e-5) == (
        tried[0],
        {},
    )


def test_states_are_kept_whole_and_found_again(tmp_path: Path) -> None:
    from tamis.gpt2.feature_cache import FeatureCache

    store = FeatureCache(tmp_path)
    first = all_layers(trunk(), messages(), (1, 3), cache=store)
    again = all_layers(trunk(), messages(), (1, 3), cache=store)
    assert first.states.shape == (17, 4 * CONFIG.n_embd) and np.array_equal(
        first.states, again.states
    )
    assert len(list(tmp_path.glob("*.npy"))) == 1
