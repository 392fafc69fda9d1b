"""Variants of GPT-2 that transformers saves: hidden states equal its own, and a saved model needs
no variant but the activation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config as HFConfig
from transformers import GPT2Model

from tamis.gpt2.checkpoints import build, fingerprint, read_checkpoint, write_checkpoint
from tamis.gpt2.model import ACTIVATIONS, GPT2, GPT2Config, initialise
from tamis.gpt2.packing import pack
from tamis.gpt2.variants import ACTIVATIONS as NAMES

SHAPE: dict[str, Any] = {
    "vocab_size": 67,
    "n_positions": 41,
    "n_embd": 20,
    "n_layer": 3,
    "n_head": 5,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "initializer_range": 0.4,
}
IDS = [np.random.default_rng(5).integers(0, 67, n) for n in (7, 1, 19, 30)]
VARIANTS: list[dict[str, Any]] = [
    *({"activation_function": name} for name in NAMES),
    {"scale_attn_by_inverse_layer_idx": True},
    {"scale_attn_weights": False},
    {"scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True},
    {"reorder_and_upcast_attn": True},
    {"activation_function": "gelu", "scale_attn_by_inverse_layer_idx": True, "n_inner": 33},
    {"tie_word_embeddings": False},
]


def reference(folder: Path, **variant: Any) -> GPT2Model:
    torch.manual_seed(3)
    model = GPT2Model(HFConfig(**SHAPE | variant)).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return model


def hidden(model: GPT2) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([model(pack([ids])) for ids in IDS])


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_hidden_states_equal_transformers(variant: dict[str, Any], tmp_path: Path) -> None:
    theirs = reference(tmp_path / "theirs", **variant)
    checkpoint = read_checkpoint(tmp_path / "theirs")
    model = build(checkpoint.config, checkpoint.state).eval()
    with torch.no_grad():
        expected = torch.cat([theirs(torch.tensor(ids)[None]).last_hidden_state[0] for ids in IDS])
    torch.testing.assert_close(hidden(model), expected, atol=1e-5, rtol=1e-5)

    write_checkpoint(tmp_path / "ours", model)
    again = GPT2Model.from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        found = torch.cat([again(torch.tensor(ids)[None]).last_hidden_state[0] for ids in IDS])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "variant", [{"scale_attn_by_inverse_layer_idx": True}, {"scale_attn_weights": False}], ids=str
)
def test_the_variant_changes_the_states_at_all(variant: dict[str, Any], tmp_path: Path) -> None:
    reference(tmp_path / "plain")
    reference(tmp_path / "variant", **variant)
    one, other = (read_checkpoint(tmp_path / name) for name in ("plain", "variant"))
    assert torch.equal(one.state["wte.weight"], other.state["wte.weight"])
    difference = hidden(build(one.config, one.state)) - hidden(build(other.config, other.state))
    assert difference.abs().max() > 1e-3


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_with_gradients_and_in_place_the_activation_is_the_same(name: str) -> None:
    with_gradients, in_place = ACTIVATIONS[name]
    values = torch.linspace(-6, 6, 101)
    torch.testing.assert_close(in_place(values.clone()), with_gradients(values))


def test_only_another_activation_changes_the_fingerprint() -> None:
    model = GPT2(GPT2Config(vocab_size=11, n_positions=5, n_embd=4, n_layer=1, n_head=1))
    initialise(model, torch.Generator().manual_seed(1))
    state = model.state_dict()
    own = fingerprint(model.config, state)
    assert own == ("fc5649146b93e7c7d28f18a7f516d7bd5c62449007e6f1621f699a6ba101837c")
    other = GPT2Config(**{**vars(model.config), "activation_function": "gelu"})
    assert fingerprint(other, state) != own
