"""Benchmark of this machine's matrix products: GFLOP/s in each number type that a trunk can use."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from tamis.compute.int8_kernel import Int8Product
from tamis.compute.onednn_kernel import PrepackedProduct, prepacking_is_here
from tamis.errors import ConfigError

Dtype = Literal["fp32", "bf16", "int8"]
Shape = tuple[int, int, int]
"""Shape of a matrix product: rows, columns in, columns out."""

DTYPES: tuple[Dtype, ...] = get_args(Dtype)


def measure_matmul(
    shapes: Sequence[Shape],
    dtype: Dtype,
    seconds: float,
    *,
    device: str = "cpu",
    threads: int | None = None,
) -> float:
    """Measure the GFLOP/s (10^9 multiplications and additions per second) of the given products.

    Each shape gets its share of `seconds`, and its fastest run counts (in fp32: with plain or with
    oneDNN weights), because other programs can only slow a run down. A product that does not fit
    into its time is run on fewer rows. No global random generator is used; torch's thread count is
    restored.

    Raises:
        ConfigError: no shape, a dimension below one, no time, or an unknown dtype.
    """
    import torch

    if not shapes or any(len(shape) != 3 or min(shape) < 1 for shape in shapes):
        raise ConfigError(
            "shapes: expected (rows, columns in, columns out) of at least 1 each, got "
            f"{list(shapes)}"
        )
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ConfigError(f"seconds: expected a positive time, got {seconds}")
    if dtype not in DTYPES:
        raise ConfigError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        work = took = 0.0
        for shape in shapes:
            rows, best = _fastest(shape, dtype, seconds / len(shapes), device)
            # At the speed measured on the rows that fitted, so that every shape keeps its weight.
            took += best * shape[0] / rows
            work += 2.0 * math.prod(shape)
        return work / took / 1e9
    finally:
        torch.set_num_threads(before)


def _fastest(shape: Shape, dtype: Dtype, seconds: float, device: str) -> tuple[int, float]:
    """Return (rows, seconds of the fastest run); fp32 tries both weight layouts of a trunk."""
    if dtype != "fp32" or device != "cpu" or not prepacking_is_here():
        return time_product(shape, dtype, seconds, device)
    both = [
        time_product(shape, dtype, seconds / 2, device, prepacked=prepacked)
        for prepacked in (False, True)
    ]
    return min(both, key=lambda found: found[1] / found[0])


def time_product(
    shape: Shape, dtype: Dtype, seconds: float, device: str, *, prepacked: bool = False
) -> tuple[int, float]:
    """Return (rows, seconds of the fastest run); rows double up to the shape's, if time allows."""
    import torch

    wanted, columns_in, columns_out = shape
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    left = torch.full((wanted, columns_in), 0.5, dtype=kind, device=device)
    multiply: Callable[[torch.Tensor], object]
    if dtype == "int8":
        multiply = Int8Product(torch.full((columns_out, columns_in), 0.5), torch.zeros(columns_out))
    elif prepacked:
        multiply = PrepackedProduct(torch.full((columns_out, columns_in), 0.5))
    else:
        right = torch.full((columns_in, columns_out), 0.5, dtype=kind, device=device)
        multiply = lambda rows: torch.mm(rows, right)  # noqa: E731
    finish = _finisher(device)

    def run(rows: int) -> float:
        start = time.perf_counter()
        multiply(left[:rows])
        finish()
        return time.perf_counter() - start

    end = time.perf_counter() + seconds
    # Without hardware support for bf16, some builds of torch use a loop that is a hundred times
    # slower, so start with few rows.
    rows = min(8, wanted)
    run(rows)  # the first call also loads kernels
    best = run(rows)
    while True:
        more = min(4 * rows, wanted)
        now = time.perf_counter()
        if more > rows and now + 1.5 * best * more / rows < end:
            rows = more
            best = run(rows)
        elif now + best < end:
            best = min(best, run(rows))
        else:
            return rows, best


def _finisher(device: str) -> Callable[[], None]:
    """Return a function that waits for an asynchronous device."""
    import torch

    if device.startswith("cuda"):
        return lambda: torch.cuda.synchronize(device)
    return torch.mps.synchronize if device == "mps" else lambda: None
