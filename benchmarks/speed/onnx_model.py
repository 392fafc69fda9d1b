"""GPT-2 with a classification head as an ONNX graph, built node by node, for ONNX Runtime and
OpenVINO.

Inputs: `ids` (B, T) int64, padded on the right with any id, and `last` (B,) int64, the position of
each row's last real token. Output: `logits` (B, K). Causal attention does not read later positions,
so padding needs no mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.gpt2.model import GPT2, Block, GPT2Classifier
from tamis.gpt2.packing import by_length

Ids = NDArray[np.int32]
OPSET = 20
"""The first opset with GELU as one node."""


class _Graph:
    """Nodes and constants of a graph; each node is named by its number."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        from onnx import helper

        names = [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, x: str, layer: Any) -> Any:
        weight = layer.weight.detach().numpy().T
        return self.node(
            "Add",
            self.node("MatMul", x, self.constant(weight)),
            self.constant(layer.bias.detach().numpy()),
        )

    def norm(self, x: str, layer: Any) -> Any:
        weight, bias = (self.constant(t.detach().numpy()) for t in (layer.weight, layer.bias))
        return self.node("LayerNormalization", x, weight, bias, axis=-1, epsilon=layer.eps)


def export(model: GPT2Classifier, path: Path) -> Path:
    """Write the graph of a classifier that reads the last token (no pooling block)."""
    import onnx
    from onnx import TensorProto, helper

    graph, trunk = _Graph(), model.transformer
    length = graph.node("Gather", graph.node("Shape", "ids"), graph.constant(np.array(1)))
    places = graph.node("Range", graph.constant(np.array(0)), length, graph.constant(np.array(1)))
    tables = [graph.constant(table.weight.detach().numpy()) for table in (trunk.wte, trunk.wpe)]
    x = graph.node(
        "Add", graph.node("Gather", tables[0], "ids"), graph.node("Gather", tables[1], places)
    )
    square = graph.node(
        "Concat", *[graph.node("Reshape", length, graph.constant(np.array([1])))] * 2, axis=0
    )
    filled = graph.node("Expand", graph.constant(np.array(-1e9, dtype=np.float32)), square)
    mask = graph.node("Trilu", filled, graph.constant(np.array(1)), upper=1)
    for block in trunk.h:
        assert isinstance(block, Block)
        x = _block(graph, x, block, trunk, mask)
    ends = graph.node("Unsqueeze", "last", graph.constant(np.array([1])))
    rows = graph.norm(graph.node("GatherND", x, ends, batch_dims=1), trunk.ln_f)
    graph.nodes.append(
        helper.make_node(
            "MatMul", [rows, graph.constant(model.score.weight.detach().numpy().T)], ["logits"]
        )
    )
    inputs = [
        helper.make_tensor_value_info(n, TensorProto.INT64, s)
        for n, s in (("ids", ["B", "T"]), ("last", ["B"]))
    ]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", model.score.out_features])
    ]
    built = helper.make_graph(graph.nodes, "gpt2", inputs, outputs, initializer=graph.constants)
    onnx.save(
        helper.make_model(built, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10),
        str(path),
    )
    return path


def _block(graph: _Graph, x: str, block: Block, trunk: GPT2, mask: str) -> Any:
    heads, width = trunk.config.n_head, trunk.config.n_embd // trunk.config.n_head
    qkv = graph.node(
        "Split",
        graph.linear(graph.norm(x, block.ln_1), block.attn.c_attn),
        outputs=3,
        axis=2,
        num_outputs=3,
    )
    apart, together = (
        graph.constant(np.array(shape)) for shape in ([0, 0, heads, width], [0, 0, heads * width])
    )
    orders = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    q, k, v = (
        graph.node("Transpose", graph.node("Reshape", t, apart), perm=p)
        for t, p in zip(qkv, orders, strict=True)
    )
    scaled = graph.node("Mul", q, graph.constant(np.array(width**-0.5, dtype=np.float32)))
    weights = graph.node(
        "Softmax", graph.node("Add", graph.node("MatMul", scaled, k), mask), axis=-1
    )
    mixed = graph.node(
        "Reshape",
        graph.node("Transpose", graph.node("MatMul", weights, v), perm=[0, 2, 1, 3]),
        together,
    )
    x = graph.node("Add", x, graph.linear(mixed, block.attn.c_proj))
    inner = graph.node(
        "Gelu", graph.linear(graph.norm(x, block.ln_2), block.mlp.c_fc), approximate="tanh"
    )
    return graph.node("Add", x, graph.linear(inner, block.mlp.c_proj))


def quantised(path: Path) -> Path:
    """Quantize the graph with ONNX Runtime's dynamic quantization: int8 weights per channel,
    activations per batch.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    out = path.with_name(f"{path.stem}-int8.onnx")
    quantize_dynamic(
        str(path),
        str(out),
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["MatMul"],
    )
    return out


Run = Callable[[Sequence[Ids]], NDArray[np.float32]]


def onnx_runtime(path: Path, *, threads: int, batch_tokens: int) -> Run:
    """Return a function that computes logits (N, K) with ONNX Runtime, in batches of similar
    lengths.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return _in_batches(
        lambda ids, last: session.run(None, {"ids": ids, "last": last})[0], batch_tokens
    )


def openvino(path: Path, *, threads: int, batch_tokens: int) -> Run:
    """Return the same with OpenVINO, in the type that it chooses for this CPU."""
    import openvino as ov

    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": threads})
    return _in_batches(lambda ids, last: compiled({"ids": ids, "last": last})[0], batch_tokens)


def openvino_type(path: Path) -> str:
    """Return the type that OpenVINO computes a graph in on this CPU, by tamis's name; empty if it
    has none.
    """
    import openvino as ov

    compiled = ov.Core().compile_model(str(path), "CPU", {})
    return {"f32": "fp32", "bf16": "bf16"}.get(
        compiled.get_property("INFERENCE_PRECISION_HINT").to_string(), ""
    )


def _in_batches(call: Callable[[Any, Any], Any], batch_tokens: int) -> Run:
    def run(messages: Sequence[Ids]) -> NDArray[np.float32]:
        lengths = np.array([len(ids) for ids in messages])
        found: list[Any] = [None] * len(messages)
        for rows in by_length(lengths, batch_tokens):
            ids = np.zeros((len(rows), int(lengths[rows].max())), dtype=np.int64)
            for place, row in enumerate(rows):
                ids[place, : lengths[row]] = messages[row]
            for row, logits in zip(rows, call(ids, lengths[rows] - 1), strict=True):
                found[row] = logits
        return np.stack(found)

    return run
