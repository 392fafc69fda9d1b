"""Few texts at a time, computed by ONNX Runtime where it is installed.

For a message or a handful, torch spends as long on dispatching its operations, one by one and with
the interpreter's lock, as on computing; a whole graph in ONNX Runtime takes half the time and holds
the lock only at its ends (docs/speed.md). Large batches are as fast in torch. A graph takes up to a
second to make, so a process that scores a few texts and ends never makes one.

Shapes: W windows of token ids, B texts of at most T tokens, K classes, C channels.
"""

from __future__ import annotations

import importlib.util
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.compute.parallel import own_thread_count
from tamis.gpt2.model import GPT2, GPT2Classifier
from tamis.gpt2.onnx import EMBEDDED, INPUTS, OUTPUTS
from tamis.gpt2.onnx.batches import padded, padded_batches
from tamis.gpt2.onnx.session import run_session

Ids = NDArray[Any]
Floats = NDArray[np.float64]

FROM_CALL = 8
"""Number of the call that makes the graph: until then torch has cost less than making it."""
MOST_TOKENS = 256
"""Largest number of tokens that is a small batch, and of tokens that are computed at once, padding
included. In larger batches of mixed lengths the padding costs more than torch's dispatch."""
NARROW = 512
"""Below this number of channels there is a second graph for callers with one thread: a graph with
more threads has a pool that all its callers share. A wider one would take too much memory."""
MOST_BYTES = 2 * 2**30
"""Largest size of the blocks, which a graph holds once more in memory."""


class SmallBatches:
    """The trunk of one classifier in ONNX Runtime, made when it has been asked for often enough.

    Classifiers with other heads on the same trunk share it. Thread-safe. A copy starts anew.
    """

    def __init__(self) -> None:
        """Create it without a graph."""
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._blocks: torch.nn.Module | None = None
        """of the trunk whose graph this is"""
        self._sessions: dict[int, Any] = {}
        """by number of threads"""
        self._heads: WeakKeyDictionary[GPT2Classifier, tuple[Floats, Floats]] = WeakKeyDictionary()
        """of the classifiers that share the trunk"""

    def __getstate__(self) -> dict[str, Any]:
        """Return no state: sessions cannot be copied."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start anew."""
        self._forget()

    @property
    def ready(self) -> bool:
        """Whether a graph has been made."""
        return bool(self._sessions)

    def warm(self, model: GPT2Classifier, threads: int) -> None:
        """Make the graphs now, where many calls are expected: of callers with one thread, and with
        `threads`. Nothing where torch has to compute.
        """
        self._calls = FROM_CALL
        for own in sorted({1, threads}):
            self._session(model, own, threads)

    def logits(self, model: GPT2Classifier, windows: Sequence[Ids], threads: int) -> Floats | None:
        """Return the (W, K) logits of windows, at least one; None where torch has to compute them:
        too many tokens, too few calls so far, or a trunk that no graph can hold.

        Args:
            model: in fp32 on the CPU.
            windows: token ids of each window, up to the context.
            threads: of the computation, unless the calling thread has its own number.
        """
        if sum(map(len, windows)) > MOST_TOKENS:
            return None
        session = self._session(model, own_thread_count() or threads, threads)
        if session is None:
            return None
        weight, bias = self._heads.get(model) or self._heads.setdefault(model, _head(model))
        logits: Floats = _read(session, model.transformer, windows) @ weight + bias
        return logits

    def _session(self, model: GPT2Classifier, own: int, threads: int) -> Any:
        trunk = model.transformer
        wanted = own if trunk.config.n_embd < NARROW else threads
        found = self._sessions.get(wanted)
        if found is not None:
            return found if self._blocks is trunk.h else None
        with self._lock:
            self._calls += 1
            if self._calls < FROM_CALL or self._blocks not in (None, trunk.h):
                return None
            if wanted not in self._sessions and _can_be_made(model):
                self._blocks = trunk.h
                self._sessions[wanted] = _made(model, wanted)
            return self._sessions.get(wanted)


def onnx_runtime_is_here() -> bool:
    """Return whether the packages of the extra `onnx` are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxruntime"))


def _can_be_made(model: GPT2Classifier) -> bool:
    trunk = model.transformer
    tables = (trunk.wte.weight, trunk.wpe.weight)
    numbers = 12 * trunk.config.n_layer * trunk.config.n_embd**2
    return (
        numbers * 4 <= MOST_BYTES
        and all(one.dtype == torch.float32 and one.device.type == "cpu" for one in tables)
        and trunk.wte.row_dtype in (None, torch.float32)
    )


def _made(model: GPT2Classifier, threads: int) -> Any:
    from tamis.gpt2.onnx.network import NetworkOptions, write_network

    # Weights in a file of their own are not parsed, and not held twice.
    options = NetworkOptions(most_bytes=0, tables=False)
    with tempfile.TemporaryDirectory(prefix="tamis-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.onnx"
        write_network(model, path, options, {})
        return run_session(path, threads=threads)


def _read(session: Any, trunk: GPT2, windows: Sequence[Ids]) -> Floats:
    """(W, C) of length one: what the head reads of each window."""
    tokens, positions = (t.weight.detach().numpy() for t in (trunk.wte, trunk.wpe))
    lengths = np.array([len(ids) for ids in windows], dtype=np.int64)
    found = np.empty((len(windows), trunk.config.n_embd))
    for rows in padded_batches(lengths, MOST_TOKENS):
        ids, mask = padded([windows[row] for row in rows])
        hidden = tokens[ids] + positions[: ids.shape[1]]  # (B, T, C)
        found[rows] = session.run([OUTPUTS[1]], {EMBEDDED: hidden, INPUTS[1]: mask})[0]
    return found


def _head(model: GPT2Classifier) -> tuple[Floats, Floats]:
    """(C, K) and (K,): the affine part of the final LayerNorm and the head, in one."""
    norm, score = model.transformer.ln_f, model.score.weight.detach().double().numpy()
    weight = score * norm.weight.detach().double().numpy() * score.shape[1] ** 0.5
    return weight.T, score @ norm.bias.detach().double().numpy()
