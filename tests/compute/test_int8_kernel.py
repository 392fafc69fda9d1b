from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tamis.compute import int8_kernel
from tamis.compute.int8_kernel import Int8Product, int8_is_here, row_levels
from tamis.errors import ConfigError

needs_engine = pytest.mark.skipif(
    not int8_is_here(), reason="this torch has no int8 engine for this processor"
)


@needs_engine
def test_the_product_is_that_of_the_rounded_matrices() -> None:
    random = torch.Generator().manual_seed(5)
    weight, bias = torch.randn(11, 7, generator=random), torch.randn(11, generator=random)
    rows = torch.randn(5, 7, generator=random) * torch.tensor([1e-3, 1.0, 30.0, 1.0, 1e4])[:, None]
    levels = row_levels()
    w, r = weight.double().numpy(), rows.double().numpy()
    steps = np.abs(w).max(1, keepdims=True) / 127
    largest = np.abs(r).max(1, keepdims=True)
    whole = np.round(r / largest * levels)
    expected = whole * largest / levels @ (np.round(w / steps) * steps).T + bias.double().numpy()
    # A number half-way between two steps may be rounded either way by fp32: one step of one input.
    found = Int8Product(weight, bias)(rows).numpy()
    np.testing.assert_allclose(
        found, expected, rtol=0.02, atol=0.02 * np.abs(expected).max(1).min()
    )
    exact = r @ w.T + bias.double().numpy()
    assert np.linalg.norm(found - exact) < 0.03 * np.linalg.norm(exact)


@needs_engine
def test_a_row_depends_on_no_other_row() -> None:
    product = Int8Product(torch.randn(6, 9), torch.zeros(6))
    rows = torch.randn(4, 9)
    alone = product(rows[1:2])
    rows[0] *= 1000.0
    assert torch.equal(product(rows)[1:2], alone)
    assert torch.equal(product(torch.zeros(2, 9)), torch.zeros(2, 6))


@needs_engine
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_sums_are_not_cut(sign: float) -> None:
    product = Int8Product(torch.full((8, 256), sign), torch.zeros(8))
    torch.testing.assert_close(
        product(torch.ones(3, 256)), torch.full((3, 8), 256.0 * sign), rtol=1e-3, atol=0.0
    )


@needs_engine
@pytest.mark.parametrize(("cut", "levels"), [(False, 127), (True, 63)])
def test_an_engine_that_cuts_large_sums_gets_seven_bits(
    monkeypatch: pytest.MonkeyPatch, cut: bool, levels: int
) -> None:
    monkeypatch.setattr(
        int8_kernel,
        "int8_product",
        lambda rows, packed, _: torch.full((len(rows), 8), 64.0 if cut else 64 * 127.0),
    )
    row_levels.cache_clear()
    try:
        assert row_levels() == levels
    finally:
        row_levels.cache_clear()


def test_a_torch_without_the_engine_is_told_what_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = type("Quantized", (), {"supported_engines": ["none", "qnnpack"]})
    monkeypatch.setattr(torch.backends, "quantized", fake)
    row_levels.cache_clear()
    assert not int8_is_here()
    with pytest.raises(
        ConfigError,
        match=r"int8 needs torch's engine fbgemm .* has qnnpack here; use --dtype fp32 or auto",
    ):
        row_levels()
