"""What enters the lowest trained block, for any rows: embeddings computed each time, or frozen
states computed once.

everything trained       token ids, embedded in every step
the last K blocks        the (T, C) states of every message's tokens before block L - K
final LayerNorm, head    the (C,) state of every message's last token before ln_f
"""

from __future__ import annotations

from collections.abc import Callable
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
from tamis.progress import Progress, Silent
from tamis.text.encoding import EncodedTexts

FROZEN_TOKENS = 1024
"""Tokens a batch when frozen states are computed: large enough for full speed, small enough to stay
in the cache."""


class FeatureExtractor:
    """Inputs of the trained part of a model."""

    def __init__(
        self, messages: EncodedTexts, start: int, frozen: Frozen | None, whole: bool
    ) -> None:
        """`start`: lowest trained block; `frozen`: (tokens, C) or, if `whole`, (windows, C) states
        that enter it.
        """
        self.messages, self.start, self.frozen, self.whole = messages, start, frozen, whole
        self.first_token = np.cumsum(messages.lengths) - messages.lengths

    def retokenized(self, messages: EncodedTexts) -> FeatureExtractor:
        """The same rows cut into other tokens, where the embeddings are computed each time."""
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
        """Last tokens (windows of `rows`, C) before ln_f, and the summed next-token loss where it
        is asked for.

        The next-token loss, on `lm_loss_share` of the positions, needs every token's state, so
        nothing is saved in the last block then. `token_dropout` is the share of tokens left out of
        each message at random, the first one excepted (only where embeddings are computed).
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
    """A message without a random share of its tokens. torch's generator, which a checkpoint
    keeps.
    """
    keep = torch.rand(len(ids)).numpy() >= share
    keep[0] = True
    return ids[keep]


def _with_next_token(
    trunk: GPT2, hidden: Tensor, packed: Packed, start: int, share: float
) -> tuple[Tensor, Tensor]:
    """Last tokens, and the summed loss of predicting the next token from the state under the
    pooling block, at a share of positions.
    """
    pooling = trunk.h[-1] if isinstance(trunk.h[-1], MeanPoolingBlock) else None
    hidden = trunk.blocks(hidden, packed, start, len(trunk.h) - 1 if pooling else None)
    norm = pooling.ln_1 if pooling else trunk.ln_f
    keep = torch.ones(packed.tokens, dtype=torch.bool, device=packed.ids.device)
    keep[packed.last] = False
    if share < 1.0:
        keep &= torch.rand(packed.tokens).to(keep.device) < share
    before = keep.nonzero().squeeze(1)
    logits = trunk.next_token_logits(norm(hidden.index_select(0, before)))
    loss = F.cross_entropy(logits.float(), packed.ids[before + 1], reduction="sum")
    last = pooling.last(hidden, packed) if pooling else hidden.index_select(0, packed.last)
    return packed.restore(last).float(), loss


def last_tokens(
    model: GPT2,
    messages: EncodedTexts,
    *,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> Frozen:
    """(W, C): every window's last token before ln_f, mean-pooled where the model ends in a pooling
    block.
    """

    def rows(windows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        packed = pack([messages.windows[w] for w in windows]).to(model.wte.weight.device)
        return windows, model.last(model.embed(packed), packed).cpu().numpy()

    return compute_cached(model, messages, "last", len(messages.windows), rows, cache, progress)


def all_tokens(
    model: GPT2,
    messages: EncodedTexts,
    stop: int,
    *,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> Frozen:
    """(all tokens of all windows, C): every token's state before block `stop`, windows in their
    order.
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

    return compute_cached(
        model, messages, f"tokens:{stop}", int(messages.lengths.sum()), rows, cache, progress
    )


def compute_cached(
    model: GPT2,
    messages: EncodedTexts,
    what: str,
    rows: int,
    compute: Callable[[NDArray[Any]], tuple[NDArray[np.int64], NDArray[np.float32]]],
    cache: FeatureCache | None,
    progress: Progress | None,
    *,
    width: int | None = None,
) -> Frozen:
    """Run `compute` on every batch (in several threads: it may only read) into (rows, C or
    `width`), kept and resumed by `cache`.
    """
    model.eval()
    shape = (rows, width or model.config.n_embd)
    with (cache or NO_CACHE).open(model, messages, f"{what}, {FROZEN_TOKENS}", shape) as kept:
        if kept.complete:
            return kept.array
        batches = list(by_length(messages.lengths, FROZEN_TOKENS))
        if kept.batches > len(batches):  # a mark that cannot be this work's
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
