"""Evaluation on held-out texts: bits per byte by source, and the similarity of pooled states to the
teacher's vectors.

Bits per byte = nats of all tokens / ln 2 / UTF-8 bytes of the texts. It is comparable between
tokenizers, and with models that are not neural. The leading `<|endoftext|>` is given; the closing
one is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from tamis.gpt2.likelihood import token_nats
from tamis.gpt2.model import GPT2
from tamis.gpt2.packing import by_length, pack
from tamis.training.pretraining.losses import Student, pooled
from tamis.training.pretraining.sequences import Sequences

BATCH_TOKENS = 1024
"""Tokens per batch: their logits are the largest matrix."""


def text_nats(trunk: GPT2, sequences: Sequences) -> NDArray[np.float64]:
    """Return the nats of each text's tokens, (texts,), without `<|endoftext|>` before and after."""
    nats = np.zeros(len(sequences))
    device = trunk.wte.weight.device
    was_training = trunk.training
    trunk.eval()
    with torch.inference_mode():
        for rows in by_length(sequences.lengths, BATCH_TOKENS):
            packed = pack([sequences.inputs(row) for row in rows])
            ordered = rows[packed.order]
            ends = np.cumsum(sequences.lengths[ordered])
            tokens = token_nats(trunk, packed.to(device)).double().cpu().numpy()
            nats[ordered] = np.add.reduceat(tokens, ends - sequences.lengths[ordered])
    trunk.train(was_training)
    return nats


def bits_per_byte(nats: NDArray[np.float64], text_bytes: NDArray[np.int64]) -> float:
    """Return the bits per byte over all texts."""
    return float(nats.sum() / math.log(2) / max(1, text_bytes.sum()))


def measure(
    student: Student,
    sequences: Sequences,
    source: NDArray[np.int16],
    names: Sequence[str],
    vectors: NDArray[np.float32] | None,
) -> dict[str, Any]:
    """Return the figures of the held-out texts.

    Args:
        student: the network.
        sequences: the held-out texts.
        source: (texts,) source numbers.
        names: source names by number.
        vectors: (texts, D) teacher vectors; None without a teacher.

    Returns:
        `bits_per_byte`, `by_source` and, with a teacher, `cosine` (mean over texts).
    """
    nats = text_nats(student.trunk, sequences)
    found: dict[str, Any] = {"bits_per_byte": bits_per_byte(nats, sequences.text_bytes)}
    found["by_source"] = {
        name: bits_per_byte(nats[mine], sequences.text_bytes[mine])
        for i, name in enumerate(names)
        if (mine := source == i).any()
    }
    if vectors is not None and student.to_teacher is not None:
        found["cosine"] = float(_cosines(student, sequences, vectors).mean())
    return found


def _cosines(
    student: Student, sequences: Sequences, vectors: NDArray[np.float32]
) -> NDArray[np.float64]:
    cosines = np.empty(len(sequences))
    device = student.trunk.wte.weight.device
    with torch.inference_mode():
        for rows in by_length(sequences.lengths, BATCH_TOKENS):
            packed = pack([sequences.inputs(row) for row in rows])
            states = pooled(student.trunk(packed.to(device)), packed)
            mapped = F.normalize(F.linear(states, student.to_teacher), dim=1).cpu()  # type: ignore[arg-type] # the caller checked it
            ordered = rows[packed.order]
            cosines[ordered] = F.cosine_similarity(
                mapped, torch.from_numpy(vectors[ordered]), dim=1
            ).numpy()
    return cosines
