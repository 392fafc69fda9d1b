"""Frozen states: the same numbers as the whole network, computed once, and scores of long texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tamis.gpt2 import features as module
from tamis.gpt2.feature_cache import FeatureCache
from tamis.gpt2.features import FeatureExtractor, all_tokens, last_tokens
from tamis.gpt2.freezing import freeze
from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import add_mean_pooling, unfolded
from tamis.gpt2.scoring import score, score_windows
from tests.tiny import TARGETS, classifier, close, gradients, messages, windowed


@pytest.mark.parametrize("pooling", [False, True])
@pytest.mark.parametrize("blocks", [1, 2])
def test_training_on_frozen_states_is_training_the_whole_network_with_its_lower_part_frozen(
    blocks: int, pooling: bool
) -> None:
    of, found = windowed([[5], [2, 7], [11], [5, 5, 3]]), []
    targets, rows = torch.tensor([0, 2, 1, 1]), np.array([2, 0, 3, 1])
    for cached in (True, False):
        model = classifier()
        if pooling:
            torch.manual_seed(2)
            unfolded(add_mean_pooling(model.transformer), trainable=True)
        start = freeze(model, blocks=blocks)
        assert start == len(model.transformer.h) - blocks
        if cached:
            states = FeatureExtractor(
                of, start, all_tokens(model.transformer, of, start), whole=False
            )
            last, _ = states.forward(model, rows, lm_loss_share=0.0)
            logits = of.mean_over_windows(model.head(last), rows)
        else:
            each = [
                torch.stack(
                    [model(pack([of.windows[w]]))[0] for w in of.windows_of(rows[i : i + 1])]
                ).mean(0)
                for i in range(4)
            ]
            logits = torch.stack(each)
        F.cross_entropy(logits, targets[rows]).backward()
        found.append((logits.detach(), gradients(model)))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-5, rtol=1e-5)
    names = set(found[0][1])
    assert len(names) == 12 * blocks + 3 and not any(
        name.startswith("transformer.w") for name in names
    )
    close(found[0][1], found[1][1], 1e-4)


def test_the_last_tokens_states_are_those_of_the_whole_network() -> None:
    model, of = classifier(), messages()
    freeze(model, head_only=True)
    frozen = last_tokens(model.transformer, of)
    states = FeatureExtractor(of, 3, frozen, whole=True)
    last, loss = states.forward(model, np.array([4, 16, 4]), lm_loss_share=0.0)
    assert loss is None and frozen.shape == (17, 12)
    with torch.no_grad():
        expected = torch.cat([model(pack([of.windows[w]])) for w in (4, 16, 4)])
        torch.testing.assert_close(model.head(last), expected, atol=1e-5, rtol=1e-5)


def test_states_of_all_tokens_lie_message_by_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FROZEN_TOKENS", 20)
    model, of = classifier(), messages()
    frozen, place = all_tokens(model.transformer, of, 2), 0
    with torch.no_grad():
        for window in of.windows:
            packed = pack([window])
            expected = model.transformer.blocks(model.transformer.embed(packed), packed, 0, 2)
            np.testing.assert_allclose(
                frozen[place : place + len(window)], expected.numpy(), atol=1e-5
            )
            place += len(window)
    assert place == len(frozen)


def test_tokens_are_left_out_at_random_but_the_first_and_never_all() -> None:
    ids = np.arange(100, 140)
    torch.manual_seed(1)
    kept = [module.drop_tokens(ids, 0.3) for _ in range(200)]
    assert all(k[0] == 100 and (np.diff(k) > 0).all() for k in kept)
    assert np.mean([len(k) - 1 for k in kept]) / 39 == pytest.approx(0.7, abs=0.03)
    assert len({tuple(k) for k in kept}) > 190


def test_a_long_texts_score_is_the_mean_of_its_windows_logits() -> None:
    model, of = classifier(), windowed([[5], [23, 23, 9], [2], [23, 4], [7]])
    with torch.no_grad():
        each = torch.stack([model(pack([w]))[0] for w in of.windows]).double().numpy()
    expected = np.stack([each[0], each[1:4].mean(0), each[4], each[5:7].mean(0), each[7]])
    np.testing.assert_allclose(score(model, of), expected, atol=1e-5)


def test_scoring_restores_mode_and_order_and_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from tamis.gpt2 import scoring
    from tamis.text.encoding import EncodedTexts

    monkeypatch.setattr(scoring, "FROZEN_TOKENS", 13)
    model, of = classifier(), messages()
    model.transformer.set_dropout(0.5)
    model.train()
    first = score(model, of)
    assert (
        np.array_equal(first, score(model, of))
        and first.shape == (17, 3)
        and first.dtype == np.float64
    )
    repeated = EncodedTexts(of.windows, of.first, np.array([3, 0, 3, 16]))
    np.testing.assert_allclose(score(model, repeated), first[[3, 0, 3, 16]], atol=1e-6)
    assert score(model, EncodedTexts((), np.array([0]), np.array([], dtype=np.int64))).shape == (
        0,
        3,
    )
    assert len(TARGETS) == 17


def test_scores_from_kept_states_are_the_same_and_serve_another_head(tmp_path: Path) -> None:
    of, cache = windowed([[5], [2, 7], [11], [5, 5, 3]]), FeatureCache(tmp_path)
    model, other = classifier(), classifier()
    with torch.no_grad():  # another head on the same trunk
        other.score.weight.add_(1.0)
        other.transformer.ln_f.bias.add_(0.5)
    for each in (model, other, model):
        plain, kept = score_windows(each, of), score_windows(each, of, cache=cache)
        assert np.array_equal(plain.logits, kept.logits)
        assert np.array_equal(plain.deciding, kept.deciding)
    assert not np.array_equal(score(model, of), score(other, of))
    assert len(list(tmp_path.glob("*.npy"))) == 1
