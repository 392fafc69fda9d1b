"""Question 8 of the reference: the head is replaced the same way however often it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tamis.errors import ConfigError
from tamis.gpt2 import head_shape, load_backbone, replace_head
from tamis.gpt2.backbones import scratch_backbone
from tamis.gpt2.checkpoints import write_checkpoint
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


@pytest.mark.parametrize("number", [1, 2.0, "2"])
def test_fewer_than_two_classes_are_refused(number: Any) -> None:
    with pytest.raises(ConfigError, match=f"num_classes: expected at least 2, got {number!r}"):
        replace_head(trunk(), number)


def test_the_number_of_classes_may_come_from_an_array() -> None:
    assert head_shape(replace_head(trunk(), np.int64(3))) == (12, 3)  # type: ignore[arg-type]


def test_what_load_backbone_returns_is_taken_as_it_is(tmp_path: Path) -> None:
    backbone = scratch_backbone("scratch:tiny", ["a few words", "for a tokenizer"], seed=1)
    write_checkpoint(tmp_path, backbone.model)
    backbone.tokenizer.save(tmp_path, max_length=backbone.model.config.n_positions)
    loaded = load_backbone(tmp_path)
    classifier = replace_head(loaded, 2)
    assert head_shape(loaded) == (32, loaded.model.config.vocab_size)
    assert head_shape(classifier) == (32, 2)
    assert classifier.transformer is loaded.model
    same = replace_head(loaded.model, 2)
    torch.testing.assert_close(classifier.score.weight, same.score.weight, rtol=0, atol=0)


@pytest.mark.parametrize("function", [lambda model: replace_head(model, 2), head_shape])
@pytest.mark.parametrize(
    ("model", "advice"),
    [
        ("gpt2", r"of type str; load it first: load_backbone\('gpt2'\)"),
        (Path("some") / "folder", r"load it first: load_backbone\('some/folder'\)"),
        (torch.nn.Linear(2, 3), "of type Linear; pass what load_backbone returns"),
    ],
)
def test_anything_else_says_what_to_pass(function: Any, model: Any, advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        function(model)
