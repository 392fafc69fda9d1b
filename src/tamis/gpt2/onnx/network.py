"""A GPT-2 classifier as an ONNX model of standard operators, with dynamic shapes.

Inputs, for B texts of at most T tokens, padded on the right with any id:

    input_ids       (B, T) int64, T up to the context
    attention_mask  (B, T) int64, 1 for the tokens of a text, 0 for padding

Outputs, K classes and C channels:

    logits     (B, K) fp32
    embedding  (B, C) fp32, of length one: what the head reads

Without the embedding tables (`NetworkOptions.tables`) the first input is the sum of their rows,
`embedded` (B, T, C) fp32, for a program that has the tables anyway.

Causal attention never reads padding, so only the pooling uses the mask: it takes the last token, or
the mean over tokens. The mean is computed in fp32 without the factor of the pooling block
(`MeanPoolingBlock`): LN(h + a m) with epsilon e equals LN(h / a + m) with epsilon e / a^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, defs, helper

from tamis.errors import ConfigError
from tamis.gpt2.model import GPT2, Block, GPT2Classifier, MeanPoolingBlock
from tamis.gpt2.onnx import EMBEDDED, INPUTS, OUTPUTS
from tamis.gpt2.onnx.builder import Array, GraphBuilder, WeightFile
from tamis.gpt2.pooling import written_out

OPSET = 20
"""The first version with GELU as one operator."""
OLDEST_OPSET = 17
"""The first version with LayerNormalization."""
HIDDEN = -1e9
"""Added to the attention score of a token that may not be read."""
MOST_BYTES = 2**31 - 2**26
"""Largest model in one file: protobuf ends at 2 GiB, and the graph needs some of it."""
_ALL = slice(None)


@dataclass(frozen=True)
class NetworkOptions:
    """How a network is written."""

    opset: int = OPSET
    int8: frozenset[str] = frozenset()
    """matrices stored in 8 bits, by name (`matrix_names`)"""
    most_bytes: int = MOST_BYTES
    """of weights in one file; of more, they are stored beside it"""
    tables: bool = True
    """whether the embedding tables are in the graph"""


def check_opset(opset: int) -> None:
    """Check that the network can be written with a version of ONNX's operators.

    Raises:
        ConfigError: it cannot.
    """
    newest = defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise ConfigError(
            f"opset: expected a version from {OLDEST_OPSET} (the first with LayerNormalization) to "
            f"{newest} (the newest of the installed onnx), got {opset}; leave it out for {OPSET}"
        )


def matrix_names(model: GPT2Classifier) -> list[str]:
    """Return the names of the matrices that can be stored in 8 bits: the embedding table, and those
    of every block.
    """
    parts = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    blocks = _blocks(model.transformer)[0]
    return ["wte", *(f"h.{number}.{part}" for number in range(len(blocks)) for part in parts)]


def write_network(
    model: GPT2Classifier, path: Path, options: NetworkOptions, metadata: dict[str, str]
) -> list[Path]:
    """Write a classifier as an ONNX file, with its weights in it or in a file beside it.

    Args:
        model: the classifier, in fp32.
        path: the file; the name of the file with the weights has `.data` appended.
        options: operators, precision and size.
        metadata: entries of the file.

    Returns:
        The files.

    Raises:
        ConfigError: see `check_opset`.
    """
    check_opset(options.opset)
    data = path.with_name(f"{path.name}.data")
    large = sum(p.numel() * 4 for p in model.parameters()) > options.most_bytes
    weights = WeightFile(data, data.name) if large else None
    try:
        graph = GraphBuilder(options.opset, int8=options.int8, weights=weights)
        proto = _model(model, graph, tables=options.tables)
    finally:
        if weights is not None:
            weights.close()
    helper.set_model_props(proto, metadata)
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return [path, data] if large else [path]


def _model(model: GPT2Classifier, graph: GraphBuilder, *, tables: bool) -> ModelProto:
    add_network(model, graph, tables=tables)
    config = model.transformer.config
    value = helper.make_tensor_value_info
    inputs = [value(name, TensorProto.INT64, ["batch", "tokens"]) for name in INPUTS]
    if not tables:
        inputs[0] = value(EMBEDDED, TensorProto.FLOAT, ["batch", "tokens", config.n_embd])
    widths = (model.score.out_features, config.n_embd)
    outputs = [
        value(name, TensorProto.FLOAT, ["batch", width])
        for name, width in zip(OUTPUTS, widths, strict=True)
    ]
    built = helper.make_graph(
        graph.nodes, "gpt2_classifier", inputs, outputs, initializer=graph.initializers
    )
    opset = helper.make_opsetid("", graph.opset)
    oldest = helper.find_min_ir_version_for([opset])
    return helper.make_model(built, opset_imports=[opset], ir_version=oldest, producer_name="tamis")


def add_network(model: GPT2Classifier, graph: GraphBuilder, *, tables: bool = True) -> None:
    """Add the nodes of a classifier to a graph; `tables` as in `NetworkOptions`."""
    trunk = model.transformer
    blocks, pooling = _blocks(trunk)
    shape = graph.node("Shape", INPUTS[0] if tables else INPUTS[1])
    length = graph.node("Slice", shape, graph.integers(1), graph.integers(2))
    x = _embedded(graph, trunk, length) if tables else EMBEDDED
    square = graph.node("Concat", length, length, axis=0)
    hidden = graph.node("Expand", graph.number(HIDDEN), square)
    causal = graph.node("Trilu", hidden, graph.constant(np.int64(1), "one"), upper=1)
    mask = graph.node("Cast", INPUTS[1], to=TensorProto.FLOAT)  # (B, T)
    ends = _ends(graph)
    whole = blocks if pooling is not None else blocks[:-1]
    for number, block in enumerate(whole):
        x = _Block(graph, block, trunk, f"h.{number}").every(x, causal)
    if pooling is not None:
        rows, factor = _mean(graph, x, mask, pooling), pooling.factor
        rest = graph.node("Mul", _last(graph, x, ends), graph.number(1 / factor))
        rows = graph.node("Add", rows, rest)
    else:
        last = _Block(graph, blocks[-1], trunk, f"h.{len(whole)}")
        rows, factor = last.last(x, mask, ends), 1.0
    _head(graph, model, rows, trunk.ln_f.eps / factor**2)


def _embedded(graph: GraphBuilder, trunk: GPT2, length: str) -> str:
    """(B, T) ids -> (B, T, C): token embeddings plus position embeddings."""
    table = graph.weight(_numpy(trunk.wpe.weight), "wpe")
    positions = graph.node("Slice", table, graph.integers(0), length)
    return graph.node("Add", graph.rows(_numpy(trunk.wte.weight), "wte", INPUTS[0]), positions)


def _blocks(trunk: GPT2) -> tuple[list[Block], MeanPoolingBlock | None]:
    """The ordinary blocks, and a pooling block at the end. One in between is written out."""
    modules: list[Any] = list(trunk.h)
    pooling = modules.pop() if isinstance(modules[-1], MeanPoolingBlock) else None
    return [
        written_out(block, trunk.config) if isinstance(block, MeanPoolingBlock) else block
        for block in modules
    ], pooling


def _numpy(parameter: Any) -> Array:
    array: Array = parameter.detach().float().cpu().numpy()
    return array


def _ends(graph: GraphBuilder) -> str:
    """(B, 1): index of the last token of each text; 0 for a text without tokens."""
    count = graph.node("ReduceSum", INPUTS[1], graph.integers(1), keepdims=1)
    return graph.node("Max", graph.node("Sub", count, graph.integers(1)), graph.integers(0))


def _last(graph: GraphBuilder, x: str, ends: str) -> str:
    """(B, T, C) -> (B, C): the last token of each text."""
    return graph.node("GatherND", x, ends, batch_dims=1)


def _mean(graph: GraphBuilder, x: str, mask: str, pooling: MeanPoolingBlock) -> str:
    """(B, T, C) -> (B, C): the mean of ln_1 over the tokens of each text."""
    norm = pooling.ln_1
    weight, bias = _numpy(norm.weight), _numpy(norm.bias)
    normed = graph.layer_norm(x, weight, bias, epsilon=norm.eps, name="pooling.ln_1")
    masked = graph.node("Mul", normed, graph.node("Unsqueeze", mask, graph.integers(2)))
    count = graph.node("ReduceSum", mask, graph.integers(1), keepdims=1)
    return graph.node("Div", graph.reduce_sum(masked, 1), graph.node("Max", count, graph.number(1)))


def _head(graph: GraphBuilder, model: GPT2Classifier, rows: str, epsilon: float) -> None:
    """(B, C) -> both outputs. The affine part of ln_f belongs to the head here."""
    norm, score = model.transformer.ln_f, _numpy(model.score.weight).astype(np.float64)
    channels = score.shape[1]
    scale = np.full(channels, channels**-0.5, dtype=np.float32)
    zero = np.zeros(channels, dtype=np.float32)
    unit = graph.layer_norm(rows, scale, zero, epsilon=epsilon)
    embedding = graph.node("Identity", unit, output=OUTPUTS[1])
    weight = (score * _numpy(norm.weight)).T * channels**0.5
    bias = score @ _numpy(norm.bias).astype(np.float64)
    product = graph.node("MatMul", embedding, graph.constant(weight.astype(np.float32), "head"))
    bias_name = graph.constant(bias.astype(np.float32), "head.bias")
    graph.node("Add", product, bias_name, output=OUTPUTS[0])


class _Block:
    """The nodes of one transformer block."""

    def __init__(self, graph: GraphBuilder, block: Block, trunk: GPT2, name: str) -> None:
        self.graph, self.block, self.name = graph, block, name
        self.heads, self.channels = trunk.config.n_head, trunk.config.n_embd
        self.activation = trunk.config.activation_function

    def every(self, x: str, causal: str) -> str:
        """(B, T, C) -> (B, T, C): the block for all tokens."""
        normed = self.norm(x, "ln_1")
        q, k, v = self.graph.split(self.linear(normed, "attn.c_attn"), 3, 2)
        mixed = self.attention(q, k, v, causal)
        return self.rest(x, mixed)

    def last(self, x: str, mask: str, ends: str) -> str:
        """(B, T, C) -> (B, C): the block for the last token of each text, which reads all its
        tokens.
        """
        graph, normed = self.graph, self.norm(x, "ln_1")
        own = graph.node("Unsqueeze", _last(graph, normed, ends), graph.integers(1))  # (B, 1, C)
        q = self.linear(own, "attn.c_attn", slice(0, self.channels), ".query")
        both = self.linear(normed, "attn.c_attn", slice(self.channels, None), ".key_value")
        k, v = graph.split(both, 2, 2)
        padding = graph.node("Sub", graph.number(1), mask)
        hidden = graph.node("Mul", padding, graph.number(HIDDEN))
        mixed = self.attention(q, k, v, graph.node("Unsqueeze", hidden, graph.integers(1, 2)))
        row = graph.node("Unsqueeze", _last(graph, x, ends), graph.integers(1))
        return graph.node("Squeeze", self.rest(row, mixed), graph.integers(1))

    def rest(self, x: str, mixed: str) -> str:
        """Everything after attention: projection, feed-forward layer, residuals."""
        graph = self.graph
        x = graph.node("Add", x, self.linear(mixed, "attn.c_proj"))
        inner = self.linear(self.norm(x, "ln_2"), "mlp.c_fc")
        inner = graph.activation(inner, self.activation)
        return graph.node("Add", x, self.linear(inner, "mlp.c_proj"))

    def attention(self, q: str, k: str, v: str, hidden: str) -> str:
        """(B, Q, C) queries, (B, T, C) keys and values -> (B, Q, C)."""
        graph, width = self.graph, self.channels // self.heads
        apart = graph.integers(0, 0, self.heads, width)
        orders = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
        query, key, value = (
            graph.node("Transpose", graph.node("Reshape", part, apart), perm=order)
            for part, order in zip((q, k, v), orders, strict=True)
        )
        scaled = graph.node("Mul", query, graph.number(width**-0.5))
        scores = graph.node("Add", graph.node("MatMul", scaled, key), hidden)
        mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)
        together = graph.node("Transpose", mixed, perm=[0, 2, 1, 3])
        return graph.node("Reshape", together, graph.integers(0, 0, self.channels))

    def norm(self, x: str, part: str) -> str:
        """Apply one of the block's LayerNorms."""
        layer = getattr(self.block, part)
        return self.graph.layer_norm(
            x,
            _numpy(layer.weight),
            _numpy(layer.bias),
            epsilon=layer.eps,
            name=f"{self.name}.{part}",
        )

    def linear(self, x: str, part: str, outputs: slice = _ALL, part_of: str = "") -> str:
        """Apply some outputs of one of the block's linear layers."""
        layer = self.block.get_submodule(part)
        name = f"{self.name}.{part}"
        return self.graph.linear(
            x,
            _numpy(layer.weight)[outputs],
            _numpy(layer.bias)[outputs],
            name,
            part_of,
        )
