"""A BERT sentence encoder read from its folder, and its hidden states on a packed batch.

The states are computed here and not by `transformers` because the conversion
(encoder_conversion.py) needs them block by block, under a causal mask, from the token vectors of
another tokenizer. Without the mask they equal those of `transformers.BertModel` (tested).

Shapes: N tokens of a packed batch, D channels of the encoder, H heads, I inner channels.
Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers" (2019); transformers
v5 models/bert.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer as WordPieces
from torch import Tensor
from torch.nn import functional as F

from tamis.errors import CheckpointError
from tamis.gpt2.packing import Packed
from tamis.gpt2.tensor_files import read_json

FILES = ("config.json", "model.safetensors", "tokenizer.json")
"""Files that an encoder's folder must contain."""


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of an encoder, in the names of its `config.json`."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    layer_norm_eps: float


@dataclass(frozen=True)
class Affine:
    """A linear layer, or gain and bias of a LayerNorm."""

    weight: Tensor
    bias: Tensor

    def __call__(self, hidden: Tensor) -> Tensor:
        """(..., in) -> (..., out) as a linear layer."""
        return F.linear(hidden, self.weight, self.bias)

    def norm(self, hidden: Tensor, eps: float) -> Tensor:
        """(..., D) -> (..., D) as a LayerNorm."""
        return F.layer_norm(hidden, hidden.shape[-1:], self.weight, self.bias, eps)


@dataclass(frozen=True)
class EncoderBlock:
    """One post-LayerNorm block: y = LN(x + attention(x)), next x = LN(y + MLP(y))."""

    qkv: Affine
    """(3D, D) queries, keys and values one under the other"""
    attention_out: Affine
    attention_norm: Affine
    inner: Affine
    """(I, D)"""
    outer: Affine
    """(D, I)"""
    output_norm: Affine


@dataclass(frozen=True)
class BlockStates:
    """What one block makes of its input, (N, D) each."""

    residual: Tensor
    """x + attention(x), before the LayerNorm"""
    output: Tensor
    """the next block's input"""


@dataclass(frozen=True)
class SentenceEncoder:
    """A BERT encoder whose sentence vector is the mean of its last states."""

    folder: Path
    config: EncoderConfig
    words: Tensor
    """(pieces, D) word-piece vectors"""
    positions: Tensor
    """(max_position_embeddings, D) position vectors, the vector of the first segment added"""
    embedding_norm: Affine
    blocks: tuple[EncoderBlock, ...]
    pieces: WordPieces
    start_piece: int
    """id of `[CLS]`, which begins every text"""

    def embed(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """(N, D) token vectors at (N,) positions -> (N, D) the first block's input."""
        return self.embedding_norm.norm(
            vectors + self.positions[positions], self.config.layer_norm_eps
        )

    def run_block(
        self, number: int, hidden: Tensor, packed: Packed, *, causal: bool
    ) -> BlockStates:
        """One block on a packed batch; with `causal` a token attends to no later token."""
        block, eps = self.blocks[number], self.config.layer_norm_eps
        mixed = mix_heads(block.qkv(hidden), packed, self.config.num_attention_heads, causal=causal)
        residual = hidden + block.attention_out(mixed)
        middle = block.attention_norm.norm(residual, eps)
        outer = block.outer(F.gelu(block.inner(middle)))
        return BlockStates(residual, block.output_norm.norm(middle + outer, eps))


def mix_heads(qkv: Tensor, packed: Packed, heads: int, *, causal: bool) -> Tensor:
    """(N, 3D) queries, keys, values -> (N, D) attention output of all heads, unprojected."""
    parts = []
    for part, group in zip(packed.split(qkv), packed.groups, strict=True):
        q, k, v = part.view(group.rows, group.length, 3, heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        parts.append(mixed.transpose(1, 2).reshape(group.rows * group.length, -1))
    return torch.cat(parts)


def read_sentence_encoder(folder: Path | str) -> SentenceEncoder:
    """Read a sentence-transformers or transformers folder of a BERT encoder; nothing is fetched.

    Raises:
        CheckpointError: a file is missing or damaged, the architecture is not BERT's (absolute
            positions, GELU), or the sentence vector is not the mean over tokens.
    """
    folder = Path(folder).expanduser()
    for name in FILES:
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} is not a sentence encoder that can be converted: {name} is missing"
            )
    settings = read_json(folder / "config.json")
    _check_architecture(folder, settings)
    try:
        state = {
            name.removeprefix("bert."): tensor.float()
            for name, tensor in load_file(folder / "model.safetensors").items()
        }
        pieces = WordPieces.from_file(str(folder / "tokenizer.json"))
        pieces.no_padding()
        pieces.no_truncation()
        config = EncoderConfig(
            **{name: settings[name] for name in EncoderConfig.__dataclass_fields__}
        )
        start = pieces.token_to_id("[CLS]")
        if start is None:
            raise CheckpointError(
                f"{folder}: the tokenizer has no [CLS]; only BERT's word pieces can be converted"
            )
        return SentenceEncoder(
            folder,
            config,
            words=state["embeddings.word_embeddings.weight"],
            positions=state["embeddings.position_embeddings.weight"]
            + state["embeddings.token_type_embeddings.weight"][0],
            embedding_norm=_affine(state, "embeddings.LayerNorm"),
            blocks=tuple(
                _block(state, f"encoder.layer.{i}") for i in range(config.num_hidden_layers)
            ),
            pieces=pieces,
            start_piece=start,
        )
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{folder}: the encoder cannot be read ({error}); fetch or save it again"
        ) from error


def _check_architecture(folder: Path, settings: dict[str, Any]) -> None:
    wanted = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for name, value in wanted.items():
        found = settings.get(name, value)
        if found != value:
            raise CheckpointError(
                f"{folder}: {name} is {found!r}, but only BERT encoders with {name} = {value!r} "
                "can be rewritten as a GPT-2; any sentence-transformers model can be a --teacher"
            )
    pooling = folder / "1_Pooling" / "config.json"
    if pooling.is_file() and not read_json(pooling).get("pooling_mode_mean_tokens", True):
        raise CheckpointError(
            f"{folder}: the sentence vector is not the mean over tokens (1_Pooling/config.json); "
            "only encoders with mean pooling can be rewritten as a GPT-2"
        )


def _affine(state: dict[str, Tensor], name: str) -> Affine:
    return Affine(state[f"{name}.weight"], state[f"{name}.bias"])


def _block(state: dict[str, Tensor], prefix: str) -> EncoderBlock:
    parts: Sequence[Affine] = [
        _affine(state, f"{prefix}.attention.self.{part}") for part in ("query", "key", "value")
    ]
    return EncoderBlock(
        qkv=Affine(
            torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
        ),
        attention_out=_affine(state, f"{prefix}.attention.output.dense"),
        attention_norm=_affine(state, f"{prefix}.attention.output.LayerNorm"),
        inner=_affine(state, f"{prefix}.intermediate.dense"),
        outer=_affine(state, f"{prefix}.output.dense"),
        output_norm=_affine(state, f"{prefix}.output.LayerNorm"),
    )
