"""The reference experiment's loop in plain PyTorch, as in a course on language models; tamis is
compared with it.

Written from the experiment's description: a GPTModel with its own attention, messages truncated and
padded to 120 tokens with <|endoftext|>, batches of 16, everything frozen except a new two-class
head and the final LayerNorm, weighted loss, one epoch, then one pass each for the figures of the
training and test rows. The network is that of "Build a Large Language Model (From Scratch)".
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tamis.gpt2.model import GPT2, Block

LENGTH, BATCH, PAD = 120, 16, 50256


class MultiHeadAttention(nn.Module):
    """Causal attention with the mask stored as a buffer."""

    mask: Tensor

    def __init__(self, width: int, context: int, heads: int) -> None:
        """Initialize weights as nn.Linear does; `from_trunk` fills them."""
        super().__init__()
        self.heads, self.head_dim = heads, width // heads
        self.W_query, self.W_key, self.W_value = (nn.Linear(width, width) for _ in range(3))
        self.out_proj = nn.Linear(width, width)
        self.register_buffer("mask", torch.triu(torch.ones(context, context), diagonal=1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        b, t, c = x.shape
        queries, keys, values = (
            layer(x).view(b, t, self.heads, self.head_dim).transpose(1, 2)
            for layer in (self.W_query, self.W_key, self.W_value)
        )
        scores = queries @ keys.transpose(2, 3)
        scores = scores.masked_fill(self.mask.bool()[:t, :t], -torch.inf)
        weights = torch.softmax(scores / self.head_dim**0.5, dim=-1)
        mixed: Tensor = self.out_proj((weights @ values).transpose(1, 2).reshape(b, t, c))
        return mixed


class TransformerBlock(nn.Module):
    """Pre-LayerNorm block."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        """Like `MultiHeadAttention`."""
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.att = MultiHeadAttention(width, context, heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = x + self.att(self.norm1(x))
        inner = self.up(self.norm2(x))
        # The formula is written out, as in the book.
        inner = (
            0.5 * inner * (1 + torch.tanh((2.0 / torch.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
        )
        hidden: Tensor = x + self.down(inner)
        return hidden


class GPTModel(nn.Module):
    """Embeddings, blocks, final LayerNorm and an output head."""

    def __init__(self, trunk: GPT2, classes: int) -> None:
        """Copy the weights of `trunk`; the head is new."""
        super().__init__()
        config = trunk.config
        self.tok_emb, self.pos_emb = (
            nn.Embedding(config.vocab_size, config.n_embd),
            nn.Embedding(config.n_positions, config.n_embd),
        )
        self.trf_blocks = nn.Sequential(
            *(
                TransformerBlock(config.n_embd, config.n_positions, config.n_head)
                for _ in range(config.n_layer)
            )
        )
        self.final_norm = nn.LayerNorm(config.n_embd)
        self.out_head = nn.Linear(config.n_embd, classes)
        self._take(trunk)

    @torch.no_grad()
    def _take(self, trunk: GPT2) -> None:
        self.tok_emb.weight.copy_(trunk.wte.weight)
        self.pos_emb.weight.copy_(trunk.wpe.weight)
        self.final_norm.load_state_dict(trunk.ln_f.state_dict())
        for mine, theirs in zip(self.trf_blocks, trunk.h, strict=True):
            assert isinstance(mine, TransformerBlock) and isinstance(theirs, Block)
            mine.norm1.load_state_dict(theirs.ln_1.state_dict())
            mine.norm2.load_state_dict(theirs.ln_2.state_dict())
            thirds = zip(
                theirs.attn.c_attn.weight.chunk(3), theirs.attn.c_attn.bias.chunk(3), strict=True
            )
            for layer, (weight, bias) in zip(
                (mine.att.W_query, mine.att.W_key, mine.att.W_value), thirds, strict=True
            ):
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
            for layer, source in (
                (mine.att.out_proj, theirs.attn.c_proj),
                (mine.up, theirs.mlp.c_fc),
                (mine.down, theirs.mlp.c_proj),
            ):
                layer.load_state_dict(source.state_dict())

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> (B, T, K) logits at every position."""
        x = self.tok_emb(ids) + self.pos_emb(torch.arange(ids.shape[1]))
        logits: Tensor = self.out_head(self.final_norm(self.trf_blocks(x)))
        return logits


def padded(messages: Sequence[NDArray[np.int32]], length: int = LENGTH) -> Tensor:
    """Return ids, (N, length), truncated and padded with <|endoftext|>."""
    rows = torch.full((len(messages), length), PAD, dtype=torch.int64)
    for row, ids in zip(rows, messages, strict=True):
        row[: len(ids)] = torch.from_numpy(ids[:length].astype(np.int64))
    return rows


@dataclass(frozen=True)
class JobTimes:
    """Seconds of the three parts of the job."""

    fit: float
    train_figures: float
    test_figures: float

    @property
    def whole(self) -> float:
        """Sum of the three parts."""
        return self.fit + self.train_figures + self.test_figures


def run_job(
    trunk: GPT2,
    train: Sequence[NDArray[np.int32]],
    train_labels: NDArray[np.int64],
    test: Sequence[NDArray[np.int32]],
    *,
    seed: int = 42,
) -> JobTimes:
    """Train one epoch, and compute train and test figures with one pass each over padded
    batches.
    """
    torch.manual_seed(seed)
    model = GPTModel(trunk, 2)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for module in (model.out_head, model.final_norm):
        for parameter in module.parameters():
            parameter.requires_grad_(True)
    weights = torch.tensor(
        len(train_labels) / (2 * np.bincount(train_labels, minlength=2)), dtype=torch.float32
    )
    optimizer = torch.optim.AdamW(
        (p for p in model.parameters() if p.requires_grad), lr=5e-5, weight_decay=0.1
    )
    inputs, targets = padded(train), torch.from_numpy(train_labels)
    begun = time.perf_counter()
    model.train()
    for rows in torch.split(torch.randperm(len(inputs)), BATCH):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs[rows])[:, -1], targets[rows], weight=weights)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    fitted = time.perf_counter()
    model.eval()
    for _ in _predictions(model, inputs):
        pass
    judged = time.perf_counter()
    for _ in _predictions(model, padded(test)):
        pass
    return JobTimes(fitted - begun, judged - fitted, time.perf_counter() - judged)


@torch.no_grad()
def _predictions(model: GPTModel, inputs: Tensor) -> Iterator[Tensor]:
    for rows in torch.split(inputs, BATCH):
        yield model(rows)[:, -1].argmax(1)
