"""Low-rank adapters against LoRA's formula in numpy, from a start that changes nothing to plain
weights, equal in transformers.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tamis.errors import ConfigError
from tamis.gpt2.checkpoints import build, read_checkpoint, write_checkpoint
from tamis.gpt2.features import FeatureExtractor
from tamis.gpt2.linear import Linear
from tamis.gpt2.lora import ALPHA, LoRALinear, add_lora, merge_lora
from tamis.gpt2.model import GPT2, GPT2Classifier, GPT2Config, MeanPoolingBlock, initialise
from tamis.gpt2.packing import Packed, pack
from tamis.gpt2.pooling import add_mean_pooling
from tamis.training.checkpoint import Checkpointer
from tamis.training.loop import LoopCallback, Training
from tests import tiny

CONFIG = GPT2Config(vocab_size=53, n_positions=19, n_embd=21, n_layer=2, n_head=3, n_inner=38)
LENGTHS = (5, 1, 19, 5, 2)
MATRICES = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


def trunk(config: GPT2Config = CONFIG) -> GPT2:
    generator = torch.Generator().manual_seed(5)
    model = GPT2(config)
    initialise(model, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def seeded(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def adapted(model: GPT2 | None = None, rank: int = 4, **options: Any) -> GPT2:
    """With Bs that a training might have left."""
    model = model or trunk()
    generator = seeded(11)
    for parameter in add_lora(model, rank, generator=seeded(), **options)[1::2]:
        with torch.no_grad():
            parameter.normal_(std=0.3, generator=generator)
    return model


def batch() -> Packed:
    random = np.random.default_rng(1)
    return pack([random.integers(0, 53, n) for n in LENGTHS])


def last(model: GPT2, packed: Packed) -> torch.Tensor:
    return model.last(model.embed(packed), packed)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_start_computes_the_very_same_bits(dropout: float) -> None:
    model, packed = trunk(), batch()
    with torch.no_grad():
        before = model(packed), last(model, packed)
    add_lora(model, 4, dropout=dropout, generator=seeded())
    with torch.no_grad():
        assert torch.equal(model(packed), before[0]) and torch.equal(last(model, packed), before[1])
    model.train()
    assert torch.equal(model(packed), before[0]) and torch.equal(last(model, packed), before[1])


@pytest.mark.parametrize(("rank", "alpha"), [(1, None), (4, None), (9, 5.0)])
def test_a_layer_is_the_formula_of_the_paper_with_the_scale_of_rslora(
    rank: int, alpha: float | None
) -> None:
    model = adapted(rank=rank, alpha=alpha)
    layer: Any = model.h[1].mlp.c_fc  # type: ignore[union-attr]
    hidden = torch.randn(6, 21, generator=seeded(2))
    w, b, a_in, b_out = (
        t.detach().double().numpy() for t in (layer.base, layer.bias, layer.lora_A, layer.lora_B)
    )
    x = hidden.double().numpy()
    scale = (8.0 if alpha is None else alpha) / np.sqrt(rank)
    expected = x @ w.T + b + scale * ((x @ a_in.T) @ b_out.T)
    assert a_in.shape == (rank, 21) and b_out.shape == (38, rank) and ALPHA == 8.0
    np.testing.assert_allclose(layer(hidden).detach().numpy(), expected, atol=2e-5)
    with torch.no_grad():
        np.testing.assert_allclose(layer(hidden).numpy(), expected, atol=2e-5)
    np.testing.assert_allclose(layer.weight.detach().numpy(), w + scale * b_out @ a_in, atol=1e-5)
    np.testing.assert_allclose(
        layer.merged().weight.detach().numpy(), w + scale * b_out @ a_in, atol=1e-5
    )


def test_gradients_equal_those_of_the_written_out_sum() -> None:
    model, packed = adapted().double(), batch()
    probe = torch.randn(len(LENGTHS), 21, generator=seeded(3))
    (last(model, packed) * probe).sum().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    # A plain copy whose matrices hang on A and B by autograd alone.
    leaves = {
        name: p.detach().clone().requires_grad_()
        for name, p in model.named_parameters()
        if "lora_" in name
    }
    plain = merge_lora(copy.deepcopy(model))
    state = dict(plain.named_parameters())
    for name in [name for name in leaves if name.endswith("lora_A")]:
        where = name.removesuffix("lora_A")
        base = dict(model.named_parameters())[f"{where}weight"].detach()
        state[f"{where}weight"] = base + 4.0 * leaves[f"{where}lora_B"] @ leaves[name]  # type: ignore[assignment] # 8 / sqrt(4)

    class Last(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = plain

        def forward(self, packed: Packed) -> torch.Tensor:
            return last(self.trunk, packed)

    values = torch.func.functional_call(
        Last(), {f"trunk.{name}": p for name, p in state.items()}, (packed,)
    )
    (values * probe).sum().backward()
    assert found.keys() == leaves.keys() and len(found) == 16
    for name, leaf in leaves.items():
        assert leaf.grad is not None and leaf.grad.abs().max() > 0
        torch.testing.assert_close(found[name], leaf.grad, atol=1e-5, rtol=1e-5)


def test_the_last_tokens_alone_equal_the_whole_forward() -> None:
    model, packed = adapted(), batch()
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            whole = model.blocks(model.embed(packed), packed)
            torch.testing.assert_close(
                last(model, packed), packed.restore(whole[packed.last]), atol=1e-5, rtol=1e-5
            )


def test_only_the_adapters_are_trained_and_the_trunk_keeps_its_names_and_values() -> None:
    model = trunk()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    returned = add_lora(model, 3, generator=seeded())
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert [id(p) for p in returned] == [id(p) for p in trained.values()]
    assert set(trained) == {f"h.{i}.{m}.lora_{x}" for i in (0, 1) for m in MATRICES for x in "AB"}
    after = model.state_dict()
    assert set(after) == set(before) | set(trained)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    # 3 * (in + out) a matrix: 21 + 63, 21 + 21, 21 + 38, 38 + 21
    assert sum(p.numel() for p in returned) == 2 * 3 * (84 + 42 + 59 + 59)


def test_the_as_come_from_the_generator_alone_and_rows_have_about_length_one() -> None:
    torch.manual_seed(1)
    first = add_lora(trunk(), 4, generator=seeded())
    torch.manual_seed(2)
    again, other = (
        add_lora(trunk(), 4, generator=seeded()),
        add_lora(trunk(), 4, generator=seeded(8)),
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert all(not b.any() for b in first[1::2])
    lengths = torch.cat([a.detach().norm(dim=1) for a in first[::2]])
    assert 0.85 < lengths.mean() < 1.1


def test_a_step_of_training_moves_every_b_and_nothing_of_the_trunk() -> None:
    model, packed = trunk(), batch()
    returned = add_lora(model, 4, generator=seeded())
    before = tiny.weights_of(model)
    optimizer = torch.optim.SGD(returned, lr=0.1)
    model.train()
    model.normed(last(model, packed)).square().mul(torch.arange(21.0)).sum().backward()
    optimizer.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    # B is zero, so A has no slope yet.
    assert moved == {name for name in before if name.endswith("lora_B")}


def test_pooling_blocks_keep_their_form_and_are_frozen() -> None:
    model = add_mean_pooling(trunk())
    with torch.no_grad():
        before = last(model, batch())
    returned = add_lora(model, 4, generator=seeded())
    assert isinstance(model.h[-1], MeanPoolingBlock) and len(returned) == 16
    assert not any(p.requires_grad for p in model.h[-1].parameters())
    with torch.no_grad():
        assert torch.equal(last(model, batch()), before)
    assert isinstance(merge_lora(model).h[-1], MeanPoolingBlock)


@pytest.mark.parametrize("training", [False, True])
def test_merging_changes_no_output_and_leaves_plain_layers(training: bool) -> None:
    model, packed = adapted(add_mean_pooling(trunk()), dropout=0.3), batch()
    with torch.no_grad():
        before = model(packed), model.normed(last(model, packed))
    unadapted = add_mean_pooling(trunk())
    names = list(unadapted.state_dict())
    merged = merge_lora(model.train(training))
    assert merged is model and not any(isinstance(m, LoRALinear) for m in merged.modules())
    assert list(merged.state_dict()) == names
    assert all(
        type(m) is Linear and m.training == training
        for m in merged.modules()
        if isinstance(m, torch.nn.Linear)
    )
    with torch.no_grad():
        torch.testing.assert_close(merged(packed), before[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            merged.normed(last(merged, packed)), before[1], atol=1e-5, rtol=1e-5
        )
        assert (unadapted.eval()(packed) - before[0]).abs().max() > 0.1


def test_merging_a_trunk_without_adapters_changes_nothing() -> None:
    model = trunk()
    before = tiny.weights_of(model)
    assert merge_lora(model) is model and tiny.equal(tiny.weights_of(model), before)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_merged_classifier_is_a_standard_folder_that_transformers_scores_equally(
    pooled: bool, tmp_path: Path
) -> None:
    base = add_mean_pooling(trunk()) if pooled else trunk()
    model = GPT2Classifier(adapted(base), 3).eval()
    random = np.random.default_rng(1)
    texts = [random.integers(0, 53, n) for n in LENGTHS]
    with torch.no_grad():
        adapted_logits = model(pack(texts))
        merge_lora(model.transformer)
        logits = model(pack(texts))
    torch.testing.assert_close(logits, adapted_logits, atol=1e-5, rtol=1e-5)
    write_checkpoint(
        tmp_path,
        model,
        labels=["a", "b", "c"],
        extra={"pad_token_id": -1, "bos_token_id": 0, "eos_token_id": 0},
    )
    theirs, info = AutoModelForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        expected = torch.cat([theirs.eval()(torch.tensor(ids)[None]).logits for ids in texts])
    torch.testing.assert_close(
        logits, expected, atol=1e-4 if pooled else 1e-5, rtol=1e-4 if pooled else 1e-5
    )
    checkpoint = read_checkpoint(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(
            build(checkpoint.config, checkpoint.state)(pack(texts)), model.transformer(pack(texts))
        )


def test_dropout_thins_the_adapters_inputs_while_training_and_keeps_their_mean() -> None:
    model = adapted(dropout=0.5)
    layer: Any = model.h[0].attn.c_attn  # type: ignore[union-attr]
    hidden = torch.ones(4000, 21)
    with torch.no_grad():
        expected = layer(hidden[:1])
        assert torch.equal(layer.weight, layer.merged().weight)
    torch.manual_seed(4)
    noisy = layer.train()(hidden).detach()
    assert (noisy.std(0) > 0.1).all()
    torch.testing.assert_close(noisy.mean(0, keepdim=True), expected, atol=0.2, rtol=0)
    sampled = torch.stack([layer.weight.detach() for _ in range(3000)])
    torch.testing.assert_close(sampled.mean(0), layer.merged().weight.detach(), atol=0.25, rtol=0)
    # A channel is left out or doubled as a whole.
    ratio = (sampled[0] - layer.base) / (layer.merged().weight.detach() - layer.base)
    rounded = ratio.detach().round(decimals=2)
    assert all(set(column.abs().tolist()) in ({0.0}, {2.0}) for column in rounded.T) and set(
        rounded.abs().flatten().tolist()
    ) == {0.0, 2.0}


def loop(alpha: float | None = None, *callbacks: LoopCallback) -> Any:
    """A training of adapters, last LayerNorm and head, everything that draws at random switched
    on.
    """
    torch.manual_seed(11)
    model = tiny.classifier()
    add_lora(model.transformer, 3, alpha=alpha, dropout=0.2, generator=seeded())
    model.transformer.ln_f.requires_grad_(True)
    states = FeatureExtractor(tiny.messages(), 0, None, whole=False)
    how: dict[str, Any] = {
        "epochs": 3,
        "batch_rows": 5,
        "dropout": 0.1,
        "warmup_ratio": 0.3,
        "schedule": "cosine",
        "clip_norm": 1.0,
    }
    return tiny.training(
        model,
        states=states,
        fit=np.arange(13),
        validation=np.arange(13, 17),
        callbacks=callbacks,
        **how,
    )


class KilledError(Exception):
    """Stands for a kill."""


def test_a_training_of_adapters_learns_and_a_resumed_one_ends_bit_for_bit_the_same(
    tmp_path: Path,
) -> None:
    whole = loop()
    frozen = {
        name: t for name, t in tiny.weights_of(whole.model).items() if name not in whole.trained
    }
    whole.run()
    losses = [row["loss"] for row in whole.at.history if "loss" in row]
    assert min(losses[-3:]) < losses[0]
    ended = tiny.weights_of(whole.model)
    assert tiny.equal({name: ended[name] for name in frozen}, frozen)

    class Killing(LoopCallback):
        def on_step(self, training: Training, rows: int, loss: float, accuracy: float) -> None:
            if training.at.step == 4:
                raise KilledError

    first = loop(None, Checkpointer(tmp_path, "w", every_s=0), Killing())
    with pytest.raises(KilledError):
        first.run()
    resumed = loop()
    with torch.no_grad():
        for parameter in resumed.trained.values():
            parameter.add_(1.0)  # nothing of what a fresh start holds may matter
    assert Checkpointer(tmp_path, "w").restore(resumed)
    resumed.run()
    assert tiny.equal(tiny.weights_of(resumed.model), ended) and resumed.at == whole.at


def test_copies_and_casts_take_the_adapters_along() -> None:
    model, packed = adapted(), batch()
    with torch.no_grad():
        expected = model(packed)
        assert torch.equal(copy.deepcopy(model)(packed), expected)
        half = copy.deepcopy(model).cast(torch.bfloat16)
        assert half.h[0].mlp.c_fc.weight.dtype == torch.bfloat16  # type: ignore[union-attr]
        assert (half(packed) - expected).abs().mean() < 0.1
        fresh = trunk()
        add_lora(fresh, 4, generator=seeded(99))
        fresh.load_state_dict(model.state_dict())
        assert torch.equal(fresh(packed), expected)
    assert "rank=4, scale=4" in repr(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rank": 0},
            "rank: expected 1 to 21, the smallest side of the trunk's matrices; got 0",
        ),
        (
            {"rank": 22},
            "rank: expected 1 to 21, the smallest side of the trunk's matrices; got 22",
        ),
        ({"alpha": 0.0}, "alpha: expected a number above 0, got 0.0"),
        ({"alpha": float("nan")}, "alpha: expected a number above 0, got nan"),
        ({"dropout": 1.0}, "dropout: expected a number from 0 to below 1, got 1.0"),
    ],
)
def test_a_number_out_of_range_is_refused_and_nothing_is_changed(
    change: dict[str, Any], message: str
) -> None:
    model = trunk()
    arguments: dict[str, Any] = {"rank": 4, "generator": seeded()} | change
    with pytest.raises(ConfigError, match=message):
        add_lora(model, **arguments)
    assert all(p.requires_grad for p in model.parameters()) and not any(
        isinstance(m, LoRALinear) for m in model.modules()
    )


def test_adapters_on_adapters_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="already has low-rank adapters; merge them with merge_lora first"
    ):
        add_lora(adapted(), 2, generator=seeded())


def test_a_trunk_of_pooling_alone_is_refused() -> None:
    model = add_mean_pooling(trunk())
    model.h = model.h[-1:]
    with pytest.raises(
        ConfigError, match="need a trunk with at least one ordinary block; it has none"
    ):
        add_lora(model, 2, generator=seeded())


def test_adapters_that_are_not_merged_are_never_written(tmp_path: Path) -> None:
    model = trunk()
    add_lora(model, 2, generator=torch.Generator().manual_seed(1))
    with pytest.raises(ConfigError, match="merge them with merge_lora first"):
        write_checkpoint(tmp_path / "model", model)
    assert not (tmp_path / "model").exists()
    write_checkpoint(tmp_path / "model", merge_lora(model))
