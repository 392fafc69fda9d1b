"""How a network begins: GPT-2's own start, with token embeddings from a teacher where there is one.

Each piece gets the teacher's vector of the piece's text, projected to the network's width by
principal components, with noise that keeps apart what the teacher holds for one (an uncased one
knows no capitals). Residual branches begin at zero and positions small, so that the untrained
network already pools these vectors: the static embeddings of model2vec, to be improved from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.gpt2.model import GPT2, Block, initialise
from tamis.progress import Progress
from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining.teacher import TeacherStore

EMBEDDING_STD = 0.02
"""Size of a token embedding's entries, GPT-2's own."""
POSITION_STD = 0.002
"""Size of a position embedding's entries beside a teacher's start: at GPT-2's own they would be
noise as large as the meaning."""


@dataclass(frozen=True)
class Projection:
    """From the teacher's vectors to the network's width, and back."""

    components: NDArray[np.float32]
    """(C, D) orthonormal rows: the directions in which the pieces' vectors differ most"""
    mean: NDArray[np.float32]
    """(D,)"""


def random_start(model: GPT2, seed: int) -> None:
    """GPT-2's own start."""
    initialise(model, torch.Generator().manual_seed(seed))


def teacher_start(
    model: GPT2,
    tokenizer: Tokenizer,
    store: TeacherStore,
    *,
    noise: float,
    seed: int,
    progress: Progress | None = None,
) -> Projection:
    """Begin from a teacher; pieces that are no text of their own (half a character, white space)
    stay random.

    Returns the projection, which is also where the map to the teacher begins.
    """
    random_start(model, seed)
    texts = {
        i: piece
        for i in range(tokenizer.size)
        if has_letters(piece := tokenizer.decode([i])) and i != tokenizer.end_of_text
    }
    vectors = store.of([text.strip() for text in texts.values()], progress)
    projection = principal(vectors, model.config.n_embd)
    reduced = (vectors - projection.mean) @ projection.components.T
    scale = EMBEDDING_STD / reduced.std()
    random = np.random.default_rng(seed)
    rows = reduced * scale + random.normal(0.0, noise * EMBEDDING_STD, reduced.shape)
    with torch.no_grad():
        model.wpe.weight.mul_(POSITION_STD / EMBEDDING_STD)
        model.wte.weight[torch.tensor(list(texts))] = torch.from_numpy(rows.astype(np.float32)).to(
            model.wte.weight.device
        )
        for block in model.h:
            if isinstance(block, Block):
                block.attn.c_proj.weight.zero_()
                block.mlp.c_proj.weight.zero_()
    return projection


def has_letters(piece: str) -> bool:
    """Whether a piece is whole text with something to say; half a character decodes to the
    replacement sign.
    """
    return "\ufffd" not in piece and any(not character.isspace() for character in piece)


def principal(vectors: NDArray[np.float32], width: int) -> Projection:
    """The first `width` principal components; where the teacher has fewer dimensions, zeros fill
    up. Signs are fixed.
    """
    mean = vectors.mean(0)
    covariance = np.cov((vectors - mean).astype(np.float64), rowvar=False)
    values, directions = np.linalg.eigh(covariance)
    first = directions[:, np.argsort(-values, kind="stable")[:width]].T
    first = (
        first
        * np.where(first[np.arange(len(first)), np.abs(first).argmax(1)] < 0, -1.0, 1.0)[:, None]
    )
    components = np.zeros((width, vectors.shape[1]), dtype=np.float32)
    components[: len(first)] = first
    return Projection(components, mean.astype(np.float32))


def fitted_map(
    states: NDArray[np.float32], vectors: NDArray[np.float32], ridge: float = 1.0
) -> Tensor:
    """(D, C) the linear map that takes pooled states nearest to the teacher's vectors, in least
    squares.

    Args:
        states: (texts, C) pooled states.
        vectors: (texts, D) of the same texts.
        ridge: added to the diagonal, in units of one text.
    """
    gram = states.T.astype(np.float64) @ states + ridge * np.eye(states.shape[1])
    return torch.from_numpy(
        np.linalg.solve(gram, states.T.astype(np.float64) @ vectors).T.astype(np.float32).copy()
    )


def map_start(width: int, dimensions: int, projection: Projection | None, seed: int) -> Tensor:
    """(D, C) first linear map from pooled states to the teacher's vectors: the projection's way
    back, or random.
    """
    if projection is not None:
        return torch.from_numpy(projection.components.T.copy())
    drawn: Tensor = (
        torch.randn(dimensions, width, generator=torch.Generator().manual_seed(seed + 1))
        * width**-0.5
    )
    return drawn
