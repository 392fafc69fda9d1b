"""The measurement of bare products: what it counts, how it keeps to its time, and what it leaves
alone.
"""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
import torch

from tamis.compute import device, matmul_benchmark
from tamis.compute.matmul_benchmark import Shape, measure_matmul
from tamis.errors import ConfigError


def test_gflops_are_two_operations_a_product_over_the_time_of_the_fastest_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = {(10, 20, 30): (10, 0.001), (7, 11, 13): (7, 0.002)}
    monkeypatch.setattr(matmul_benchmark, "time_product", lambda shape, *_, **__: times[shape])
    # 2 * (10 * 20 * 30 + 7 * 11 * 13) = 14,002 operations in 3 ms
    assert measure_matmul(list(times), "fp32", 1.0) == pytest.approx(14002 / 0.003 / 1e9)
    times[(10, 20, 30)] = (5, 0.0005)  # half the rows in half the time: the same speed
    assert measure_matmul(list(times), "fp32", 1.0) == pytest.approx(14002 / 0.003 / 1e9)


def test_in_fp32_the_better_of_two_layouts_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def timed(
        shape: Shape, dtype: str, seconds: float, device: str, *, prepacked: bool = False
    ) -> tuple[int, float]:
        asked.append((dtype, seconds, prepacked))
        return (10, 0.001) if prepacked else (20, 0.003)

    monkeypatch.setattr(matmul_benchmark, "time_product", timed)
    monkeypatch.setattr(matmul_benchmark, "prepacking_is_here", lambda: True)
    rate = measure_matmul([(20, 30, 40)], "fp32", 1.0)
    assert rate == pytest.approx(2 * 20 * 30 * 40 / 0.002 / 1e9) and asked == [
        ("fp32", 0.5, False),
        ("fp32", 0.5, True),
    ]
    assert measure_matmul([(20, 30, 40)], "bf16", 1.0) == pytest.approx(
        2 * 20 * 30 * 40 / 0.003 / 1e9
    )
    monkeypatch.setattr(matmul_benchmark, "prepacking_is_here", lambda: False)
    assert measure_matmul([(20, 30, 40)], "fp32", 1.0) == pytest.approx(
        2 * 20 * 30 * 40 / 0.003 / 1e9
    )


def test_a_product_too_slow_for_its_time_is_run_on_fewer_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows_seen = []

    def slow(left: torch.Tensor, right: torch.Tensor) -> None:
        rows_seen.append(len(left))
        time.sleep(0.0005 * len(left))  # 0.5 s for all 1,000 rows

    monkeypatch.setattr(torch, "mm", slow)
    start = time.perf_counter()
    rows, best = matmul_benchmark.time_product((1000, 3, 2), "fp32", 0.1, "cpu")
    assert rows == max(rows_seen) < 1000
    assert best >= 0.0005 * rows
    assert time.perf_counter() - start < 0.45


def test_a_product_that_fits_its_time_is_run_whole() -> None:
    rows, best = matmul_benchmark.time_product((37, 5, 3), "bf16", 0.2, "cpu")
    assert rows == 37 and 0 < best < 0.2


def test_measuring_leaves_the_generators_and_threads_as_they_were() -> None:
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    for dtype in device.available_dtypes():
        assert measure_matmul([(17, 23, 11), (5, 7, 3)], dtype, 0.01, threads=1) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("shapes", "dtype", "seconds", "message"),
    [
        ([], "fp32", 1.0, "shapes: expected"),
        ([(4, 0, 3)], "fp32", 1.0, "shapes: expected"),
        ([(4, 3)], "fp32", 1.0, "shapes: expected"),
        ([(4, 3, 2)], "auto", 1.0, "dtype: expected one of fp32, bf16, int8, got 'auto'"),
        ([(4, 3, 2)], "fp32", 0.0, "seconds: expected a positive time"),
        ([(4, 3, 2)], "fp32", math.nan, "seconds: expected a positive time"),
    ],
)
def test_a_measurement_that_makes_no_sense_is_refused(
    shapes: Any, dtype: Any, seconds: float, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        measure_matmul(shapes, dtype, seconds)
