"""Question 8 of the reference: the head is replaced the same way however often it is asked for."""

from __future__ import annotations

import pytest
import torch

from tamis.errors import ConfigError
from tamis.gpt2 import head_shape, replace_head
from tamis.gpt2.model import GPT2, GPT2Config, initialise


def trunk() -> GPT2:
    model = GPT2(GPT2Config(vocab_size=53, n_positions=7, n_embd=12, n_layer=2, n_head=3))
    initialise(model, torch.Generator().manual_seed(3))
    return model


def test_the_head_before_is_the_language_models_and_after_is_the_classes() -> None:
    model = trunk()
    assert head_shape(model) == (12, 53)
    assert head_shape(replace_head(model, 2)) == (12, 2)
    assert head_shape(model) == (12, 53), "the trunk still has its own"


def test_replacing_twice_gives_the_same_head() -> None:
    once = replace_head(trunk(), 5)
    torch.nn.init.ones_(once.score.weight)
    twice = replace_head(once, 5)
    torch.testing.assert_close(
        twice.score.weight, replace_head(trunk(), 5).score.weight, rtol=0, atol=0
    )


def test_only_the_head_and_the_last_layer_norm_stay_trainable() -> None:
    classifier = replace_head(trunk(), 2)
    trainable = {name: p.numel() for name, p in classifier.named_parameters() if p.requires_grad}
    assert trainable == {
        "transformer.ln_f.weight": 12,
        "transformer.ln_f.bias": 12,
        "score.weight": 24,
    }


def test_one_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_classes: expected at least 2, got 1"):
        replace_head(trunk(), 1)
