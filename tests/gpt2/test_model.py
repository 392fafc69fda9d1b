"""The network: a score depends on its message alone; short cuts equal the long way. Parity with
transformers: test_parity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tamis.errors import ConfigError, DataError
from tamis.gpt2.model import GPT2, Block, GPT2Classifier, GPT2Config, initialise
from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import add_mean_pooling

CONFIG = GPT2Config(vocab_size=53, n_positions=17, n_embd=15, n_layer=3, n_head=5, n_inner=22)
MESSAGES = st.lists(st.lists(st.integers(0, 52), min_size=1, max_size=17), min_size=1, max_size=7)


def classifier(*, pooling: bool = False, classes: int = 3) -> GPT2Classifier:
    """Far from its start, so that every part of the network matters."""
    generator = torch.Generator().manual_seed(7)
    trunk = GPT2(CONFIG)
    initialise(trunk, generator)
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    model = GPT2Classifier(add_mean_pooling(trunk) if pooling else trunk, classes).eval()
    with torch.no_grad():
        model.score.weight.normal_(generator=generator)
    return model


LAST, MEAN = classifier(), classifier(pooling=True)


def scores(model: GPT2Classifier, messages: list[list[int]]) -> torch.Tensor:
    with torch.inference_mode():
        return model(pack([np.array(ids) for ids in messages]))


@pytest.mark.parametrize("model", [LAST, MEAN], ids=["last", "mean"])
@given(messages=MESSAGES, data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batch_mates_and_their_order_change_no_score(
    model: GPT2Classifier, messages: list[list[int]], data: st.DataObject
) -> None:
    alone = torch.cat([scores(model, [ids]) for ids in messages])
    order = data.draw(st.permutations(range(len(messages))))
    together = scores(model, [messages[i] for i in order])
    torch.testing.assert_close(together, alone[list(order)], atol=1e-5, rtol=1e-5)


def test_scores_differ_between_messages() -> None:
    both = scores(
        LAST, [[3, 4, 5], [3, 5, 4], [4, 5, 5]]
    )  # the last token alone does not decide either
    assert (both[0] - both[2]).abs().max() > 0.1 and (both[0] - both[1]).abs().max() > 0.1


@pytest.mark.parametrize("model", [LAST, MEAN], ids=["last", "mean"])
@given(messages=MESSAGES, start=st.integers(0, 3))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_last_token_path_equals_the_all_token_path(
    model: GPT2Classifier, messages: list[list[int]], start: int
) -> None:
    trunk, packed = model.transformer, pack([np.array(ids) for ids in messages])
    with torch.inference_mode():
        hidden = trunk.blocks(trunk.embed(packed), packed, 0, start)
        last = trunk.last(hidden, packed, start)
        every = trunk.blocks(hidden, packed, start)
        expected = packed.restore(every.index_select(0, packed.last))
        torch.testing.assert_close(
            trunk.normed(last), trunk.ln_f(expected.float()), atol=1e-5, rtol=1e-5
        )
        through = packed.restore(trunk(packed).index_select(0, packed.last))
        torch.testing.assert_close(trunk.normed(last), through, atol=1e-5, rtol=1e-5)


def test_gradients_of_both_paths_are_the_same() -> None:
    model, packed = (
        classifier(),
        pack([np.array(ids) for ids in ([4, 9, 2], [1], [8, 8, 1], [5, 6, 7, 8, 9])]),
    )
    trunk, found = model.transformer, []
    for last in (
        trunk.last(trunk.embed(packed), packed),
        packed.restore(trunk.blocks(trunk.embed(packed), packed)[packed.last]),
    ):
        model.zero_grad()
        model.head(last).square().sum().backward()
        found.append(
            {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        )
    assert found[0].keys() == found[1].keys() == dict(model.named_parameters()).keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], atol=1e-4, rtol=1e-4)


def test_no_token_sees_the_ones_after_it() -> None:
    packed, longer = pack([np.array([4, 9, 2])]), pack([np.array([4, 9, 2, 31, 7])])
    with torch.inference_mode():
        torch.testing.assert_close(
            LAST.transformer(longer)[:3], LAST.transformer(packed), atol=1e-5, rtol=1e-5
        )


def test_a_message_longer_than_the_context_is_refused_in_words() -> None:
    with pytest.raises(
        DataError,
        match="a message has 18 tokens, but the model's context holds 17; split it into windows",
    ):
        LAST.transformer.embed(pack([np.zeros(3, int), np.zeros(18, int)]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_embd": 16}, r"n_embd \(16\) must be a multiple of n_head \(5\)"),
        ({"n_layer": 0}, "n_layer: expected at least 1, got 0"),
        ({"vocab_size": -3}, "vocab_size: expected at least 1, got -3"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        GPT2Config(**({"n_embd": 15, "n_head": 5} | changes))


def test_dropout_is_set_everywhere_and_acts_only_in_training() -> None:
    model = classifier()
    model.transformer.set_dropout(0.5)
    assert [b.attn.dropout for b in model.transformer.h if isinstance(b, Block)] == [0.5] * 3
    assert [b.mlp.dropout for b in model.transformer.h if isinstance(b, Block)] == [0.5] * 3
    assert torch.equal(scores(model, [[4, 9, 2]]), scores(LAST, [[4, 9, 2]]))
    model.train()
    assert not torch.equal(scores(model, [[4, 9, 2]]), scores(model, [[4, 9, 2]]))


@pytest.mark.parametrize("part", ["embeddings", "attention", "mlp"])
def test_dropout_acts_in_each_part(part: str) -> None:
    model = classifier()
    block = model.transformer.h[1]
    assert isinstance(block, Block)
    where: dict[str, Any] = {
        "embeddings": model.transformer,
        "attention": block.attn,
        "mlp": block.mlp,
    }
    where[part].dropout = 0.5
    assert torch.equal(scores(model, [[4, 9, 2]]), scores(LAST, [[4, 9, 2]]))
    assert not torch.equal(scores(model.train(), [[4, 9, 2]]), scores(LAST, [[4, 9, 2]]))


def test_casting_leaves_the_final_norm_and_the_pooling_in_fp32() -> None:
    model = classifier(pooling=True)
    model.transformer.cast(torch.bfloat16)
    kinds = {name: p.dtype for name, p in model.named_parameters()}
    assert (
        kinds["transformer.h.0.attn.c_attn.weight"]
        == model.transformer.embed(pack([np.arange(3)])).dtype
        == torch.bfloat16
    )
    assert (
        kinds["transformer.h.3.ln_1.weight"]
        == kinds["transformer.ln_f.weight"]
        == kinds["score.weight"]
        == torch.float32
    )
    assert scores(model, [[4, 9, 2]]).dtype == torch.float32


def test_the_start_is_gpt2s_own() -> None:
    trunk = GPT2(GPT2Config(vocab_size=307, n_positions=31, n_embd=64, n_layer=8, n_head=2))
    initialise(trunk, torch.Generator().manual_seed(3))
    for name, parameter in trunk.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "ln_" in name:
            assert (parameter == 1).all(), name
        else:
            expected = (
                0.005 if name.endswith("c_proj.weight") else 0.02
            )  # 0.02 / sqrt(2 * 8 layers)
            assert float(parameter.detach().std()) == pytest.approx(expected, rel=0.06), name


def test_attention_with_gradients_is_computed_in_fp32_where_products_are_in_bf16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[torch.dtype] = []
    real = F.scaled_dot_product_attention

    def noted(q: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        seen.append(q.dtype)
        return real(q, *rest, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", noted)
    block: Any = classifier().transformer.h[0]
    layer = block.attn
    batch = pack([np.arange(3), np.arange(7)])
    hidden = torch.randn(10, layer.c_proj.in_features, requires_grad=True)
    exact = layer(hidden, batch)
    (expected,) = torch.autograd.grad(exact.sum(), hidden)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(hidden, batch)
        with torch.no_grad():
            layer(hidden, batch)
    (gradient,) = torch.autograd.grad(found.float().sum(), hidden)
    assert seen == [torch.float32] * 4 + [torch.bfloat16] * 2
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, atol=0.02, rtol=0.05)
    torch.testing.assert_close(gradient, expected, atol=0.05, rtol=0.05)
