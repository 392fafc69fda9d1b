"""Mean pooling as a block: it pools, its standard form is the same function, and nothing else is
taken for it.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tamis.gpt2.checkpoints import build, standard_state
from tamis.gpt2.model import GPT2, GPT2Config, MeanPoolingBlock, initialise
from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import (
    LARGEST_FACTOR,
    SMALLEST_FACTOR,
    add_mean_pooling,
    pooling_factor,
    recognize,
    unfolded,
)

CONFIG = GPT2Config(vocab_size=53, n_positions=19, n_embd=21, n_layer=2, n_head=3)


def trunk() -> GPT2:
    generator = torch.Generator().manual_seed(5)
    model = GPT2(CONFIG)
    initialise(model, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def batch() -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.integers(0, 53, n) for n in (5, 1, 19, 5, 2)]


def test_the_last_token_leaves_as_the_normalised_mean_of_all_tokens() -> None:
    model = trunk()
    with torch.inference_mode():
        means = torch.stack([model(pack([ids])).mean(0) for ids in batch()])
        add_mean_pooling(model)
        packed = pack(batch())
        pooled = model.normed(model.last(model.embed(packed), packed))
    torch.testing.assert_close(pooled, F.layer_norm(means, (21,)), atol=2e-3, rtol=0)
    assert F.cosine_similarity(pooled, means).min() > 0.9 and model.config.n_layer == 3


def test_written_out_it_is_the_same_function_and_is_recognised() -> None:
    model = add_mean_pooling(trunk())
    state = dict(unfolded(copy.deepcopy(model)).state_dict().items())
    factor = pooling_factor(trunk().ln_f)
    assert recognize(state, model.config) == factor == model.h[-1].factor
    packed = pack(batch())
    with torch.inference_mode():
        torch.testing.assert_close(
            unfolded(copy.deepcopy(model))(packed), model(packed), atol=1e-5, rtol=1e-5
        )
        assert isinstance(build(model.config, state).h[-1], MeanPoolingBlock)
        assert torch.equal(build(model.config, state)(packed), model(packed))


@pytest.mark.parametrize(
    "name",
    [
        "attn.c_attn.weight",
        "attn.c_attn.bias",
        "attn.c_proj.weight",
        "attn.c_proj.bias",
        "mlp.c_proj.weight",
    ],
)
def test_one_number_off_and_it_is_an_ordinary_block(name: str) -> None:
    model = add_mean_pooling(trunk())
    state = unfolded(model).state_dict()
    assert recognize(state, model.config) is not None
    tensor = state[f"h.2.{name}"].clone()
    tensor.view(-1)[-1] += 0.5
    assert recognize(state | {f"h.2.{name}": tensor}, model.config) is None


def test_an_ordinary_last_block_is_not_taken_for_pooling() -> None:
    assert recognize(trunk().state_dict(), CONFIG) is None


def test_a_trainable_block_computes_the_same_and_every_factor_gets_a_gradient() -> None:
    torch.manual_seed(3)
    model = add_mean_pooling(trunk())
    packed = pack(batch())
    with torch.no_grad():
        expected = model(packed)
    trained = unfolded(model, trainable=True)
    torch.testing.assert_close(trained(packed), expected, atol=1e-5, rtol=1e-5)
    trained(packed).square().sum().backward()
    slopes = {name: p.grad for name, p in trained.named_parameters() if p.grad is not None}
    keys = slopes["h.2.attn.c_attn.weight"][21:42]
    assert keys.abs().max() > 0 and slopes["h.2.mlp.c_proj.weight"].abs().max() > 0


def test_the_standard_state_holds_conv1d_matrices_and_a_whole_pooling_block() -> None:
    state = standard_state(add_mean_pooling(trunk()))
    assert state["h.0.mlp.c_fc.weight"].shape == (21, 84) and state[
        "h.2.attn.c_attn.weight"
    ].shape == (21, 63)
    assert torch.equal(state["h.2.attn.c_proj.weight"], 8192.0 * torch.eye(21))


def test_the_factor_keeps_every_text_in_the_range_of_fp16() -> None:
    model = trunk()
    with torch.no_grad():
        model.ln_f.weight.mul_(9.0)
        model.ln_f.bias.mul_(9.0)
    block = add_mean_pooling(model).h[-1]
    assert isinstance(block, MeanPoolingBlock)
    # The state of a normalized vector with one large number reaches the bound of the weights.
    channel = int((block.ln_1.weight.abs() * 20**0.5 + block.ln_1.bias.abs()).argmax())
    extreme = torch.zeros(1, 21)
    extreme[0, channel] = 1e4 * block.ln_1.bias[channel].sign() * block.ln_1.weight[channel].sign()
    with torch.inference_mode():
        largest = float(block.factor * block.ln_1(extreme).abs().max())
    assert 30_000 - 1 < largest < torch.finfo(torch.float16).max
    assert 2 * largest > 60_000  # the next power of two would not leave room


@pytest.mark.parametrize(("scale", "factor"), [(1e-6, LARGEST_FACTOR), (1e6, SMALLEST_FACTOR)])
def test_the_factor_stays_where_the_mean_outweighs_the_own_state(
    scale: float, factor: float
) -> None:
    norm = torch.nn.LayerNorm(21)
    torch.nn.init.constant_(norm.weight, scale)
    assert pooling_factor(norm) == factor
    torch.nn.init.zeros_(norm.weight)
    assert pooling_factor(norm) == LARGEST_FACTOR
