"""Device, threads and dtype of a computation; each choice is returned with its reason.

Owns these choices, the global seed, and the benchmark behind dtype "auto". CPU flags are not used
for the choice, because CPUs with equal flags can differ in which type is faster. The idea of
printing every automatic choice with its reason is from nanochat, common.py.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tamis.cache import cache_directory
from tamis.compute import torchrun
from tamis.compute.cpu_count import available_processors
from tamis.compute.int8_kernel import int8_is_here, row_levels
from tamis.compute.matmul_benchmark import DTYPES as MULTIPLIED
from tamis.compute.matmul_benchmark import Dtype, Shape, measure_matmul
from tamis.compute.processor import cpu_fields
from tamis.errors import ConfigError
from tamis.files import write_text

DTYPES = (*MULTIPLIED, "auto")
DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
MODEL_SHAPES: tuple[Shape, ...] = ((1024, 768, 3072), (1024, 256, 1024))
"""The MLP shapes of GPT-2 124M and of the embedded backbone, with about as many tokens as a packed
batch has."""
BF16_MUST_GAIN = 1.15
"""Smallest speedup over fp32 for `auto` to choose bf16."""
INT8_MUST_GAIN = 1.5
"""Smallest speedup over the faster of the other two: int8 rounds, so a small gain is not worth
it."""
ROUNDS, ROUND_S = (
    2,
    0.15,
)  # per dtype: under a second in total; two rounds, because a burst of other load spoils only one
OWN_SHARE = 0.75  # smallest share of CPU time; below it the figures reflect other programs


@dataclass(frozen=True)
class Compute:
    """The chosen device, threads and dtype, with the reason for each in `reasons`."""

    device: str
    threads: int
    dtype: Dtype
    reasons: dict[str, str]

    def using_threads(self) -> AbstractContextManager[None]:
        """Compute with these threads; the caller's number is restored afterwards."""
        from tamis.compute.isolation import torch_threads

        return torch_threads(self.threads)

    def give_threads(self, count: int) -> None:
        """Give the calling thread its own number of threads, until it is given another one."""
        from tamis.compute.parallel import own_threads

        own_threads(count)


def resolve(
    device: str = "auto", threads: int | None = None, dtype: str = "fp32", *, int8: bool = True
) -> Compute:
    """Choose device, threads and dtype, with reasons.

    Args:
        device: "auto" (CUDA if torch sees it, else the CPU), "cpu", "cuda", "cuda:N" or "mps".
        threads: CPU threads; None: one per physical core that this process may use. Never more than
            the logical CPUs it may use.
        dtype: "fp32", "bf16", "int8" or "auto": bf16 if measured to be at least 1.15 times as fast
            as fp32; int8 if at least 1.5 times as fast as the faster of the two. The measurement
            takes about a second and is kept in the cache directory.
        int8: whether int8 is possible. It is not if all weights are trained; "auto" then chooses
            between the other two.

    Raises:
        ConfigError: an unknown value, a device that does not exist, fewer than one thread, or int8
            where it is not available.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    chosen_threads, why_threads = resolve_threads(threads)
    chosen_device, why_device = _choose_device(device)
    reasons = {"device": why_device, "threads": why_threads}
    if dtype == "auto":
        chosen_dtype, reasons["dtype"] = _fastest_dtype(chosen_device, chosen_threads, int8=int8)
    else:
        chosen_dtype = cast("Dtype", dtype)
        reasons["dtype"] = "default, full precision" if dtype == "fp32" else "requested"
        if dtype == "int8":
            if not int8:
                raise ConfigError(
                    "dtype: int8 is for scoring and for frozen weights, but all weights are "
                    "trained here; use --dtype fp32 or bf16"
                )
            if chosen_device != "cpu":
                raise ConfigError(
                    f"dtype: int8 runs only on the CPU, but the device is {chosen_device}; use "
                    "--device cpu or --dtype bf16"
                )
            reasons["dtype"] += f"; 8-bit weights, activations of {2 * row_levels() + 1} levels"
    return Compute(chosen_device, chosen_threads, chosen_dtype, reasons)


def available_dtypes(device: str = "cpu") -> tuple[Dtype, ...]:
    """Return the dtypes that `device` supports."""
    return ("fp32", "bf16", "int8") if device == "cpu" and int8_is_here() else ("fp32", "bf16")


def measured_gflops(device: str, threads: int) -> float:
    """Return the GFLOP/s of this machine's fp32 matrix products in the shapes of a model.

    Measured once, in under a second, and kept in the cache directory.
    """
    return measured_speeds(device, threads)[0]["fp32"]


def apply(compute: Compute) -> None:
    """Set torch's threads for the process and, on the CPU, its deterministic algorithms.

    On a GPU, deterministic algorithms are not required, because they would forbid some operations;
    identical bytes are guaranteed only on the CPU.
    """
    import torch
    import torch.utils.deterministic

    torch.set_num_threads(compute.threads)
    if compute.device == "cpu":
        # Filling every empty tensor with NaN would cost a pass over memory, and no code here reads
        # an empty tensor.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.set_deterministic_debug_mode(
            "error"
        )  # use_deterministic_algorithms imports the compiler, which takes seconds


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


def resolve_threads(asked: int | None) -> tuple[int, str]:
    """Return the CPU threads for a number that was asked for (None: one per physical core), and the
    reason. Imports no torch.

    Raises:
        ConfigError: fewer than one thread.
    """
    physical, logical = available_processors()
    if asked is not None:
        if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
            raise ConfigError(f"threads: expected a whole number of at least 1, got {asked!r}")
        if asked > logical:
            return logical, f"{asked} requested, but this process may use {logical} CPUs"
        return asked, "requested"
    here = f"{physical} physical core{'s' * (physical != 1)} available to this process"
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit == "1" and torchrun.local_processes() > 1:
        limit = ""  # torchrun sets it where nobody did; training divides the cores itself
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
        return asked, "requested"
    if asked == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError(
                "device: 'mps' was requested, but torch sees no Apple GPU here; use --device cpu"
            )
        return asked, "requested"
    if not re.fullmatch(r"cuda(:\d+)?", asked):
        raise ConfigError(f"device: expected one of {', '.join(DEVICES)}, got {asked!r}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(asked.partition(":")[2] or 0) >= count:
        raise ConfigError(
            f"device: {asked!r} was requested, but torch {torch.__version__} sees "
            f"{count or 'no'} CUDA device{'s' * (count != 1)}; use --device cpu, or install a "
            "GPU build of torch (README, Installation)"
        )
    return asked, f"requested: {torch.cuda.get_device_name(asked)}"


def _fastest_dtype(device: str, threads: int, *, int8: bool) -> tuple[Dtype, str]:
    speeds, source = measured_speeds(device, threads)
    dtype: Dtype = "bf16" if speeds["bf16"] / speeds["fp32"] >= BF16_MUST_GAIN else "fp32"
    rule = f"bf16 is chosen from {BF16_MUST_GAIN} times fp32 on"
    if int8 and "int8" in speeds:
        rule += f", int8 from {INT8_MUST_GAIN} times the faster of the two on"
        if speeds["int8"] / max(speeds["fp32"], speeds["bf16"]) >= INT8_MUST_GAIN:
            dtype = "int8"
    return (
        dtype,
        f"auto: {', '.join(f'{name} {rate:.0f}' for name, rate in speeds.items())} GFLOP/s "
        f"{source}; {rule}",
    )


def measured_speeds(device: str, threads: int) -> tuple[dict[Dtype, float], str]:
    """Return the GFLOP/s of every available dtype, and the source (cache or new measurement)."""
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
        return kept, "measured earlier on this machine"
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
            f"measured now while other programs used {1 - share:.0%} of the CPU time (so not kept)",
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
    """Return the stored speeds for this key; None if there are none or the file is invalid."""
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
    """Return the CPU's model name and a hash of its flags.

    A hypervisor may hide some flags, and the speed changes with them.
    """
    fields = cpu_fields()
    # Arm kernels report no model name, but the part number.
    model = (
        fields.get("model name")
        or fields.get("cpu part")
        or platform.processor()
        or platform.machine()
    )
    flags = " ".join(sorted((fields.get("flags") or fields.get("features") or "").split()))
    return f"{model} {hashlib.sha256(flags.encode()).hexdigest()[:12]}"
