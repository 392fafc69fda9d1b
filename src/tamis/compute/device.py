"""Where and how it computes: device, threads and dtype, each choice returned together with its
reason.

Owns these choices, the global seed, and the measurement behind dtype "auto": nothing is inferred
from processor flags, since two processors with the same ones can differ in sign. Does not own
models or tensors. Source of the habit: nanochat, common.py (every automatic choice is printed with
its reason).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tamis.cache import cache_directory
from tamis.compute.cpu_count import available_processors
from tamis.compute.int8_kernel import int8_is_here, row_levels
from tamis.compute.matmul_benchmark import DTYPES as MULTIPLIED
from tamis.compute.matmul_benchmark import Dtype, Shape, measure_matmul
from tamis.errors import ConfigError
from tamis.files import write_text

DTYPES = (*MULTIPLIED, "auto")
DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
MODEL_SHAPES: tuple[Shape, ...] = ((1024, 768, 3072), (1024, 256, 1024))
"""The MLP of GPT-2 124M and of the embedded backbone, on about as many tokens as a packed batch
holds."""
BF16_MUST_GAIN = 1.15
"""Over fp32, before `auto` takes it."""
INT8_MUST_GAIN = 1.5
"""Over the better of the other two: its products are rounded, so a small gain is not worth it."""
ROUNDS, ROUND_S = (
    2,
    0.15,
)  # per dtype: under a second in all, and a neighbour's burst spoils one round, not both
OWN_SHARE = 0.75  # of the threads' time; with less the figures tell of the neighbours
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Compute:
    """The resolved choice: `reasons` has one sentence each under "device", "threads" and
    "dtype".
    """

    device: str
    threads: int
    dtype: Dtype
    reasons: dict[str, str]


def resolve(
    device: str = "auto", threads: int | None = None, dtype: str = "fp32", *, int8: bool = True
) -> Compute:
    """Settle device, threads and dtype, and say why.

    Args:
        device: "auto" (CUDA where torch sees it, else the processor), "cpu", "cuda", "cuda:N" or
            "mps".
        threads: processor threads; None takes one per physical core that this process may use.
            Never more than the logical processors it may use.
        dtype: "fp32", "bf16", "int8" or "auto": bf16 where it was measured to be at least 1.15
            times as fast as fp32, int8 where it was at least 1.5 times as fast as the better of the
            two. The measurement takes about a second and is kept in the cache directory.
        int8: whether int8 will do; where every weight is learnt it will not, and "auto" chooses
            between the other two.

    Raises:
        ConfigError: an unknown value, a device that is not there, fewer than one thread, or int8
            where it cannot be had.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    chosen_threads, why_threads = _choose_threads(threads)
    chosen_device, why_device = _choose_device(device)
    reasons = {"device": why_device, "threads": why_threads}
    if dtype == "auto":
        chosen_dtype, reasons["dtype"] = _fastest_dtype(chosen_device, chosen_threads, int8=int8)
    else:
        chosen_dtype = cast("Dtype", dtype)
        reasons["dtype"] = "exact, and the default" if dtype == "fp32" else "asked for"
        if dtype == "int8":
            if not int8:
                raise ConfigError(
                    "dtype: int8 is for scoring and frozen weights, here all of them are "
                    "learnt; take --dtype fp32 or bf16"
                )
            if chosen_device != "cpu":
                raise ConfigError(
                    f"dtype: int8 runs on the processor alone, the device is {chosen_device}; "
                    "take --device cpu or bf16"
                )
            reasons["dtype"] += f"; weights of 8 bits, tokens of {2 * row_levels() + 1} levels"
    return Compute(chosen_device, chosen_threads, chosen_dtype, reasons)


def available_dtypes(device: str = "cpu") -> tuple[Dtype, ...]:
    """The types that `device` can compute in."""
    return ("fp32", "bf16", "int8") if device == "cpu" and int8_is_here() else ("fp32", "bf16")


def measured_gflops(device: str, threads: int) -> float:
    """GFLOP/s of this machine's fp32 matrix products, in a model's shapes; measured once, in under
    a second, and kept.
    """
    return measured_speeds(device, threads)[0]["fp32"]


def apply(compute: Compute) -> None:
    """Set torch's threads for the whole process and, on the processor, its deterministic
    algorithms.

    On a GPU the latter stay as they are: there they forbid operations outright, and equal bytes are
    promised for the processor alone.
    """
    import torch
    import torch.utils.deterministic

    torch.set_num_threads(compute.threads)
    if compute.device == "cpu":
        # Filling every empty tensor with NaN costs a pass over memory and hides nothing here: no
        # code reads one.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.set_deterministic_debug_mode(
            "error"
        )  # use_deterministic_algorithms imports the compiler: seconds


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators (every device of torch's).

    Raises:
        ConfigError: the seed is outside [0, 2^32), NumPy's range.
    """
    import random

    import numpy as np
    import torch

    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ConfigError(f"seed: expected a whole number from 0 to {2**32 - 1}, got {seed!r}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _choose_threads(asked: int | None) -> tuple[int, str]:
    physical, logical = available_processors()
    if asked is not None:
        if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
            raise ConfigError(f"threads: expected a whole number of at least 1, got {asked!r}")
        if asked > logical:
            return logical, f"{asked} asked for, but this process may use {logical} processors"
        return asked, "asked for"
    here = f"{physical} physical core{'s' * (physical != 1)} available to this process"
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdecimal() and 1 <= int(limit) < physical:
        return int(limit), f"OMP_NUM_THREADS={limit}, below the {here}"
    return physical, here


def _choose_device(asked: str) -> tuple[str, str]:
    import torch

    if asked == "auto":
        if torch.cuda.is_available():
            return "cuda", f"auto: torch sees {torch.cuda.get_device_name()}"
        return "cpu", "auto: torch sees no CUDA device"
    if asked == "cpu":
        return asked, "asked for"
    if asked == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError(
                "device: 'mps' was asked for, but torch sees no Apple GPU here; take --device cpu"
            )
        return asked, "asked for"
    if not re.fullmatch(r"cuda(:\d+)?", asked):
        raise ConfigError(f"device: expected one of {', '.join(DEVICES)}, got {asked!r}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(asked.partition(":")[2] or 0) >= count:
        raise ConfigError(
            f"device: {asked!r} was asked for, but torch {torch.__version__} sees "
            f"{count or 'no'} CUDA "
            f"device{'s' * (count != 1)}; take --device cpu, or install a GPU build of torch "
            "(README, Installation)"
        )
    return asked, f"asked for: {torch.cuda.get_device_name(asked)}"


def _fastest_dtype(device: str, threads: int, *, int8: bool) -> tuple[Dtype, str]:
    speeds, source = measured_speeds(device, threads)
    dtype: Dtype = "bf16" if speeds["bf16"] / speeds["fp32"] >= BF16_MUST_GAIN else "fp32"
    rule = f"bf16 is taken from {BF16_MUST_GAIN} times fp32 on"
    if int8 and "int8" in speeds:
        rule += f", int8 from {INT8_MUST_GAIN} times the better of the two on"
        if speeds["int8"] / max(speeds["fp32"], speeds["bf16"]) >= INT8_MUST_GAIN:
            dtype = "int8"
    return (
        dtype,
        f"auto: {', '.join(f'{name} {rate:.0f}' for name, rate in speeds.items())} GFLOP/s "
        f"{source}; {rule}",
    )


def measured_speeds(device: str, threads: int) -> tuple[dict[Dtype, float], str]:
    """GFLOP/s of every type there is, from the cache directory or measured now, and the words for
    which of the two.
    """
    import torch

    dtypes = available_dtypes(device)
    key = {
        "dtypes": list(dtypes),
        "processor": processor_name() if device == "cpu" else _accelerator(device),
        "threads": threads,
        "torch": str(torch.__version__),
        "shapes": [list(shape) for shape in MODEL_SHAPES],
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    path = cache_directory() / "speed" / f"{name}.json"
    kept = _read_speeds(path, key, dtypes)
    if kept is not None:
        return kept, "measured here earlier"
    speeds: dict[Dtype, float] = dict.fromkeys(dtypes, 0.0)
    start, used = time.perf_counter(), time.process_time()
    for _ in range(ROUNDS):
        for dtype in speeds:
            rate = measure_matmul(MODEL_SHAPES, dtype, ROUND_S, device=device, threads=threads)
            speeds[dtype] = max(speeds[dtype], rate)
    share = (time.process_time() - used) / (threads * (time.perf_counter() - start))
    if device == "cpu" and share < OWN_SHARE:
        return (
            speeds,
            f"measured now, other programs taking {1 - share:.0%} of the processors (so not kept)",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"key": key, "gflops": speeds}, indent=2) + "\n")
    except OSError as error:
        return speeds, f"measured now (not kept: {error.strerror or error})"
    return speeds, "measured now"


def _read_speeds(
    path: Path, key: dict[str, object], dtypes: tuple[Dtype, ...]
) -> dict[Dtype, float] | None:
    """What was kept for this key; None where nothing was, or where the file is not what this module
    writes.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["key"] != key:
            return None
        speeds: dict[Dtype, float] = {dtype: float(content["gflops"][dtype]) for dtype in dtypes}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return speeds if all(math.isfinite(rate) and rate > 0 for rate in speeds.values()) else None


def _accelerator(device: str) -> str:
    import torch

    return (
        torch.cuda.get_device_name(device)
        if device.startswith("cuda")
        else f"{device} {platform.machine()}"
    )


def processor_name() -> str:
    """Model name and a hash of its flags: a hypervisor may hide some, and speeds change with
    them.
    """
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    # Arm kernels print no model name, but the part's number.
    model = (
        fields.get("model name")
        or fields.get("cpu part")
        or platform.processor()
        or platform.machine()
    )
    flags = " ".join(sorted((fields.get("flags") or fields.get("features") or "").split()))
    return f"{model} {hashlib.sha256(flags.encode()).hexdigest()[:12]}"
