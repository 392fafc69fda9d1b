from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tamis.gpt2.activation import GELU_ROWS, gelu


def values(rows: int) -> torch.Tensor:
    return torch.randn(rows, 7, generator=torch.Generator().manual_seed(rows)) * 4


@pytest.mark.parametrize("rows", [1, GELU_ROWS, 2 * GELU_ROWS + 3])
def test_values_and_gradients_are_those_of_the_tanh_form(rows: int) -> None:
    x = values(rows).double()
    u = (2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)
    expected = 0.5 * x * (1 + torch.tanh(u))
    torch.testing.assert_close(gelu(x.float().clone()).double(), expected, atol=2e-6, rtol=2e-6)
    found, reference = x.float().requires_grad_(), x.clone().requires_grad_()
    weights = torch.linspace(-1, 1, rows * 7).view(rows, 7)
    (gelu(found) * weights).sum().backward()
    (F.gelu(reference, approximate="tanh") * weights.double()).sum().backward()
    torch.testing.assert_close(found.grad, reference.grad.float(), atol=1e-5, rtol=1e-5)  # type: ignore[union-attr]


def test_the_same_bits_with_gradients_and_without() -> None:
    x = values(200)
    with torch.no_grad():
        without = gelu(x.clone())
    assert torch.equal(gelu(x.clone().requires_grad_()).detach(), without)


def test_extremes_are_those_of_torch() -> None:
    x = torch.tensor([[0.0, 30.0, -30.0, 1e20, -1e20, torch.nan]])
    torch.testing.assert_close(gelu(x.clone()), F.gelu(x, approximate="tanh"), equal_nan=True)


def test_other_types_keep_torchs_kernel() -> None:
    x = values(9).bfloat16()
    assert torch.equal(gelu(x.clone()), F.gelu(x, approximate="tanh"))
