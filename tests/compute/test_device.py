"""Device, threads and dtype: every choice with its reason; the measurement behind "auto" and where
it is kept.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tamis.cache import cache_directory
from tamis.compute import cpu_count, device, matmul_benchmark, processor
from tamis.compute.device import MODEL_SHAPES, Compute, apply, resolve, seed_everything
from tamis.errors import ConfigError


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A made-up machine: which core each logical processor belongs to, and files under /proc and
    /sys.
    """

    def build(
        core_of: list[tuple[int, int]],
        files: dict[str, str] | None = None,
        allowed: set[int] | None = None,
    ) -> None:
        for number, (package, core) in enumerate(core_of):
            topology = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology"
            topology.mkdir(parents=True)
            (topology / "physical_package_id").write_text(f"{package}\n")
            (topology / "core_id").write_text(f"{core}\n")
        for name, content in (files or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        monkeypatch.setattr(cpu_count, "PROC", tmp_path / "proc")
        monkeypatch.setattr(cpu_count, "SYS", tmp_path / "sys")
        everyone = set(range(len(core_of)))
        monkeypatch.setattr(
            os,
            "sched_getaffinity",
            lambda _: everyone if allowed is None else allowed,
            raising=False,
        )

    monkeypatch.delenv("OMP_NUM_THREADS")
    return build


# Two packages of three cores with two threads each; the siblings are numbered far apart, as Linux
# does.
TWELVE = [(package, core) for _ in range(2) for package in range(2) for core in range(3)]


def test_two_threads_of_one_core_count_once(machine: Any) -> None:
    machine(TWELVE)
    assert cpu_count.available_processors() == (6, 12)


def test_only_processors_that_the_process_may_use_are_counted(machine: Any) -> None:
    machine(TWELVE, allowed={0, 1, 6})  # 0 and 6 are siblings
    assert cpu_count.available_processors() == (2, 3)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "350000 100000\n"}, (3, 3)),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, (6, 12)),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, (1, 1)),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "800000 100000\n"}, (6, 8)),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000",
                "sys/fs/cgroup/a/b/cpu.max": "max 1",
            },
            (2, 2),
        ),
        (  # the tightest of the levels counts
            {
                "proc/self/cgroup": "0::/a\n",
                "sys/fs/cgroup/cpu.max": "400000 100000",
                "sys/fs/cgroup/a/cpu.max": "250000 100000",
            },
            (2, 2),
        ),
        (
            {"proc/self/cgroup": "0::/host/only/there\n", "sys/fs/cgroup/cpu.max": "200000 100000"},
            (2, 2),
        ),
        ({"proc/self/cgroup": "0::/../x\n", "sys/fs/cgroup/x/cpu.max": "200000 100000"}, (2, 2)),
        (
            {
                "proc/self/cgroup": "9:memory:/m\n4:cpu,cpuacct:/box\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "500000",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000",
            },
            (5, 5),
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            (6, 12),
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "garbage"}, (6, 12)),
        ({}, (6, 12)),
    ],
)
def test_a_control_group_limits_the_threads(
    machine: Any, files: dict[str, str], expected: tuple[int, int]
) -> None:
    machine(TWELVE, files)
    assert cpu_count.available_processors() == expected


def test_a_system_without_topology_counts_processors(machine: Any) -> None:
    machine([], allowed={0, 1, 2, 3, 4})
    assert cpu_count.available_processors() == (5, 5)


def test_a_system_without_affinity_has_its_physical_cores_counted_by_joblib(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(TWELVE, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"})
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    for physical, expected in [(8, (8, 16)), (61, (16, 16))]:
        monkeypatch.setattr("joblib.cpu_count", lambda only_physical_cores, n=physical: n)
        assert cpu_count.available_processors() == expected


def test_the_default_is_fp32_on_one_thread_a_physical_core(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(TWELVE)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve() == Compute(
        device="cpu",
        threads=6,
        dtype="fp32",
        reasons={
            "device": "auto: torch sees no CUDA device",
            "threads": "6 physical cores available to this process",
            "dtype": "default, full precision",
        },
    )


def test_one_core_is_one_core_in_words(machine: Any) -> None:
    machine([(0, 0)])
    assert resolve(device="cpu").reasons["threads"] == "1 physical core available to this process"


def test_threads_asked_for_are_taken_up_to_the_processors_there_are(machine: Any) -> None:
    machine(TWELVE)
    assert resolve("cpu", threads=11).threads == 11
    reduced = resolve("cpu", threads=13)
    assert reduced.threads == 12
    assert reduced.reasons["threads"] == "13 requested, but this process may use 12 CPUs"


@pytest.mark.parametrize(("value", "threads"), [("2", 2), ("7", 6), ("0", 6), ("x", 6), ("4,2", 6)])
def test_a_lower_limit_of_the_environment_is_kept(
    machine: Any, monkeypatch: pytest.MonkeyPatch, value: str, threads: int
) -> None:
    machine(TWELVE)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    compute = resolve("cpu")
    assert compute.threads == threads
    assert ("OMP_NUM_THREADS=2, below" in compute.reasons["threads"]) == (threads == 2)
    assert resolve("cpu", threads=3).threads == 3  # what is asked for goes first


@pytest.mark.parametrize("threads", [0, -3, True, 2.0, "2"])
def test_threads_must_be_a_positive_whole_number(threads: Any) -> None:
    with pytest.raises(
        ConfigError, match=f"threads: expected a whole number of at least 1, got {threads!r}"
    ):
        resolve("cpu", threads=threads)


@pytest.mark.parametrize("dtype", ["int4", "FP32", "float32", ""])
def test_an_unknown_dtype_is_refused_with_the_known_ones(dtype: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^dtype: expected one of fp32, bf16, int8, auto, got '{dtype}'$"
    ):
        resolve("cpu", dtype=dtype)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cuda:0\n"])
def test_an_unknown_device_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(
        ConfigError, match="device: expected one of auto, cpu, cuda, cuda:N, mps, got"
    ):
        resolve(name)


def test_a_device_that_is_not_there_is_refused_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        ConfigError,
        match=r"'cuda' was requested, but torch .* sees no CUDA devices; use --device cpu",
    ):
        resolve("cuda")
    with pytest.raises(ConfigError, match="'mps' was requested, but torch sees no Apple GPU"):
        resolve("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        ConfigError, match=r"'cuda:1' was requested, but torch .* sees 1 CUDA device;"
    ):
        resolve("cuda:1")


def test_auto_takes_cuda_where_there_is_one_and_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda which=None: f"Card {which}")
    assert (resolve().device, resolve().reasons["device"]) == ("cuda", "auto: torch sees Card None")
    assert (resolve("cuda:1").device, resolve("cuda:1").reasons["device"]) == (
        "cuda:1",
        "requested: Card cuda:1",
    )


class FakeSpeed:
    """Stands in for the measurement; counts how often it was asked."""

    def __init__(self, fp32: float, bf16: float, int8: float) -> None:
        self.rates = {"fp32": fp32, "bf16": bf16, "int8": int8}
        self.calls: list[tuple[str, int]] = []

    def __call__(
        self, shapes: Any, dtype: str, seconds: float, *, device: str, threads: int
    ) -> float:
        assert shapes == MODEL_SHAPES
        self.calls.append((dtype, threads))
        return self.rates[dtype]


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> FakeSpeed:
    fake = FakeSpeed(160.0, 390.0, 400.0)
    monkeypatch.setattr(device, "int8_is_here", lambda: True)
    monkeypatch.setattr(device, "measure_matmul", fake)
    monkeypatch.setattr(device, "OWN_SHARE", 0.0)  # however busy the machine that tests
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(device, "available_processors", lambda: (4, 4))
    return fake


def kept_files() -> list[Path]:
    return sorted((cache_directory() / "speed").glob("*"))


def test_auto_takes_bf16_where_it_was_measured_faster_and_shows_the_figures(
    speed: FakeSpeed,
) -> None:
    compute = resolve("cpu", dtype="auto")
    assert compute.dtype == "bf16"
    assert compute.reasons["dtype"] == (
        "auto: fp32 160, bf16 390, int8 400 GFLOP/s measured now; "
        "bf16 is chosen from 1.15 times fp32 on, int8 from 1.5 times the faster of the two on"
    )
    speed.rates = {"fp32": 300.0, "bf16": 170.0, "int8": 320.0}
    assert resolve("cpu", threads=1, dtype="auto").dtype == "fp32"


@pytest.mark.parametrize(("bf16", "expected"), [(115.0, "bf16"), (114.9, "fp32"), (100.0, "fp32")])
def test_bf16_must_gain_fifteen_percent(speed: FakeSpeed, bf16: float, expected: str) -> None:
    speed.rates = {"fp32": 100.0, "bf16": bf16, "int8": 100.0}
    assert resolve("cpu", dtype="auto").dtype == expected


@pytest.mark.parametrize(
    ("fp32", "bf16", "int8", "expected"),
    [
        (100.0, 60.0, 150.0, "int8"),
        (100.0, 60.0, 149.0, "fp32"),
        (100.0, 200.0, 299.0, "bf16"),
        (100.0, 200.0, 300.0, "int8"),
    ],
)
def test_int8_must_gain_half_over_the_better_of_the_others(
    speed: FakeSpeed, fp32: float, bf16: float, int8: float, expected: str
) -> None:
    speed.rates = {"fp32": fp32, "bf16": bf16, "int8": int8}
    assert resolve("cpu", dtype="auto").dtype == expected


def test_where_int8_cannot_be_had_it_is_not_measured(
    speed: FakeSpeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "int8_is_here", lambda: False)
    speed.rates = {"fp32": 100.0, "bf16": 60.0, "int8": 900.0}
    compute = resolve("cpu", dtype="auto")
    assert compute.dtype == "fp32" and "int8" not in compute.reasons["dtype"]
    assert device.available_dtypes("cpu") == ("fp32", "bf16") == device.available_dtypes("cuda")


def test_where_weights_are_learnt_int8_is_neither_chosen_nor_taken(speed: FakeSpeed) -> None:
    for bf16, expected in ((114.0, "fp32"), (116.0, "bf16")):
        speed.rates = {"fp32": 100.0, "bf16": bf16, "int8": 900.0}
        for file in kept_files():
            file.unlink()
        assert (
            resolve("cpu", dtype="auto").dtype == "int8"
            and resolve("cpu", dtype="auto", int8=False).dtype == expected
        )
    with pytest.raises(ConfigError, match="int8 is for scoring and for frozen weights"):
        resolve("cpu", dtype="int8", int8=False)


def test_int8_on_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(
        ConfigError,
        match="int8 runs only on the CPU, but the device is mps; use --device cpu or --dtype bf16",
    ):
        resolve("mps", dtype="int8")


def test_int8_asked_for_says_how_finely_tokens_are_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "row_levels", lambda: 63)
    assert (
        resolve("cpu", dtype="int8").reasons["dtype"]
        == "requested; 8-bit weights, activations of 127 levels"
    )


def test_what_was_measured_is_kept_for_this_processor_and_thread_count_and_torch(
    speed: FakeSpeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = resolve("cpu", dtype="auto")
    calls = len(speed.calls)
    assert {dtype for dtype, _ in speed.calls} == {"fp32", "bf16", "int8"}
    speed.rates = {"fp32": 1.0, "bf16": 1.0, "int8": 1.0}
    again = resolve("cpu", dtype="auto")
    assert len(speed.calls) == calls and again.dtype == first.dtype == "bf16"
    assert "bf16 390, int8 400 GFLOP/s measured earlier on this machine" in again.reasons["dtype"]
    assert len(kept_files()) == 1

    resolve("cpu", threads=3, dtype="auto")
    assert len(speed.calls) == 2 * calls and speed.calls[-1] == ("int8", 3)
    monkeypatch.setattr(torch, "__version__", "99.0")
    resolve("cpu", dtype="auto")
    assert len(speed.calls) == 3 * calls
    monkeypatch.setattr(device, "processor_name", lambda: "another one")
    resolve("cpu", dtype="auto")
    assert len(speed.calls) == 4 * calls
    assert len(kept_files()) == 4  # and nothing is left beside them


def test_fp32_and_bf16_asked_for_are_not_measured(speed: FakeSpeed) -> None:
    assert [resolve("cpu", dtype=dtype).dtype for dtype in ("fp32", "bf16")] == ["fp32", "bf16"]
    assert speed.calls == [] and kept_files() == []
    assert resolve("cpu", dtype="bf16").reasons["dtype"] == "requested"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"key": 1}',
        "key only",
        "no bf16",
        "zero",
        "nan",
        "infinite",
        "negative",
        "text",
        "another key",
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_corrupted_file_is_measured_anew_and_replaced(
    speed: FakeSpeed, content: bytes | str
) -> None:
    resolve("cpu", dtype="auto")
    (path,) = kept_files()
    good = json.loads(path.read_text())
    damaged = {
        "key only": {"key": good["key"]},
        "no bf16": good | {"gflops": {"fp32": 1.0, "int8": 1.0}},
        "zero": good | {"gflops": {"fp32": 0.0, "bf16": 1.0, "int8": 1.0}},
        "nan": good | {"gflops": {"fp32": math.nan, "bf16": 1.0, "int8": 1.0}},
        "infinite": good | {"gflops": {"fp32": 1.0, "bf16": math.inf, "int8": 1.0}},
        "negative": good | {"gflops": {"fp32": -1.0, "bf16": 1.0, "int8": 1.0}},
        "text": good | {"gflops": {"fp32": "fast", "bf16": 1.0, "int8": 1.0}},
        "another key": good | {"key": good["key"] | {"threads": 99}},
    }
    path.write_bytes(
        content if isinstance(content, bytes) else json.dumps(damaged[content]).encode()
    )
    before = len(speed.calls)
    compute = resolve("cpu", dtype="auto")
    assert len(speed.calls) > before
    assert compute.dtype == "bf16" and "measured now" in compute.reasons["dtype"]
    assert json.loads(path.read_text()) == good


def test_a_cache_that_cannot_be_written_costs_only_the_keeping(
    speed: FakeSpeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "file"))
    compute = resolve("cpu", dtype="auto")
    assert compute.dtype == "bf16"
    assert "measured now (not kept: Not a directory)" in compute.reasons["dtype"]


def test_figures_of_a_busy_machine_are_not_kept(
    speed: FakeSpeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "OWN_SHARE", 0.75)
    monkeypatch.setattr(time, "process_time", lambda: 5.0)  # it got no processor at all
    reason = resolve("cpu", dtype="auto").reasons["dtype"]
    assert "measured now while other programs used 100% of the CPU time (so not kept)" in reason
    assert kept_files() == []


def test_the_whole_measurement_is_planned_for_under_a_second() -> None:
    assert 3 * device.ROUNDS * device.ROUND_S < 0.95


def test_this_machine_is_measured_for_real() -> None:
    speeds, source = device.measured_speeds("cpu", 1)
    assert source.startswith("measured now")
    assert tuple(speeds) == device.available_dtypes() and all(
        0 < rate < 1e6 for rate in speeds.values()
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_a_gpu_is_measured_for_real() -> None:
    compute = resolve("cuda", dtype="auto")
    assert compute.dtype in ("fp32", "bf16") and "measured now" in compute.reasons["dtype"]
    assert matmul_benchmark.measure_matmul([(512, 768, 768)], "fp32", 0.05, device="cuda") > 0


def test_the_processor_is_named_with_its_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    names = []
    for content in (
        "model name\t: Chip 7\nflags\t\t: sse avx2 bmi\n",
        "model name\t: Chip 7\nflags\t\t: bmi avx2 sse\n",
        "model name\t: Chip 7\nflags\t\t: sse avx2 bmi amx\n",
        "CPU part\t: 0xd40\nFeatures\t: fp asimd bf16\n",
        "",
    ):
        (tmp_path / "cpuinfo").write_text(content)
        names.append(device.processor_name())
    assert names[0] == names[1]  # the order of flags means nothing
    assert len(set(names)) == 4
    assert names[0].startswith("Chip 7 ") and names[3].startswith("0xd40 ")
    (tmp_path / "cpuinfo").unlink()
    assert device.processor_name() == names[4]


def test_apply_sets_threads_and_deterministic_algorithms_on_the_processor() -> None:
    apply(Compute("cpu", 1, "fp32", {}))
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


def test_apply_leaves_the_algorithms_of_a_gpu_alone() -> None:
    apply(Compute("cuda", 1, "fp32", {}))
    assert not torch.are_deterministic_algorithms_enabled()


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_the_same_seed_gives_the_same_draws_everywhere() -> None:
    seed_everything(42)
    first = draws()
    seed_everything(42)
    assert draws() == first
    seed_everything(43)
    assert all(one != other for one, other in zip(draws(), first, strict=True))


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, "42", None])
def test_a_seed_outside_numpys_range_is_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match="seed: expected a whole number from 0 to 4294967295"):
        seed_everything(seed)
