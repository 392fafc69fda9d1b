"""Cache of the frozen trunk's states: memory-mapped files that are resumed after an interruption.

The key of an entry covers the trunk, its precision, the device and every token id of the data set.
Data sets do not share rows: a matrix product rounds a row differently in another batch, and a
result must not depend on the content of the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.files import locked, write_text
from tamis.gpt2.checkpoints import fingerprint
from tamis.gpt2.linear_swap import ExchangedLinear
from tamis.gpt2.model import GPT2
from tamis.text.encoding import EncodedTexts

Frozen = NDArray[np.float32]

SAVE_EVERY_S = 5.0
"""Seconds between two progress marks of an entry: the most work that an interruption costs."""
LIMIT_BYTES = 4 << 30
"""Most bytes of all entries together; the least recently used ones are removed first."""
KEY_DIGITS = 40
"""Hexadecimal digits in the name of an entry's file; other files of the folder are left alone."""


class Entry:
    """An array that is filled batch by batch."""

    def __init__(
        self, array: Frozen, *, batches: int = 0, place: Path | None = None, complete: bool = False
    ) -> None:
        """Create an entry; `batches` are already done.

        `place` is the path of the finished array; None keeps it in memory only.
        """
        self.array, self.batches, self._place, self.complete = array, batches, place, complete
        self._marked = time.monotonic()

    def advance(self) -> None:
        """Count one more finished batch."""
        self.batches += 1
        if self._place and time.monotonic() - self._marked > SAVE_EVERY_S:
            self.mark()

    def mark(self) -> None:
        """Write the data to disk, then the batch count, which is therefore never ahead."""
        if self._place:
            self.array.flush()  # type: ignore[attr-defined]
            write_text(_count(self._place), json.dumps({"batches": self.batches}))
            self._marked = time.monotonic()

    def finish(self) -> None:
        """Finish the entry: the file gets its final name."""
        self.complete = True
        if self._place:
            self.array.flush()  # type: ignore[attr-defined]
            _part(self._place).replace(self._place)
            _count(self._place).unlink(missing_ok=True)


class FeatureCache:
    """Entries in a folder of the cache directory; without a folder, in memory and not kept."""

    def __init__(self, folder: Path | None) -> None:
        """Use `folder`, which is created when first needed."""
        self.folder = folder

    @contextmanager
    def open(
        self,
        model: GPT2,
        messages: EncodedTexts,
        what: str,
        shape: tuple[int, int],
        *,
        final_norm: bool = True,
    ) -> Iterator[Entry]:
        """Open an entry: finished, partial or new. An interruption marks the progress."""
        if self.folder is None:
            yield Entry(np.empty(shape, dtype=np.float32))
            return
        place = self.folder / f"{self._key(model, messages, what, final_norm=final_norm)}.npy"
        if (array := open_array(place, shape, "r")) is not None:
            os.utime(place)
            yield Entry(array, complete=True)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(place.with_suffix(".lock")) as mine:
            if (
                not mine
            ):  # another process computes the same entry: compute in memory instead of waiting
                yield Entry(np.empty(shape, dtype=np.float32))
                return
            entry = _begun(place, shape)
            try:
                yield entry
            except BaseException:
                entry.mark()
                raise
        self._prune(keep=place)

    def _key(self, model: GPT2, messages: EncodedTexts, what: str, *, final_norm: bool) -> str:
        weights = next(model.h.parameters())
        parts = (
            trunk_fingerprint(model, final_norm=final_norm),
            messages.fingerprint,
            what,
            str(weights.dtype),
            # a GPU rounds differently: `--device cpu` must not use its states
            weights.device.type,
            torch.__version__,
            str(torch.get_num_threads()),
            torch.backends.cpu.get_cpu_capability(),
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:KEY_DIGITS]

    def _prune(self, keep: Path) -> None:
        assert self.folder is not None
        files = sorted(
            (f for f in self.folder.glob("[0-9a-f]" * KEY_DIGITS + ".npy") if f != keep),
            key=lambda f: f.stat().st_mtime,
            reverse=True,
        )
        total = keep.stat().st_size if keep.exists() else 0
        for file in files:
            total += file.stat().st_size
            if total > LIMIT_BYTES:
                file.unlink(missing_ok=True)


NO_CACHE = FeatureCache(None)


def trunk_fingerprint(model: GPT2, *, final_norm: bool = True) -> str:
    """Return a hash of the trunk's sizes and its weights in the dtype it computes with."""
    state = {
        name: tensor.detach().float()
        for name, tensor in model.state_dict().items()
        if final_norm or not name.startswith("ln_f.")
    }
    kinds = [type(block).__name__ + str(getattr(block, "factor", "")) for block in model.h]
    kinds += sorted({type(m).__name__ for m in model.h.modules() if isinstance(m, ExchangedLinear)})
    return fingerprint(model.config, state) + ",".join(kinds)


def _part(place: Path) -> Path:
    return place.with_suffix(".part")


def _count(place: Path) -> Path:
    return place.with_suffix(".json")


def _begun(place: Path, shape: tuple[int, int]) -> Entry:
    """Open an interrupted entry at its last mark, or create a new one."""
    try:
        batches = int(json.loads(_count(place).read_text())["batches"])
    except (OSError, ValueError, KeyError, TypeError):
        batches = 0
    array = open_array(_part(place), shape, "r+") if batches > 0 else None
    if array is not None:
        return Entry(array, batches=batches, place=place)
    new: Any = np.lib.format.open_memmap(_part(place), mode="w+", dtype=np.float32, shape=shape)
    return Entry(new, place=place)


def open_array(path: Path, shape: tuple[int, int], mode: Literal["r", "r+"]) -> Frozen | None:
    """Open the memory-mapped array of a file; None if it is missing or another array."""
    try:
        array: Frozen = np.lib.format.open_memmap(path, mode=mode)
    except Exception:  # numpy parses the header as Python source: a damaged one can raise any error
        return None
    return array if array.shape == shape and array.dtype == np.float32 else None
