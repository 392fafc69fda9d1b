"""Connects to a Ray cluster, or starts one on this machine, without Ray's noise on the console.

A cluster of this machine has bounded memory, listens on loopback only, has no dashboard, sends
nothing to Ray's makers, and leaves no files.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.compute.cpu_count import available_processors
from tamis.errors import ConfigError, MissingExtraError, RunError

LOCAL = "local"
CONNECT_S = 120
"""Longest time to connect to a cluster, in seconds."""
REACH_S = 10
"""Longest wait for the cluster's port, in seconds."""
REMOVE_S = 10
"""Longest time that files are removed at the end, in seconds."""
STORE_BYTES, STORE_BYTES_PER_WORKER = 128 << 20, 16 << 20
"""Shared memory of a cluster on this machine: a fixed share, and one for the chunks under way."""
LONGEST_FOLDER = 32
"""Characters of the folder for temporary files: Ray's sockets in it may have 107 (Linux)."""
_PROBE = (
    "import sys, ray; ray.init(address=sys.argv[1], logging_level='CRITICAL', log_to_driver=False)"
)
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # the C++ part writes to stderr past Python's logging
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray warns where it is not set
    # By default Ray's workers give way to every other program, so that on a machine with other
    # work they get a fraction of the time that the processes of --engine local get.
    "RAY_worker_niceness": "0",
}


@dataclass(frozen=True)
class WorkerPlan:
    """How many workers there are, and what each needs."""

    count: int
    nodes: int
    gpus: bool
    """each worker has one GPU; False: each has one CPU"""

    def __str__(self) -> str:
        """A sentence for the user."""
        kind = "GPU" if self.gpus else "CPU"
        return (
            f"Ray: {self.count:,} {kind} worker{'s' if self.count > 1 else ''} on {self.nodes:,} "
            f"node{'s' if self.nodes > 1 else ''}"
        )


def import_ray() -> Any:
    """Return the module `ray`, with `ray.data` imported.

    Raises:
        MissingExtraError: it is not installed.
    """
    for package in ("ray", "pyarrow", "pandas"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "ray", "tamis score --engine ray")
    import ray
    import ray.data

    return ray


@contextmanager
def connected(address: str | None, *, workers: int | None = None) -> Iterator[None]:
    """Be connected to the cluster at `address` during the block; None or `local`: start one on this
    machine, and end it afterwards. A connection that the process has already is used.

    Args:
        address: `HOST:PORT` of the head node, or `auto`.
        workers: CPU workers of a cluster of this machine; by default one per core.

    Raises:
        ConfigError: `address` has another form.
        RunError: the cluster cannot be reached, or cannot be started.
        MissingExtraError: Ray is not installed.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment(_SETTINGS))
        stack.enter_context(_quiet_warnings())
        ray = import_ray()
        stack.enter_context(_quiet_warnings())  # the import puts filters of its own in front
        stack.enter_context(_quiet_loggers())
        if ray.is_initialized():
            yield
            return
        options: dict[str, Any] = {"logging_level": "CRITICAL", "log_to_driver": False}
        if address in (None, "", LOCAL):
            count = workers or available_processors()[0]
            options |= {
                "address": LOCAL,
                "num_cpus": count,
                "object_store_memory": STORE_BYTES + STORE_BYTES_PER_WORKER * count,
                "include_dashboard": False,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": stack.enter_context(_temporary_folder()),
            }
        else:
            _check_address(str(address))
            options["address"] = address
        stack.callback(ray.shutdown)
        try:
            with _without_stderr():
                ray.init(**options)
        except Exception as error:  # Ray raises many, a bare Exception among them
            what = "cannot be started here" if options["address"] == LOCAL else "refuses"
            raise RunError(
                f"Ray: the cluster ({options['address']}) {what} ({_last_line(str(error))}); "
                "--engine local needs no cluster"
            ) from error
        yield


def plan_workers(device: str, most: int | None = None) -> WorkerPlan:
    """Return the workers that the connected cluster has room for: a worker per GPU if there are
    GPUs and `device` allows it, otherwise a worker per CPU; at most `most`.

    Raises:
        RunError: the cluster has no GPU, but `device` is one; or it has no CPU.
    """
    ray = import_ray()
    nodes = [node for node in ray.nodes() if node["Alive"]]
    held: dict[str, list[int]] = {
        kind: [int(node["Resources"].get(kind, 0)) for node in nodes] for kind in ("CPU", "GPU")
    }
    gpus = device.startswith("cuda") or (device == "auto" and sum(held["GPU"]) > 0)
    # A GPU worker needs a CPU of the same node as well.
    room = [
        min(cpus, cards) if gpus else cpus
        for cpus, cards in zip(held["CPU"], held["GPU"], strict=True)
    ]
    if not sum(room):
        wanted = "a GPU and a CPU" if gpus else "a CPU"
        raise RunError(
            f"Ray: the cluster has no node with {wanted} ({len(nodes)} nodes with "
            f"{sum(held['CPU'])} CPUs and {sum(held['GPU'])} GPUs); add one"
            + (", or choose --device cpu" if gpus else "")
        )
    count = min(sum(room), most or sum(room))
    return WorkerPlan(count, min(count, sum(free > 0 for free in room)), gpus)


def _check_address(address: str) -> None:
    """Raise unless there is a cluster at an address. A second process tries it: Ray's own client
    ends the whole process, after minutes, if it finds something else there.
    """
    if address.startswith("ray://"):
        raise ConfigError(
            f"--ray-address {address}: expected HOST:PORT of the head node or auto, got an address "
            "of Ray Client; run tamis score on a node of the cluster, for example with: ray job "
            "submit"
        )
    host, colon, port = address.rpartition(":")
    if address != "auto":
        if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(
                f"--ray-address: expected HOST:PORT of the head node or auto, got {address!r}; "
                "ray status on the head node tells it, the port is 6379 by default"
            )
        try:
            socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
        except OSError as error:
            raise RunError(
                f"--ray-address {address}: nothing answers there within {REACH_S} s "
                f"({error.strerror or error}); start the head node with: ray start --head "
                f"--port={port}"
            ) from error
    command = [sys.executable, "-c", _PROBE, address]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=CONNECT_S)
    except subprocess.TimeoutExpired as error:
        raise RunError(
            f"--ray-address {address}: no Ray cluster answers within {CONNECT_S} s; see ray status "
            "on the head node"
        ) from error
    if tried.returncode:
        raise RunError(
            f"--ray-address {address}: no connection to a Ray cluster "
            f"({_last_line(tried.stderr) or 'no reason given'}); this machine must be a node of "
            f"it (ray start --address={address}), with the same versions of Python and Ray"
        )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables that are not set; Ray's processes inherit them."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what is written to stderr: Ray's C++ part announces the log level that it was given."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _quiet_warnings() -> Iterator[None]:
    """Ignore the warnings of Ray about itself, and about options that will have other names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"ray(\.|$)")
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        yield


@contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Silence Ray's loggers: its errors reach the user as exceptions."""
    import ray.data

    ray.data.DataContext.get_current()  # configures the logger of Ray Data
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level, disabled in before:
            logger.setLevel(level)
            logger.disabled = disabled


@contextmanager
def _temporary_folder() -> Iterator[str]:
    """Make a folder for the logs and sockets of a cluster, removed with everything in it."""
    parent = Path(tempfile.gettempdir())
    if len(str(parent)) > LONGEST_FOLDER and Path("/tmp").is_dir():
        parent = Path("/tmp")
    folder = tempfile.mkdtemp(prefix="tamis-ray-", dir=parent)
    try:
        yield folder
    finally:
        # Processes of a cluster that did not start may write for a moment after they are killed.
        until = time.monotonic() + REMOVE_S
        while Path(folder).exists() and time.monotonic() < until:
            with suppress(OSError):
                shutil.rmtree(folder)
                break
            time.sleep(0.1)
