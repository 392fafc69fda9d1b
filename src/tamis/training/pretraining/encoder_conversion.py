"""Rewrite a BERT sentence encoder as a GPT-2: initial weights that already encode meaning.

A post-LayerNorm block has no exact pre-LayerNorm form, but the standard deviation before each
LayerNorm is nearly the same for all content tokens. So the queries, keys and values and the first
MLP matrix are copied, each LayerNorm gets the encoder's scale, and the two projections into the
residual stream of each block are fitted by ridge regression to the encoder's next hidden state
under a causal mask, block by block.

Shapes: N tokens of a packed batch, D channels, V pieces of the GPT-2's byte-level BPE.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tamis.errors import ConfigError
from tamis.files import sha256
from tamis.gpt2.model import GPT2, Block, GPT2Config
from tamis.gpt2.packing import Packed, by_length, pack
from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining.sentence_encoder import FILES, SentenceEncoder, mix_heads

FIT_TEXTS, FIT_WORDS = 4096, 32
"""Number of texts that the projections are fitted on, and their maximum length in words."""
FIRST_POSITIONS = 20
"""Positions averaged when the standard deviation of a token vector is computed."""
ATTENTION_RIDGE, MLP_RIDGE = 1e-3, 1e-4
"""Penalties, as shares of the mean diagonal of the Gram matrix."""
SCALES = tuple(2.0**-power for power in range(4))
"""Scales tried for the final LayerNorm. A smaller one would make AdamW's fixed step size too large
for its weights."""
SCALE_TOKENS = 4096
"""Number of tokens they are tried on."""
_BATCH_TOKENS = 8192


@dataclass(frozen=True)
class EncoderStart:
    """A sentence encoder to begin from."""

    folder: Path
    blocks: tuple[int, ...] | None = None
    """indices of the blocks to keep; None keeps all"""

    def fingerprint(self) -> str:
        """SHA-256 over the encoder's configuration, weights, word pieces and the kept blocks."""
        digest = hashlib.sha256(repr(self.blocks).encode())
        for name in FILES:
            digest.update(sha256(self.folder / name).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Conversion:
    """A converted encoder."""

    model: GPT2
    block_errors: list[float]
    """relative squared error of each block's output on the content tokens that it was fitted on"""


@dataclass
class _Batch:
    """Packed texts with the current states of the encoder and of the GPT-2."""

    packed: Packed
    content: Tensor
    """(N,) False for the first token of each text"""
    encoder: Tensor
    """(N, D) input of the encoder's next block"""
    stream: Tensor
    """(N, D) residual stream of the GPT-2"""


class _Ridge:
    """Ridge regression without a penalty on the bias, accumulated over batches."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.count = 0
        self.input_sum, self.output_sum = (
            torch.zeros(n, dtype=torch.float64) for n in (inputs, outputs)
        )
        self.gram = torch.zeros(inputs, inputs, dtype=torch.float64)
        self.cross = torch.zeros(inputs, outputs, dtype=torch.float64)

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """(n, inputs) and (n, outputs) of some tokens."""
        inputs, outputs = inputs.double(), outputs.double()
        self.count += len(inputs)
        self.input_sum += inputs.sum(0)
        self.output_sum += outputs.sum(0)
        self.gram += inputs.T @ inputs
        self.cross += inputs.T @ outputs

    def solve(self, penalty: float) -> tuple[Tensor, Tensor]:
        """(outputs, inputs) weight, (outputs,) bias; `penalty` is a share of the mean diagonal."""
        mean_in, mean_out = self.input_sum / self.count, self.output_sum / self.count
        gram = self.gram - self.count * torch.outer(mean_in, mean_in)
        cross = self.cross - self.count * torch.outer(mean_in, mean_out)
        gram += penalty * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
        weight = torch.linalg.solve(gram, cross).T
        return weight.float().contiguous(), (mean_out - weight @ mean_in).float()


def convert_encoder(
    encoder: SentenceEncoder,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    blocks: Sequence[int] | None = None,
    n_positions: int = 256,
) -> Conversion:
    """Rewrite an encoder as a GPT-2 over another tokenizer.

    Args:
        encoder: where the weights come from.
        tokenizer: the GPT-2's, with a leading `<|endoftext|>` (`Tokenizer.prepared(add_bos=True)`).
        texts: some thousand short texts that the projections are fitted on.
        blocks: ascending indices of the encoder's blocks to keep; by default all. A kept block is
            fitted to the state behind the omitted blocks that follow it.
        n_positions: context of the GPT-2; at most that of the encoder.

    Raises:
        ConfigError: `blocks` is empty, not ascending or out of range, or the context is longer than
            the encoder's.
    """
    layers = encoder.config.num_hidden_layers
    kept = list(range(layers)) if blocks is None else list(blocks)
    if not kept or kept != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= layers:
        raise ConfigError(
            f"blocks {','.join(map(str, kept)) or '(none)'}: expected ascending numbers from 0 to "
            f"{layers - 1}"
        )
    if n_positions > encoder.config.max_position_embeddings:
        raise ConfigError(
            f"a context of {n_positions} tokens: {encoder.folder} has "
            f"{encoder.config.max_position_embeddings} positions; lower n_positions"
        )
    config = GPT2Config(
        tokenizer.size,
        n_positions,
        encoder.config.hidden_size,
        len(kept),
        encoder.config.num_attention_heads,
        n_inner=encoder.config.intermediate_size,
        layer_norm_epsilon=encoder.config.layer_norm_eps,
    )
    model = GPT2(config)
    vectors = piece_vectors(encoder, tokenizer)
    errors = []
    with torch.no_grad():
        _set_embeddings(model, encoder, vectors)
        batches = _batches(model, encoder, vectors, tokenizer, texts)
        # Each block is fitted to the input of the next kept one.
        targets = [*kept[1:], layers]
        for block, source, target in zip(model.h, kept, targets, strict=True):
            assert isinstance(block, Block)
            errors.append(_fit_block(block, encoder, batches, source, target))
        _set_norm(model.ln_f, batches)
        _scale_for_prediction(model, batches)
    return Conversion(model, errors)


def piece_vectors(encoder: SentenceEncoder, tokenizer: Tokenizer) -> Tensor:
    """(V, D) for each piece, the mean vector of the word pieces of its text.

    A piece without text of its own (white space, part of a character) gets the mean over all
    pieces. `<|endoftext|>` begins a text as `[CLS]` does in the encoder, and gets its vector.
    """
    unknown = encoder.pieces.token_to_id("[UNK]")
    texts = [tokenizer.decode([i]).strip() for i in range(tokenizer.size)]
    found = [
        [i for i in encoded.ids if i != unknown]
        for encoded in encoder.pieces.encode_batch(texts, add_special_tokens=False)
    ]
    rows = torch.stack(
        [
            encoder.words[ids].mean(0)
            if ids
            else encoder.words.new_full((encoder.words.shape[1],), float("nan"))
            for ids in found
        ]
    )
    without = torch.isnan(rows[:, 0])
    rows[without] = rows[~without].mean(0)
    if tokenizer.end_of_text is not None:
        rows[tokenizer.end_of_text] = encoder.words[encoder.start_piece]
    return rows


def _set_embeddings(model: GPT2, encoder: SentenceEncoder, vectors: Tensor) -> None:
    """Embeddings whose sum approximates the encoder's embedding LayerNorm."""
    gain, bias = encoder.embedding_norm.weight, encoder.embedding_norm.bias
    positions = encoder.positions[: model.config.n_positions]
    spread = (vectors + positions[:FIRST_POSITIONS].mean(0)).std(
        1, correction=0, keepdim=True
    )  # (V, 1)
    model.wte.weight.copy_((vectors - vectors.mean(1, keepdim=True)) / spread * gain)
    model.wpe.weight.copy_(
        (positions - positions.mean(1, keepdim=True)) / spread.median() * gain + bias
    )


def _batches(
    model: GPT2,
    encoder: SentenceEncoder,
    vectors: Tensor,
    tokenizer: Tokenizer,
    texts: Sequence[str],
) -> list[_Batch]:
    ids = [row[: model.config.n_positions] for row in tokenizer.encode(list(texts)[:FIT_TEXTS])]
    found = []
    for rows in by_length(np.array([len(row) for row in ids]), _BATCH_TOKENS):
        packed = pack([ids[row] for row in rows])
        content = packed.positions > 0
        found.append(
            _Batch(
                packed,
                content,
                encoder.embed(vectors[packed.ids], packed.positions),
                model.embed(packed),
            )
        )
    return found


def _fit_block(
    block: Block, encoder: SentenceEncoder, batches: Sequence[_Batch], source: int, target: int
) -> float:
    """Copy the encoder's block `source` into `block` and fit its projections to the encoder's state
    before block `target`. Returns the relative squared error.
    """
    theirs = encoder.blocks[source]
    _set_norm(block.ln_1, batches)
    block.attn.c_attn.weight.copy_(theirs.qkv.weight)
    block.attn.c_attn.bias.copy_(theirs.qkv.bias)
    residuals, outputs = [], []
    for batch in batches:
        states = encoder.run_block(source, batch.encoder, batch.packed, causal=True)
        residuals.append(states.residual)
        for number in range(source + 1, target):  # the omitted blocks
            states = encoder.run_block(number, states.output, batch.packed, causal=True)
        outputs.append(states.output)
        batch.encoder = states.output

    def mixed(batch: _Batch) -> Tensor:
        return mix_heads(
            block.attn.c_attn(block.ln_1(batch.stream)),
            batch.packed,
            block.attn.n_head,
            causal=True,
        )

    _fit_projection(block.attn.c_proj, batches, residuals, mixed, ATTENTION_RIDGE)
    block.ln_2.weight.copy_(theirs.attention_norm.weight)
    block.ln_2.bias.copy_(theirs.attention_norm.bias)
    block.mlp.c_fc.weight.copy_(theirs.inner.weight)
    block.mlp.c_fc.bias.copy_(theirs.inner.bias)

    def inner(batch: _Batch) -> Tensor:
        return F.gelu(block.mlp.c_fc(block.ln_2(batch.stream)), approximate="tanh")

    _fit_projection(block.mlp.c_proj, batches, outputs, inner, MLP_RIDGE)
    return _relative_error(batches, outputs)


def _fit_projection(
    layer: torch.nn.Linear,
    batches: Sequence[_Batch],
    aims: Sequence[Tensor],
    inputs: Callable[[_Batch], Tensor],
    penalty: float,
) -> None:
    """Fit `layer` so that stream + output is closest to the aims; then add the output."""
    ridge = _Ridge(layer.in_features, layer.out_features)
    for batch, aim in zip(batches, aims, strict=True):
        ridge.add(inputs(batch)[batch.content], (aim - batch.stream)[batch.content])
    weight, bias = ridge.solve(penalty)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    for batch in batches:
        batch.stream = batch.stream + layer(inputs(batch))


def _set_norm(norm: torch.nn.LayerNorm, batches: Sequence[_Batch]) -> None:
    """Set a LayerNorm to keep the stream's scale: gain = median deviation, bias = mean."""
    stream = torch.cat([batch.stream[batch.content] for batch in batches])
    norm.weight.fill_(stream.std(1, correction=0).median())
    norm.bias.fill_(stream.mean())


def _scale_for_prediction(model: GPT2, batches: Sequence[_Batch]) -> None:
    """Scale the final LayerNorm to the lowest next-token loss before training.

    The encoder's states predict the next token badly, and at their original scale with high
    confidence. The pooled state is normalized afterwards, so its direction does not change.
    """
    states, targets = [], []
    for batch in batches:
        follows = torch.ones_like(batch.content)
        follows[batch.packed.last] = False
        places = torch.nonzero(follows).squeeze(1)
        states.append(model.ln_f(batch.stream[places]))
        targets.append(batch.packed.ids[places + 1])
    some = slice(None, None, max(1, sum(map(len, targets)) // SCALE_TOKENS))
    logits, wanted = model.next_token_logits(torch.cat(states)[some]), torch.cat(targets)[some]
    losses = [float(F.cross_entropy(logits * scale, wanted)) for scale in SCALES]
    best = SCALES[int(np.argmin(losses))]
    model.ln_f.weight.mul_(best)
    model.ln_f.bias.mul_(best)


def _relative_error(batches: Sequence[_Batch], aims: Sequence[Tensor]) -> float:
    """Squared error of the stream as a share of the aims' variance, over content tokens."""
    aimed = torch.cat([aim[batch.content] for batch, aim in zip(batches, aims, strict=True)])
    stream = torch.cat([batch.stream[batch.content] for batch in batches])
    return float((stream - aimed).square().sum() / (aimed - aimed.mean(0)).square().sum())
