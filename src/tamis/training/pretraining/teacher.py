"""A sentence-embedding model as teacher: its vectors of texts, each computed once and kept on disk.

Any folder that `sentence_transformers` saves can teach (extra `teacher`). Vectors have length one
and are kept in fp16, one store a teacher, found again by text, so that every mixture, pass and run
shares them. A store grows by whole batches: what a kill leaves half-written is cut off the next
time it is opened.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tamis.cache import cache_directory
from tamis.errors import CheckpointError, MissingExtraError
from tamis.files import locked, sha256, write_text
from tamis.progress import Progress, Silent

BATCH_TEXTS = 16
"""Texts the teacher reads at once; small batches of like length waste the least on filling."""
BATCH_TEXTS_BF16 = 128
"""The same in bf16: its products are so fast that small batches would wait for the weights."""
WRITE_TEXTS = 2048
"""Texts between two writes to the store: what a kill may cost."""
WAIT_S = 0.5
"""Seconds between two looks at a store that another process is filling."""
_KEY_BYTES = 16


class Teacher:
    """A sentence-transformers model that embeds texts."""

    def __init__(self, folder: Path | str, *, device: str = "cpu", bf16: bool = False) -> None:
        """Load the model of `folder`; nothing is fetched.

        With `bf16` it is computed in bf16: several times as fast on a processor with bf16
        instructions, and vectors of nearly the same direction.

        Raises:
            MissingExtraError: `sentence-transformers` is not installed.
            CheckpointError: the folder is missing or holds no such model.
        """
        self.folder = Path(folder).expanduser()
        if not (self.folder / "modules.json").is_file():
            raise CheckpointError(
                f"{folder} is no sentence-transformers folder: expected modules.json in it"
            )
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise MissingExtraError("sentence-transformers", "teacher", "a teacher") from None
        try:
            self.model = cast(
                "Any", SentenceTransformer(str(self.folder), device=device, local_files_only=True)
            )
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{folder}: the teacher cannot be loaded ({error})") from error
        self.dimensions = int(self.model.get_embedding_dimension())
        self.device, self.bf16 = torch.device(device).type, bf16
        if bf16:
            self.model = self.model.bfloat16()

    def fingerprint(self) -> str:
        """SHA-256 over all that decides a vector: settings, weights, tokenizer, precision."""
        digest = hashlib.sha256()
        suffixes = {".json", ".txt", ".safetensors", ".model", ".bin"}
        for file in sorted(f for f in self.folder.rglob("*") if f.suffix in suffixes):
            name = file.relative_to(self.folder).as_posix()
            digest.update(f"{name}\n{sha256(file)}\n".encode())
        if self.bf16:
            digest.update(b"bf16 weights")
        return digest.hexdigest()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(texts, D) vectors of length one."""
        with torch.inference_mode():
            vectors = self.model.encode(
                list(texts),
                batch_size=BATCH_TEXTS_BF16 if self.bf16 else BATCH_TEXTS,
                convert_to_tensor=True,
                show_progress_bar=False,
            ).float()
            vectors = nn.functional.normalize(vectors, dim=1).cpu().numpy()
        return np.asarray(vectors, dtype=np.float32)


class TeacherStore:
    """Vectors of one teacher on disk: `vectors.f16` and, row by row, the keys of their texts in
    `keys.bin`.
    """

    def __init__(self, teacher: Teacher, folder: Path | None = None) -> None:
        """`folder`: by default one in the cache directory, named by the teacher's fingerprint."""
        self.teacher = teacher
        self.folder = folder or cache_directory() / "teachers" / teacher.fingerprint()[:32]
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "README.txt").is_file():
            write_text(
                self.folder / "README.txt",
                f"Vectors of {teacher.folder}, {teacher.dimensions} dimensions, fp16.\n",
            )
        self._open()

    def _open(self) -> None:
        """Map what is complete and index it."""
        width = 2 * self.teacher.dimensions
        sizes = [
            f.stat().st_size if (f := self.folder / name).is_file() else 0
            for name in ("vectors.f16", "keys.bin")
        ]
        self.rows = min(sizes[0] // width, sizes[1] // _KEY_BYTES)
        if self.rows:
            shape = (self.rows, self.teacher.dimensions)
            self.vectors: NDArray[np.float16] = np.memmap(
                self.folder / "vectors.f16", dtype=np.float16, mode="r", shape=shape
            )
            keys = np.fromfile(self.folder / "keys.bin", dtype=f"S{_KEY_BYTES}", count=self.rows)
        else:
            self.vectors, keys = (
                np.empty((0, self.teacher.dimensions), np.float16),
                np.empty(0, f"S{_KEY_BYTES}"),
            )
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]

    def refresh(self) -> None:
        """Take up what another process has added."""
        self._open()

    def find(self, texts: Iterable[str]) -> NDArray[np.int64]:
        """(texts,) row of each text's vector, -1 where it has none yet."""
        keys = np.array(
            [hashlib.blake2b(text.encode(), digest_size=_KEY_BYTES).digest() for text in texts],
            dtype=f"S{_KEY_BYTES}",
        )
        if not self.rows or not len(keys):
            return np.full(len(keys), -1, dtype=np.int64)
        place = np.minimum(np.searchsorted(self._sorted, keys), self.rows - 1)
        return np.where(self._sorted[place] == keys, self._order[place], -1)

    def fill(self, texts: Sequence[str], progress: Progress | None = None) -> None:
        """Compute and keep the vectors of all texts that have none yet.

        Where another process fills the same store, this one waits for it.
        """
        if (self.find(texts) >= 0).all():
            return
        with self._alone():
            self._open()  # what another process may have added
            missing = list(
                dict.fromkeys(
                    text for text, row in zip(texts, self.find(texts), strict=True) if row < 0
                )
            )
            self._truncate()
            self._compute(missing, progress)
        self._open()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        while True:
            with locked(self.folder / "lock") as mine:
                if mine:
                    yield
                    return
            time.sleep(WAIT_S)

    def _compute(self, missing: Sequence[str], progress: Progress | None) -> None:
        with (progress or Silent()).task("teacher", total=len(missing), unit="texts") as task:
            # In slices of the given order, so that what comes first is there first; like lengths
            # meet inside a slice.
            for begin in range(0, len(missing), WRITE_TEXTS):
                part = missing[begin : begin + WRITE_TEXTS]
                self._append(part, self.teacher.embed(part))
                task.advance(len(part))

    def _truncate(self) -> None:
        for name, width in (("vectors.f16", 2 * self.teacher.dimensions), ("keys.bin", _KEY_BYTES)):
            if (self.folder / name).is_file():
                os.truncate(self.folder / name, self.rows * width)

    def _append(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Vectors first, then their keys: a row counts when both are there."""
        keys = b"".join(
            hashlib.blake2b(text.encode(), digest_size=_KEY_BYTES).digest() for text in texts
        )
        for name, data in (
            ("vectors.f16", vectors.astype(np.float16).tobytes()),
            ("keys.bin", keys),
        ):
            with (self.folder / name).open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

    def of(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """(texts, D) fp32 vectors, computed where they are not here yet; of length one up to fp16's
        rounding.
        """
        rows = self.find(texts)
        if (rows < 0).any():
            self.fill(texts, progress)
            rows = self.find(texts)
        return np.asarray(self.vectors[rows], dtype=np.float32)
