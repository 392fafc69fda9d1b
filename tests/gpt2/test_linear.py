"""Linear layers by oneDNN: values and gradients are torch's up to rounding."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tamis.compute import onednn_kernel
from tamis.compute.onednn_kernel import prepacking_is_here
from tamis.gpt2 import linear as module
from tamis.gpt2.linear import Linear, linear

pytestmark = pytest.mark.skipif(not prepacking_is_here(), reason="this torch has no oneDNN")

ROWS, IN, OUT = 37, 129, 301


@pytest.fixture(autouse=True)
def products(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """Use oneDNN on any processor; the sizes of its products."""
    made: list[tuple[int, ...]] = []

    def noted(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        made.append((*rows.shape, len(weight)))
        return onednn_kernel.product(rows, weight, bias)

    monkeypatch.setattr(onednn_kernel, "beats_mkl", lambda: True)
    monkeypatch.setattr(module, "product", noted)
    yield made


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def layer(*, bias: bool = True) -> Linear:
    made = Linear(IN, OUT, bias=bias)
    with torch.no_grad():
        made.weight.copy_(drawn(OUT, IN, seed=1))
        if bias:
            made.bias.copy_(drawn(OUT, seed=2))
    return made


@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_torch(
    bias: bool, products: list[tuple[int, ...]]
) -> None:
    rows, outer = drawn(ROWS, IN, seed=3).requires_grad_(), drawn(ROWS, OUT, seed=4)
    ours = layer(bias=bias)
    inputs = [rows, *ours.parameters()]
    wanted = F.linear(rows, ours.weight, ours.bias)
    by_torch = torch.autograd.grad(wanted, inputs, outer)
    found = ours(rows)
    assert products == [(ROWS, IN, OUT)]
    for one, other in zip(torch.autograd.grad(found, inputs, outer), by_torch, strict=True):
        assert close(one, other) and one.is_contiguous()
    assert products[1:] == [(ROWS, OUT, IN), (OUT, ROWS, IN)]
    assert close(found, wanted)


def test_a_gradient_without_memory_of_its_own() -> None:
    """The gradient of a sum is one number, repeated."""
    rows, ours = drawn(ROWS, IN, seed=3), layer()
    found = torch.autograd.grad(ours(rows).sum(), [ours.weight, ours.bias])
    assert close(found[0], rows.sum(0).expand(OUT, IN))
    assert found[1].tolist() == [ROWS] * OUT


@pytest.mark.parametrize("trained", ["rows", "weight", "bias"])
def test_only_the_gradients_that_are_wanted_are_computed(
    trained: str, products: list[tuple[int, ...]]
) -> None:
    given = {"rows": drawn(ROWS, IN, seed=3), "weight": layer().weight.detach()}
    given["bias"] = drawn(OUT, seed=2)
    found = linear(*(one.requires_grad_(name == trained) for name, one in given.items()))
    found.sum().backward()
    assert [name for name, one in given.items() if one.grad is not None] == [trained]
    assert len(products) == (1 if trained == "bias" else 2)


def test_without_gradients_and_for_parts_of_the_outputs(products: list[tuple[int, ...]]) -> None:
    rows, ours, cut = drawn(ROWS, IN, seed=3), layer(), 257
    with torch.inference_mode():
        whole = ours(rows)
        before, behind = ours.halves(rows, rows, cut)
    assert len(products) == 2  # the outputs from `cut` on are too few
    assert close(before, whole[:, :cut]) and close(behind, whole[:, cut:])
    assert close(whole, F.linear(rows, ours.weight, ours.bias))
    assert not whole.requires_grad


def test_small_products_are_torchs(products: list[tuple[int, ...]]) -> None:
    rows, ours = drawn(ROWS, IN, seed=3), layer()
    assert torch.equal(ours(rows[:5]), F.linear(rows[:5], ours.weight, ours.bias))
    stacked = ours(rows[None])  # torch's product of one matrix or of several may differ
    assert close(stacked[0], ours(rows)) and len(products) == 1
