"""Inputs of the lowest trained block: embeddings computed in every step, or frozen states computed
once.

everything trained       token ids, embedded in every step
the last K blocks        the (T, C) states of every message's tokens before block L - K
final LayerNorm, head    the (C,) state of every message's last token before ln_f
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tamis.compute.parallel import compute_in_parallel
from tamis.gpt2.feature_cache import NO_CACHE, FeatureCache, Frozen
from tamis.gpt2.model import GPT2, GPT2Classifier, MeanPoolingBlock
from tamis.gpt2.packing import Packed, by_length, pack
from tamis.gpt2.step_part import uniform
from tamis.progress import Progress, Silent
from tamis.text.encoding import BATCH_TOKENS, EncodedTexts

FROZEN_TOKENS = BATCH_TOKENS
"""Tokens per batch when frozen states are computed."""


class FeatureExtractor:
    """Inputs of the trained part of a model."""

    def __init__(
        self, messages: EncodedTexts, start: int, frozen: Frozen | None, whole: bool
    ) -> None:
        """Create an extractor for the given windows.

        `start` is the lowest trained block. `frozen` are the states that enter it: (tokens, C) or,
        if `whole`, (windows, C).
        """
        self.messages, self.start, self.frozen, self.whole = messages, start, frozen, whole
        self.first_token = np.cumsum(messages.lengths) - messages.lengths

    def retokenized(self, messages: EncodedTexts) -> FeatureExtractor:
        """Return an extractor for the same rows with other tokens; needs computed embeddings."""
        assert self.frozen is None
        return FeatureExtractor(messages, self.start, None, self.whole)

    def forward(
        self,
        model: GPT2Classifier,
        rows: NDArray[np.int64],
        *,
        lm_loss_share: float = 0.0,
        token_dropout: float = 0.0,
    ) -> tuple[Tensor, Tensor | None]:
        """Return last tokens before ln_f, (windows of `rows`, C), and any next-token loss
        requested.

        The next-token loss uses `lm_loss_share` of the positions. It needs the state of every
        token, so the last block saves no work then. `token_dropout` is the share of tokens randomly
        removed from each message, except the first token; it requires embeddings that are computed
        each time.
        """
        windows = self.messages.windows_of(rows)
        trunk = model.transformer
        if self.whole:
            assert self.frozen is not None
            return torch.from_numpy(self.frozen[windows]).to(trunk.wte.weight.device), None
        ids = [self.messages.windows[w] for w in windows]
        packed = pack(
            [drop_tokens(i, token_dropout) for i in ids]
            if token_dropout and self.frozen is None
            else ids
        )
        packed = packed.to(trunk.wte.weight.device)
        hidden = (
            trunk.embed(packed) if self.frozen is None else self._frozen_tokens(packed, windows)
        )
        if not lm_loss_share:
            return trunk.last(hidden, packed, self.start), None
        return _with_next_token(trunk, hidden, packed, self.start, lm_loss_share)

    def _frozen_tokens(self, packed: Packed, windows: NDArray[np.int64]) -> Tensor:
        assert self.frozen is not None
        places = [
            np.arange(self.first_token[w], self.first_token[w] + self.messages.lengths[w])
            for w in windows[packed.order]
        ]
        return torch.from_numpy(self.frozen[np.concatenate(places)]).float().to(packed.ids.device)


def drop_tokens(ids: NDArray[Any], share: float) -> NDArray[Any]:
    """Remove a random share of a message's tokens."""
    keep = uniform(len(ids)).numpy() >= share
    keep[0] = True
    return ids[keep]


def _with_next_token(
    trunk: GPT2, hidden: Tensor, packed: Packed, start: int, share: float
) -> tuple[Tensor, Tensor]:
    """Return last tokens and the summed next-token loss on a share of positions.

    The loss is computed from the state before the pooling block.
    """
    pooling = trunk.h[-1] if isinstance(trunk.h[-1], MeanPoolingBlock) else None
    hidden = trunk.blocks(hidden, packed, start, len(trunk.h) - 1 if pooling else None)
    norm = pooling.ln_1 if pooling else trunk.ln_f
    keep = torch.ones(packed.tokens, dtype=torch.bool, device=packed.ids.device)
    keep[packed.last] = False
    if share < 1.0:
        keep &= uniform(packed.tokens).to(keep.device) < share
    before = keep.nonzero().squeeze(1)
    logits = trunk.next_token_logits(norm(hidden.index_select(0, before)))
    loss = F.cross_entropy(logits.float(), packed.ids[before + 1], reduction="sum")
    last = pooling.last(hidden, packed) if pooling else hidden.index_select(0, packed.last)
    return packed.restore(last).float(), loss


@dataclass(frozen=True)
class States:
    """States of a frozen trunk to compute for all windows."""

    name: str
    """which ones; part of their key in the cache"""
    rows: int
    width: int
    final_norm: bool = False
    """whether they depend on the final LayerNorm"""


def last_tokens(
    model: GPT2,
    messages: EncodedTexts,
    *,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> Frozen:
    """Return every window's last token before ln_f, (W, C); mean-pooled if the model ends in a
    pooling block.
    """

    def rows(windows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        packed = pack([messages.windows[w] for w in windows]).to(model.wte.weight.device)
        return windows, model.last(model.embed(packed), packed).cpu().numpy()

    states = States("last", len(messages.windows), model.config.n_embd)
    return compute_cached(model, messages, states, rows, cache=cache, progress=progress)


def all_tokens(
    model: GPT2,
    messages: EncodedTexts,
    stop: int,
    *,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> Frozen:
    """Return every token's state before block `stop`, (all tokens of all windows, C), in the order
    of the windows.
    """
    first = np.cumsum(messages.lengths) - messages.lengths

    def rows(windows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        packed = pack([messages.windows[w] for w in windows]).to(model.wte.weight.device)
        places = [
            np.arange(first[w], first[w] + messages.lengths[w]) for w in windows[packed.order]
        ]
        return np.concatenate(places), model.blocks(
            model.embed(packed), packed, 0, stop
        ).float().cpu().numpy()

    states = States(f"tokens:{stop}", int(messages.lengths.sum()), model.config.n_embd)
    return compute_cached(model, messages, states, rows, cache=cache, progress=progress)


def compute_cached(
    model: GPT2,
    messages: EncodedTexts,
    states: States,
    compute: Callable[[NDArray[Any]], tuple[NDArray[np.int64], NDArray[np.float32]]],
    *,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> Frozen:
    """Run `compute` on every batch, store the results in one array, and return it.

    The array has `states.rows` rows of `states.width` numbers; `cache` keeps and resumes it.
    `compute` runs in several threads, so it must not change shared state.
    """
    model.eval()
    what, shape = f"{states.name}, {FROZEN_TOKENS}", (states.rows, states.width)
    with (cache or NO_CACHE).open(
        model, messages, what, shape, final_norm=states.final_norm
    ) as kept:
        if kept.complete:
            return kept.array
        batches = list(by_length(messages.lengths, FROZEN_TOKENS))
        if kept.batches > len(batches):  # the marker does not belong to this computation
            kept.batches = 0
        done = sum(len(windows) for windows in batches[: kept.batches])
        with (progress or Silent()).task(
            "frozen trunk", total=len(messages.windows), unit="messages", done=done
        ) as task:
            left = batches[kept.batches :]
            for windows, (places, values) in zip(
                left,
                compute_in_parallel(compute, left, device=model.wte.weight.device),
                strict=True,
            ):
                kept.array[places] = values
                kept.advance()
                task.advance(len(windows))
        kept.finish()
        return kept.array
