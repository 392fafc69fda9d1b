"""Bits per byte: by hand on a tiny trunk, the same alone as in a batch, long texts counted once,
under every kind of trunk.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.gpt2 import likelihood
from tamis.gpt2.backbones import scratch_backbone
from tamis.gpt2.likelihood import bits_per_byte
from tamis.gpt2.model import GPT2, MeanPoolingBlock
from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import add_mean_pooling, unfolded
from tests.rows import messages

TEXTS = [text for _, text in messages()]
BACKBONE = scratch_backbone("scratch:tiny", TEXTS, seed=7)
TOKENIZER = BACKBONE.tokenizer.prepared(add_bos=True)


def spread(model: GPT2) -> GPT2:
    """Weights far from the start, so that tokens differ in their probability."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


TRUNK = spread(BACKBONE.model)


def by_hand(text: str) -> float:
    """Token by token, a forward pass of its own for each, in plain floats."""
    ids = TOKENIZER.encode([text])[0]
    bits = 0.0
    for place in range(1, len(ids)):
        with torch.inference_mode():
            state = TRUNK(pack([ids[:place]]))[-1]
            odds = (TRUNK.wte.weight @ state).double().exp()
        bits -= math.log2(float(odds[ids[place]] / odds.sum()))
    return bits / len(text.encode())


def test_bits_are_those_counted_by_hand() -> None:
    for text in (TEXTS[0], TEXTS[5], "dîner à 20h 🎂", "k"):
        assert bits_per_byte(TRUNK, [text], TOKENIZER)[0] == pytest.approx(by_hand(text), rel=1e-5)


def test_a_trunk_that_knows_nothing_needs_the_logarithm_of_the_vocabulary() -> None:
    model = scratch_backbone("scratch:tiny", TEXTS, seed=7).model
    with torch.no_grad():
        model.wte.weight.zero_()
    text = TEXTS[3]
    tokens = len(TOKENIZER.encode([text])[0]) - 1
    assert bits_per_byte(model, [text], TOKENIZER)[0] == pytest.approx(
        tokens * math.log2(model.config.vocab_size) / len(text.encode())
    )


@settings(max_examples=15)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=9)
)
def test_a_text_alone_has_the_bits_it_has_among_others(texts: list[str]) -> None:
    together = bits_per_byte(TRUNK, texts, TOKENIZER)
    alone = np.array([bits_per_byte(TRUNK, [text], TOKENIZER)[0] for text in texts])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_empty_texts_and_no_texts() -> None:
    assert bits_per_byte(TRUNK, [], TOKENIZER).shape == (0,)
    assert bits_per_byte(TRUNK, ["", "hi", ""], TOKENIZER)[[0, 2]].tolist() == [0.0, 0.0]


def test_every_token_of_a_long_text_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(TEXTS[:12])
    counted: list[int] = []
    original = likelihood.stretches_of

    def watched(*arguments):
        stretches, first, owner = original(*arguments)
        for stretch, start in zip(stretches, first.tolist(), strict=True):
            assert len(stretch) <= TRUNK.config.n_positions
            counted.extend(stretch[start:].tolist())
        return stretches, first, owner

    monkeypatch.setattr(likelihood, "stretches_of", watched)
    assert bits_per_byte(TRUNK, [text], TOKENIZER)[0] > 0
    assert counted == TOKENIZER.encode([text])[0].tolist()[1:]
    assert len(counted) > 3 * TRUNK.config.n_positions


def test_the_vocabulary_in_pieces_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bits_per_byte(TRUNK, TEXTS[:20], TOKENIZER)
    monkeypatch.setattr(likelihood, "VOCABULARY_ROWS", 3)
    np.testing.assert_allclose(bits_per_byte(TRUNK, TEXTS[:20], TOKENIZER), whole, rtol=1e-5)


def test_pooling_and_a_plain_tokenizer_change_nothing() -> None:
    expected = bits_per_byte(TRUNK, TEXTS[:8], TOKENIZER)
    pooled = add_mean_pooling(spread(scratch_backbone("scratch:tiny", TEXTS, seed=7).model))
    assert isinstance(pooled.h[-1], MeanPoolingBlock)
    np.testing.assert_allclose(bits_per_byte(pooled, TEXTS[:8], TOKENIZER), expected, rtol=1e-5)
    written = unfolded(pooled)  # as a model is loaded whose last blocks were trained
    np.testing.assert_allclose(
        bits_per_byte(written, TEXTS[:8], TOKENIZER, pooled=True), expected, rtol=1e-5
    )
    padded = BACKBONE.tokenizer.prepared(add_bos=False, fixed_length=8, pad=True)
    np.testing.assert_allclose(bits_per_byte(TRUNK, TEXTS[:8], padded), expected, rtol=1e-5)
