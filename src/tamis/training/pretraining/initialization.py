"""Initial weights: as GPT-2, optionally with token embeddings from a teacher.

Each token gets the teacher's vector of the token's text, projected to the network's width by
principal components. Noise separates tokens for which the teacher has the same vector (an uncased
teacher does not distinguish capitals). Residual branches start at zero and position embeddings are
small, so the untrained network already pools these vectors, like the static embeddings of
model2vec; training improves on them.
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
"""Standard deviation of token embeddings, as in GPT-2."""
POSITION_STD = 0.002
"""Standard deviation of position embeddings for a teacher start. GPT-2's own value would add noise
as large as the token vectors."""


@dataclass(frozen=True)
class Projection:
    """A linear projection from the teacher's vectors to the network's width, and its inverse."""

    components: NDArray[np.float32]
    """(C, D) orthonormal rows: the directions of largest variance of the tokens' vectors"""
    mean: NDArray[np.float32]
    """(D,)"""


def random_start(model: GPT2, seed: int) -> None:
    """Initialize as GPT-2."""
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
    """Initialize from a teacher, and return the projection.

    Tokens that are not whole text (part of a character, white space) stay random. The projection
    also initializes the map to the teacher's vectors.
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
    """Return whether a token is whole text with letters or digits.

    Part of a character decodes to the replacement character.
    """
    return "\ufffd" not in piece and any(not character.isspace() for character in piece)


def principal(vectors: NDArray[np.float32], width: int) -> Projection:
    """Return the first `width` principal components, with fixed signs.

    If the teacher has fewer dimensions, the rest is filled with zeros.
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
    """Return the least-squares linear map from pooled states to the teacher's vectors, (D, C).

    Args:
        states: (texts, C) pooled states.
        vectors: (texts, D) teacher vectors of the same texts.
        ridge: added to the diagonal, in units of one text.
    """
    gram = states.T.astype(np.float64) @ states + ridge * np.eye(states.shape[1])
    return torch.from_numpy(
        np.linalg.solve(gram, states.T.astype(np.float64) @ vectors).T.astype(np.float32).copy()
    )


def map_start(width: int, dimensions: int, projection: Projection | None, seed: int) -> Tensor:
    """Return the initial linear map from pooled states to the teacher's vectors, (D, C).

    It is the inverse of the projection, or random without one.
    """
    if projection is not None:
        return torch.from_numpy(projection.components.T.copy())
    drawn: Tensor = (
        torch.randn(dimensions, width, generator=torch.Generator().manual_seed(seed + 1))
        * width**-0.5
    )
    return drawn
