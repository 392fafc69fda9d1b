"""The real GPT-2 124M against published values; runs only where its folder is named
(TAMIS_GPT2_FOLDER), never downloads.

Sources: huggingface/transformers tests/models/gpt2/test_modeling_gpt2.py (greedy continuation of
"The dog"); S. Raschka, Build a Large Language Model (From Scratch), chapter 6 (greedy continuation
of "Every effort moves you").
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.gpt2.backbones import Backbone, load_backbone
from tamis.gpt2.packing import pack

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def gpt2() -> Backbone:
    return load_backbone(Path(os.environ["TAMIS_GPT2_FOLDER"]))


def continued(backbone: Backbone, text: str, tokens: int) -> list[int]:
    (ids,) = backbone.tokenizer.encode([text])
    for _ in range(tokens):
        with torch.inference_mode():
            best = int(backbone.model.next_token_logits(backbone.model(pack([ids]))[-1]).argmax())
        ids = np.append(ids, best)
    return [int(i) for i in ids]


def test_it_has_as_many_weights_as_published(gpt2: Backbone) -> None:
    assert sum(p.numel() for p in gpt2.model.parameters()) == 124_439_808
    assert gpt2.tokenizer.size == gpt2.model.config.vocab_size == 50_257


def test_it_goes_on_about_the_dog_as_in_transformers_own_test(gpt2: Backbone) -> None:
    expected = [
        464,
        3290,
        373,
        1043,
        287,
        257,
        2214,
        1474,
        262,
        16246,
        286,
        2688,
        290,
        2688,
        27262,
        13,
        198,
        198,
        464,
        3290,
    ]
    assert continued(gpt2, "The dog", 18) == expected


def test_it_goes_on_as_in_the_book(gpt2: Backbone) -> None:
    text = gpt2.tokenizer.decode(continued(gpt2, "Every effort moves you", 15))
    assert (
        text == "Every effort moves you forward.\n\nThe first step is to understand the importance "
        "of your work"
    )
