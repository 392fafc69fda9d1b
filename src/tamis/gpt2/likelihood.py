"""The likelihood of a text under a trunk as language model: bits per byte of next-token prediction
with the tied embedding.

Shapes: N tokens of a packed batch, C channels, V vocabulary, R texts. Computed in fp32; needs only
the model's files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tamis.compute.parallel import compute_in_parallel
from tamis.gpt2.model import GPT2, MeanPoolingBlock
from tamis.gpt2.packing import Packed, by_length, pack
from tamis.progress import Progress, Silent
from tamis.text.tokenizer import Tokenizer

BATCH_TOKENS = 1024
VOCABULARY_ROWS = 256
"""Most tokens whose logits over the whole vocabulary are in memory at once: 50 MB for 50,257
tokens."""


def bits_per_byte(
    trunk: GPT2,
    texts: Sequence[str],
    tokenizer: Tokenizer,
    *,
    pooled: bool = False,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Return the bits of each text's tokens divided by its UTF-8 bytes, (R,); 0 for an empty text.

    The leading `<|endoftext|>` is given; the end of the text is not predicted. A text longer than
    the context is read in overlapping stretches (overlap: one half). Each token is counted once,
    given the tokens before it in its stretch. A text's figure does not depend on the other texts
    (up to rounding).

    Args:
        trunk: a language model, or a classifier's trunk that was one.
        texts: R texts.
        tokenizer: the classifier's tokenizer; used without padding or truncation.
        pooled: the last block was trained in place of a pooling block; `MeanPoolingBlock`s are
            recognized without it.
        progress: progress callback.

    Raises:
        DataError: a text is not valid Unicode.
    """
    distinct = list(dict.fromkeys(texts))
    stretches, counted, owner = stretches_of(distinct, tokenizer, trunk.config.n_positions)
    lengths = np.array([len(ids) for ids in stretches], dtype=np.int64)
    bits = np.zeros(len(distinct))
    trunk.eval()
    device = trunk.wte.weight.device

    def compute(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        packed = pack([stretches[row] for row in rows])
        return rows[packed.order], token_nats(
            trunk, packed.to(device), pooled=pooled
        ).double().cpu().numpy()

    batches = list(by_length(lengths, BATCH_TOKENS))
    with (progress or Silent()).task("likelihood", total=len(stretches), unit="messages") as task:
        for rows, (ordered, nats) in zip(
            batches, compute_in_parallel(compute, batches, device=device), strict=True
        ):
            first = np.cumsum(lengths[ordered]) - lengths[ordered]
            for row, begin in zip(ordered.tolist(), first.tolist(), strict=True):
                bits[owner[row]] += nats[
                    begin + counted[row] : begin + lengths[row]
                ].sum() / math.log(2)
            task.advance(len(rows))
    size = np.array([max(1, len(text.encode())) for text in distinct])
    number = {text: place for place, text in enumerate(distinct)}
    return (bits / size)[[number[text] for text in texts]] if len(texts) else np.empty(0)


def stretches_of(
    texts: Sequence[str], tokenizer: Tokenizer, context: int
) -> tuple[list[NDArray[np.int32]], NDArray[np.int64], NDArray[np.int64]]:
    """Return stretches of at most `context` tokens, the position in each from which tokens are
    counted, and the text of each.
    """
    plain = tokenizer.without_padding()
    head = (
        np.array([plain.end_of_text], dtype=np.int32)
        if plain.end_of_text is not None
        else np.empty(0, dtype=np.int32)
    )
    stretches, counted, owner = [], [], []
    for text, ids in enumerate(plain.encode(texts) if texts else []):
        body = ids[1:] if plain.begins else ids
        if not texts[text]:
            continue
        room = context - len(head)
        begin, done = 0, 0
        while done < len(body):
            stretch = np.concatenate([head, body[begin : begin + room]])
            stretches.append(stretch)
            # Without a leading token, nothing predicts the first token.
            counted.append(max(1, done - begin + len(head)))
            owner.append(text)
            done = begin + room
            begin = done - room // 2
    return stretches, np.array(counted, dtype=np.int64), np.array(owner, dtype=np.int64)


def token_nats(trunk: GPT2, packed: Packed, *, pooled: bool = False) -> Tensor:
    """Return the nats of each token given those before it in its message, (N,), in packed order; 0
    for first tokens.
    """
    pooling = trunk.h[-1] if pooled or isinstance(trunk.h[-1], MeanPoolingBlock) else None
    hidden = trunk.blocks(
        trunk.embed(packed), packed, 0, None if pooling is None else len(trunk.h) - 1
    )
    norm = cast(nn.LayerNorm, trunk.ln_f if pooling is None else pooling.ln_1)
    states = norm(hidden.float())
    first = torch.ones(packed.tokens, dtype=torch.bool, device=packed.ids.device)
    first[1:] = False
    first[packed.last[:-1] + 1] = True
    places = (~first).nonzero().squeeze(1)
    nats = torch.zeros(packed.tokens, device=packed.ids.device)
    for part in torch.split(places, VOCABULARY_ROWS):
        logits = trunk.next_token_logits(
            states.index_select(0, part - 1).to(trunk.wte.weight.dtype)
        )
        nats[part] = F.cross_entropy(logits.float(), packed.ids[part], reduction="none")
    return nats
