"""GPT-2 in one file: pre-LayerNorm, learned positions, tanh-GELU (others by the configuration),
tied embeddings, OpenAI's parameter names.

Shapes: N tokens of a packed batch, B messages, C channels, H heads, D = C / H channels per head, K
classes, V vocabulary. Sources: https://github.com/openai/gpt-2 (model.py) and transformers v5.24
models/gpt2. Tests in tests/gpt2 compare with both; the largest difference is 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tamis.errors import ConfigError, DataError
from tamis.gpt2.linear import Linear
from tamis.gpt2.packing import Group, Packed
from tamis.gpt2.step_part import apply_dropout, table_rows

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, tuple[Activation, Activation]] = {
    "gelu_new": (
        partial(F.gelu, approximate="tanh"),
        partial(torch.ops.aten.gelu_, approximate="tanh"),
    ),
    "gelu": (F.gelu, torch.ops.aten.gelu_),
    "relu": (F.relu, torch.relu_),
    "silu": (F.silu, partial(F.silu, inplace=True)),
}
"""Activations of the feed-forward layers, with gradients and in place; GPT-2's own first."""


@dataclass(frozen=True)
class GPT2Config:
    """The sizes of a GPT-2, with the names of the Hugging Face `config.json`."""

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    layer_norm_epsilon: float = 1e-5
    activation_function: str = "gelu_new"
    """One of `ACTIVATIONS`."""

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ConfigError: a size is below one, `n_embd` is not a multiple of `n_head`, or the
                activation is unknown.
        """
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.activation_function not in ACTIVATIONS:
            raise ConfigError(
                f"activation_function: expected one of {list(ACTIVATIONS)}, got "
                f"{self.activation_function!r}"
            )
        if self.n_embd % self.n_head:
            raise ConfigError(
                f"n_embd ({self.n_embd}) must be a multiple of n_head ({self.n_head})"
            )

    @property
    def inner(self) -> int:
        """Width of the feed-forward layer."""
        return self.n_inner or 4 * self.n_embd


class Embedding(nn.Embedding):
    """nn.Embedding without initialization, like `Linear`."""

    row_dtype: torch.dtype | None = None
    """Type to which rows are converted when they are looked up; the table itself keeps its type and
    may be memory-mapped."""

    def forward(self, ids: Tensor) -> Tensor:
        """(N,) -> (N, C)."""
        rows = table_rows(self.weight, ids)
        return rows if self.row_dtype is None else rows.to(self.row_dtype)

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""


class Attention(nn.Module):
    """Causal self-attention over a packed batch."""

    def __init__(self, config: GPT2Config, dropout: float = 0.0) -> None:
        """Create the layer; `dropout` is the share of outputs dropped in training."""
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = Linear(config.n_embd, config.n_embd)
        self.dropout = dropout

    def forward(self, hidden: Tensor, packed: Packed) -> Tensor:
        """(N, C) -> (N, C): each token attends to itself and earlier tokens of its message."""
        qkv = self.c_attn(hidden)  # (N, 3C)
        parts = [
            self._causal(part, g) for part, g in zip(packed.split(qkv), packed.groups, strict=True)
        ]
        mixed = parts[0] if len(parts) == 1 else torch.cat(parts)
        return self._drop(self.c_proj(mixed))

    def _causal(self, qkv: Tensor, group: Group) -> Tensor:
        channels, dtype = qkv.shape[-1] // 3, qkv.dtype
        # On CPUs the gradient of short attention in bf16 takes four times as long as in fp32.
        widened = dtype == torch.bfloat16 and qkv.requires_grad and qkv.device.type == "cpu"
        qkv = qkv.float() if widened else qkv
        # (rows * T, 3C) -> (3, rows, H, T, D)
        q, k, v = qkv.view(group.rows, group.length, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)
        with torch.autocast("cpu", enabled=False) if widened else nullcontext():
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (rows, H, T, D)
        mixed = mixed.transpose(1, 2).reshape(group.rows * group.length, channels)
        return mixed.to(dtype) if widened else mixed

    def last(self, hidden: Tensor, packed: Packed) -> Tensor:
        """(N, C) -> (B, C): the attention of each message's last token.

        The queries of other tokens are not computed.
        """
        channels = hidden.shape[-1]
        query, key_value = self.c_attn.halves(
            hidden.index_select(0, packed.last), hidden, channels
        )  # (B, C), (N, 2C)
        parts = []
        queries = torch.split_with_sizes(query, [g.rows for g in packed.groups])
        for g, group_query, group_key_value in zip(
            packed.groups, queries, packed.split(key_value), strict=True
        ):
            q = group_query.view(g.rows, 1, self.n_head, -1).transpose(1, 2)  # (rows, H, 1, D)
            k, v = group_key_value.view(g.rows, g.length, 2, self.n_head, -1).permute(2, 0, 3, 1, 4)
            # The only query is the last token, which may see every key: no causal mask.
            parts.append(F.scaled_dot_product_attention(q, k, v).reshape(g.rows, channels))
        return self._drop(self.c_proj(torch.cat(parts)))

    def _drop(self, mixed: Tensor) -> Tensor:
        return apply_dropout(mixed, self.dropout, self.training)


class MLP(nn.Module):
    """The feed-forward part of a block."""

    def __init__(self, config: GPT2Config, dropout: float = 0.0) -> None:
        """Create the layer; `dropout` is the share of outputs dropped in training."""
        super().__init__()
        self.c_fc = Linear(config.n_embd, config.inner)
        self.c_proj = Linear(config.inner, config.n_embd)
        self.activation_function = config.activation_function
        self.dropout = dropout

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        inner = self.c_fc(
            hidden
        )  # (..., 4C), the largest matrix: overwritten in place if no gradient is needed
        activate, in_place = ACTIVATIONS[self.activation_function]
        inner = activate(inner) if torch.is_grad_enabled() else in_place(inner)
        return apply_dropout(self.c_proj(inner), self.dropout, self.training)


class Block(nn.Module):
    """One transformer block."""

    def __init__(self, config: GPT2Config, dropout: float = 0.0) -> None:
        """Create the block; `dropout` is the share of each part's output dropped in training."""
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config, dropout)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config, dropout)

    def forward(self, hidden: Tensor, packed: Packed) -> Tensor:
        """(N, C) -> (N, C)."""
        hidden = hidden + self.attn(self.ln_1(hidden), packed)
        hidden = hidden + self.mlp(self.ln_2(hidden))
        return hidden

    def last(self, hidden: Tensor, packed: Packed) -> Tensor:
        """(N, C) -> (B, C): the outputs of each message's last token, in packed order."""
        rows: Tensor = hidden.index_select(0, packed.last) + self.attn.last(
            self.ln_1(hidden), packed
        )
        rows = rows + self.mlp(self.ln_2(rows))
        return rows


class MeanPoolingBlock(nn.Module):
    """A GPT-2 block that maps the last token's h to h + a * mean(ln_1(h_t)) without matrices.

    The equivalent ordinary block has zero queries and keys (uniform causal attention), identity
    values, a times the identity as projection, and a zero MLP. `tamis.gpt2.pooling` writes and
    recognizes that form. ln_1 is the old final LayerNorm.
    """

    def __init__(self, config: GPT2Config, factor: float) -> None:
        """Create the block; `factor` is a in the class docstring."""
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.factor = factor

    def _normed(self, hidden: Tensor) -> Tensor:
        # Always in fp32: in bf16, a sum over tokens times a would lose all digits.
        normed: Tensor = self.ln_1(hidden.float())
        return normed

    def forward(self, hidden: Tensor, packed: Packed) -> Tensor:
        """(N, C) -> (N, C) fp32: adds to each token the scaled mean of the tokens up to it."""
        parts = []
        for part, g in zip(packed.split(self._normed(hidden)), packed.groups, strict=True):
            sums = part.view(g.rows, g.length, -1).cumsum(1)  # (rows, T, C)
            counts = torch.arange(1, g.length + 1, device=sums.device, dtype=sums.dtype)
            parts.append((sums / counts[:, None]).flatten(0, 1))
        return hidden.float() + self.factor * torch.cat(parts)

    def last(self, hidden: Tensor, packed: Packed) -> Tensor:
        """(N, C) -> (B, C) fp32: the outputs of each message's last token, in packed order."""
        parts = packed.split(self._normed(hidden))
        means = [
            part.view(g.rows, g.length, -1).mean(1)
            for part, g in zip(parts, packed.groups, strict=True)
        ]
        return hidden.index_select(0, packed.last).float() + self.factor * torch.cat(means)


class GPT2(nn.Module):
    """The trunk: from the token ids of a packed batch to final hidden states.

    A new trunk has no weights: load them or call `initialise`.
    """

    def __init__(self, config: GPT2Config, *, dropout: float = 0.0) -> None:
        """Create the trunk; `dropout` applies in training, to embeddings and every block."""
        super().__init__()
        self.config = config
        self.wte = Embedding(config.vocab_size, config.n_embd)
        self.wpe = Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config, dropout) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.dropout = dropout

    def set_dropout(self, dropout: float) -> None:
        """Set the dropout of every part of the trunk."""
        for module in self.modules():
            if isinstance(module, GPT2 | Attention | MLP):
                module.dropout = dropout

    def cast(self, dtype: torch.dtype) -> GPT2:
        """Convert blocks and embedded rows to `dtype`, in place.

        The embedding tables, pooling and the final LayerNorm stay in fp32.
        """
        self.wte.row_dtype = self.wpe.row_dtype = dtype
        for block in self.h:
            if isinstance(block, Block):
                block.to(dtype)
        return self

    def embed(self, packed: Packed) -> Tensor:
        """(N, C): token embeddings plus position embeddings.

        Raises:
            DataError: a message is longer than the context.
        """
        if packed.longest > self.config.n_positions:
            raise DataError(
                f"a message has {packed.longest} tokens, but the model's context holds "
                f"{self.config.n_positions}; split it into windows"
            )
        return apply_dropout(
            self.wte(packed.ids) + self.wpe(packed.positions), self.dropout, self.training
        )

    def blocks(
        self, hidden: Tensor, packed: Packed, start: int = 0, stop: int | None = None
    ) -> Tensor:
        """(N, C) -> (N, C): blocks `start` to `stop` (exclusive) on all tokens."""
        for block in self.h[start:stop]:
            hidden = block(hidden, packed)
        return hidden

    def last(self, hidden: Tensor, packed: Packed, start: int = 0) -> Tensor:
        """(N, C) before block `start` -> (B, C) fp32: last tokens before ln_f, caller's order.

        The last block computes queries, projection and MLP only for the last tokens.
        """
        if start >= len(self.h):
            rows = hidden.index_select(0, packed.last)
        else:
            final: Block | MeanPoolingBlock = self.h[-1]  # type: ignore[assignment] # ModuleList knows no element type
            rows = final.last(self.blocks(hidden, packed, start, len(self.h) - 1), packed)
        return packed.restore(rows).float()

    def normed(self, rows: Tensor) -> Tensor:
        """(..., C) -> (..., C) fp32: the final LayerNorm, always in fp32."""
        normed: Tensor = self.ln_f(rows.float())
        return normed

    def forward(self, packed: Packed) -> Tensor:
        """(N, C): final hidden states of all tokens, in packed order."""
        return self.normed(self.blocks(self.embed(packed), packed))

    def next_token_logits(self, hidden: Tensor) -> Tensor:
        """(..., C) final hidden states -> (..., V) logits with the tied embedding matrix."""
        return F.linear(hidden, self.wte.weight)


class GPT2Classifier(nn.Module):
    """Trunk plus `score`, a linear layer without bias on the last token, as in transformers'
    GPT2ForSequenceClassification.
    """

    def __init__(self, transformer: GPT2, num_classes: int) -> None:
        """Create the classifier for K = `num_classes`; the head is drawn from N(0, 0.02), as all of
        GPT-2's matrices.
        """
        super().__init__()
        self.transformer = transformer
        self.score = Linear(transformer.config.n_embd, num_classes, bias=False)
        nn.init.normal_(self.score.weight, std=0.02)

    def forward(self, packed: Packed) -> Tensor:
        """(B, K) fp32 logits in the caller's order."""
        return self.head(self.transformer.last(self.transformer.embed(packed), packed))

    def head(self, rows: Tensor) -> Tensor:
        """(B, C) last tokens before ln_f -> (B, K) fp32 logits."""
        return F.linear(self.transformer.normed(rows), self.score.weight)


def initialise(model: GPT2, generator: torch.Generator) -> None:
    """Initialize as GPT-2: N(0, 0.02), residual projections over sqrt(2 * n_layer), zero biases."""
    residual = 0.02 / (2 * model.config.n_layer) ** 0.5
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if name.endswith("bias"):
                parameter.zero_()
            elif "ln_" in name:
                parameter.fill_(1.0)
            else:
                parameter.normal_(
                    0.0, residual if name.endswith("c_proj.weight") else 0.02, generator=generator
                )
