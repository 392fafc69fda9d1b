"""Nodes and constants of an ONNX graph, and the two ways in which a graph stores a matrix.

Weights that 16-bit floats represent exactly are stored as such: the same numbers in half the file.
8-bit matrices have one scale per output channel, and their inputs one scale per token, so that the
score of a text does not depend on other texts of its batch. Sources: https://onnx.ai/onnx/operators
and onnxruntime's "Quantize ONNX Models".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
WEIGHT_LEVELS = 64
"""Largest 8-bit weight. Processors without VNNI add two products of a weight and an unsigned 8-bit
input in 16 bits: 2 * 255 * 64 fits."""
INPUT_LEVELS = 127
"""Largest 8-bit input, above and below zero."""
_ZERO_POINT = 128
_SMALL = 1024
"""Numbers below which an array is stored in its own type."""
_ALIGNMENT = 4096
"""Bytes; external tensors begin at a multiple of it, so that they can be memory-mapped."""


class WeightFile:
    """A file beside the graph for its large tensors."""

    def __init__(self, path: Path, name: str) -> None:
        """Open the file `path`; the graph refers to it by `name`."""
        self.file, self.name = path.open("wb"), name

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def store(self, value: Array, name: str) -> TensorProto:
        """Write an array, and return the tensor that refers to it."""
        self.file.write(bytes(-self.file.tell() % _ALIGNMENT))
        offset = self.file.tell()
        np.ascontiguousarray(value).tofile(self.file)
        tensor = TensorProto(
            name=name, data_type=helper.np_dtype_to_tensor_dtype(value.dtype), dims=value.shape
        )
        tensor.data_location = TensorProto.EXTERNAL
        facts = {"location": self.name, "offset": offset, "length": value.nbytes}
        for key, fact in facts.items():
            tensor.external_data.add(key=key, value=str(fact))
        return tensor


class GraphBuilder:
    """Collects nodes and constants. Each method returns the name of its result."""

    def __init__(
        self, opset: int, *, int8: frozenset[str] = frozenset(), weights: WeightFile | None = None
    ) -> None:
        """Begin a graph.

        Args:
            opset: version of ONNX's operators.
            int8: names of the matrices to store in 8 bits.
            weights: file for large tensors; None: everything is in the graph.
        """
        self.opset, self.int8 = opset, int8
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._weights, self._known = weights, {""}

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output."""
        name = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def split(self, x: str, parts: int, axis: int) -> list[str]:
        """Add a node that splits x into equal parts."""
        names = [f"Split_{len(self.nodes)}_{part}" for part in range(parts)]
        count: dict[str, Any] = {"num_outputs": parts} if self.opset >= 18 else {}
        self.nodes.append(helper.make_node("Split", [x], names, name=names[0], axis=axis, **count))
        return names

    def constant(self, value: Any, name: str | None = None) -> str:
        """Add a constant as it is; a name that is already known is not added again."""
        array = np.asarray(value, order="C")
        name = name or f"constant_{len(self.initializers)}"
        if name not in self._known:
            outside = self._weights is not None and array.size > _SMALL
            self.initializers.append(
                self._weights.store(array, name)
                if outside and self._weights is not None
                else numpy_helper.from_array(array, name)
            )
            self._known.add(name)
        return name

    def number(self, value: float) -> str:
        """Add a float constant."""
        return self.constant(np.float32(value), f"number_{np.float32(value)!s}")

    def integers(self, *values: int) -> str:
        """Add a vector of integers."""
        return self.constant(np.array(values, dtype=np.int64), f"integers_{values}")

    def weight(self, value: Array, name: str) -> str:
        """Add fp32 weights."""
        small = as_half(value)
        if small is None:
            return self.constant(value, name)
        return self.node("Cast", self.constant(small, name), to=TensorProto.FLOAT)

    def rows(self, value: Array, name: str, ids: str) -> str:
        """Look up rows of an embedding table: (V, C) and (...) to (..., C)."""
        if name in self.int8:
            levels, scale = quantized(value.T)
            found = self.node("Gather", self.constant(levels.T.copy(), f"{name}.int8"), ids)
            scales = self.node("Gather", self.constant(scale[:, None], f"{name}.scale"), ids)
            return self.node("Mul", self._float(found), scales)
        small = as_half(value)
        table = self.constant(value if small is None else small, name)
        found = self.node("Gather", table, ids)
        return found if small is None else self._float(found)

    def linear(self, x: str, weight: Array, bias: Array, name: str, part: str = "") -> str:
        """Apply a linear layer, or the `part` of its outputs that is given, to the last axis of x;
        `weight` (outputs, inputs), `bias` (outputs,).
        """
        stored = f"{name}{part}"
        if name in self.int8:
            product = self._int8_product(x, weight, stored)
        else:
            matrix = self.weight(np.ascontiguousarray(weight.T), f"{stored}.weight")
            product = self.node("MatMul", x, matrix)
        return self.node("Add", product, self.constant(bias, f"{stored}.bias"))

    def layer_norm(
        self, x: str, weight: Array, bias: Array, *, epsilon: float, name: str | None = None
    ) -> str:
        """Normalize the last axis of x."""
        parts = {"weight": weight, "bias": bias}
        constants = [self.constant(v, name and f"{name}.{k}") for k, v in parts.items()]
        return self.node("LayerNormalization", x, *constants, axis=-1, epsilon=epsilon)

    def activation(self, x: str, name: str) -> str:
        """Apply one of `tamis.gpt2.model.ACTIVATIONS`."""
        if name == "relu":
            return self.node("Relu", x)
        if name == "silu":
            return self.node("Mul", x, self.node("Sigmoid", x))
        if self.opset >= 20:
            return self.node("Gelu", x, approximate="tanh" if name == "gelu_new" else "none")
        if name == "gelu_new":
            cube = self.node("Mul", self.node("Mul", x, x), x)
            inner = self.node("Add", x, self.node("Mul", cube, self.number(0.044715)))
            curve = self.node("Tanh", self.node("Mul", inner, self.number((2 / np.pi) ** 0.5)))
        else:
            curve = self.node("Erf", self.node("Mul", x, self.number(0.5**0.5)))
        gate = self.node("Mul", self.node("Add", curve, self.number(1)), self.number(0.5))
        return self.node("Mul", x, gate)

    def reduce_sum(self, x: str, axis: int) -> str:
        """Sum over one axis, which disappears."""
        return self.node("ReduceSum", x, self.integers(axis), keepdims=0)

    def _int8_product(self, x: str, weight: Array, name: str) -> str:
        levels, scale = quantized(weight.T)
        largest = self._largest(self.node("Abs", x))
        step = self.node(
            "Mul", self.node("Max", largest, self.number(1e-12)), self.number(1 / INPUT_LEVELS)
        )
        rounded = self.node("Round", self.node("Div", x, step))
        shifted = self.node("Add", rounded, self.number(_ZERO_POINT))
        zero = self.constant(np.uint8(_ZERO_POINT), "zero_point")
        product = self.node(
            "MatMulInteger",
            self.node("Cast", shifted, to=TensorProto.UINT8),
            self.constant(levels, f"{name}.int8"),
            zero,
        )
        scaled = self.node("Mul", self._float(product), step)
        return self.node("Mul", scaled, self.constant(scale, f"{name}.scale"))

    def _largest(self, x: str) -> str:
        if self.opset >= 18:
            return self.node("ReduceMax", x, self.integers(-1), keepdims=1)
        return self.node("ReduceMax", x, axes=[-1], keepdims=1)

    def _float(self, x: str) -> str:
        return self.node("Cast", x, to=TensorProto.FLOAT)


def as_half(value: Array) -> Array | None:
    """Return fp32 weights as 16-bit floats with the same values; None if there are none, or few
    weights.
    """
    if value.size < _SMALL:
        return None
    with np.errstate(over="ignore"):
        small = value.astype(np.float16)
    return small if np.array_equal(small.astype(np.float32), value) else None


def quantized(matrix: Array) -> tuple[Array, Array]:
    """Return (inputs, outputs) 8-bit weights and the (outputs,) scales of a matrix."""
    largest = np.maximum(np.abs(matrix).max(0), np.float32(1e-12))
    scale = (largest / WEIGHT_LEVELS).astype(np.float32)
    return np.round(matrix / scale).astype(np.int8), scale
