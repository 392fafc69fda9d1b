"""The ONNX graph of a classifier: equal to the network for every pooling, activation, opset and
shape; files, metadata, and how its 8-bit matrices round.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from tamis.errors import ConfigError
from tamis.gpt2.model import ACTIVATIONS, GPT2Classifier, MeanPoolingBlock
from tamis.gpt2.onnx import INPUTS, OUTPUTS
from tamis.gpt2.onnx.builder import as_half, quantized
from tamis.gpt2.onnx.network import NetworkOptions, matrix_names, write_network
from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import add_mean_pooling, unfolded
from tamis.head.linear_head import length_one
from tests import tiny

MESSAGES = [np.arange(n, dtype=np.int32) * 7 % 37 for n in (5, 1, 23, 2, 11, 5)]


def pooled(classes: int = 3) -> GPT2Classifier:
    model = tiny.classifier(classes)
    with torch.no_grad():  # a mean of LayerNorms with affine parts of their own
        model.transformer.ln_f.weight.mul_(1.7).add_(0.1)
    add_mean_pooling(model.transformer)
    return model


def inputs(messages: list[NDArray[Any]], filler: int = 36, more: int = 0) -> dict[str, Any]:
    """A padded batch, with `more` columns than the longest message needs."""
    width = max(map(len, messages)) + more
    ids = np.full((len(messages), width), filler, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, message in enumerate(messages):
        ids[row, : len(message)], mask[row, : len(message)] = message, 1
    return dict(zip(INPUTS, (ids, mask), strict=True))


def outputs(path: Path, feed: dict[str, Any]) -> tuple[Any, Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    logits, embedding = session.run(list(OUTPUTS), feed)
    return logits, embedding


def expected(model: GPT2Classifier) -> tuple[Any, Any]:
    packed = pack(MESSAGES)
    with torch.inference_mode():
        trunk = model.eval().transformer
        last = trunk.last(trunk.embed(packed), packed)
        return model.head(last).numpy(), length_one(last.numpy(), trunk.ln_f.eps)


def written(model: GPT2Classifier, path: Path, **options: Any) -> Path:
    return write_network(model, path / "model.onnx", NetworkOptions(**options), {"a": "b"})[0]


@pytest.mark.parametrize("opset", [17, 18, 20, 23])
@pytest.mark.parametrize("kind", ["last token", "mean", "attention", "mean in the middle"])
def test_logits_and_embedding_equal_the_network(kind: str, opset: int, tmp_path: Path) -> None:
    model = tiny.classifier() if kind == "last token" else pooled()
    if kind == "attention":
        torch.manual_seed(5)
        unfolded(model.transformer, trainable=True)
        block: Any = model.transformer.h[-1]
        with torch.no_grad():
            block.attn.c_attn.weight.add_(0.05)
    if kind == "mean in the middle":
        modules: list[Any] = list(model.transformer.h)
        modules.insert(1, modules.pop())
        model.transformer.h = torch.nn.ModuleList(modules)
        modules[1].factor = 2.0
    path = written(model, tmp_path, opset=opset)
    onnx.checker.check_model(str(path), full_check=True)
    logits, embedding = outputs(path, inputs(MESSAGES))
    right = expected(model)
    np.testing.assert_allclose(logits, right[0], atol=1e-4)
    np.testing.assert_allclose(embedding, right[1], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-3)


def test_the_factor_of_the_pooling_block_cancels_in_the_final_norm(tmp_path: Path) -> None:
    model = pooled()
    block: Any = model.transformer.h[-1]
    block.factor, model.transformer.ln_f.eps = 2.0, 0.3
    logits, embedding = outputs(written(model, tmp_path), inputs(MESSAGES))
    np.testing.assert_allclose(logits, expected(model)[0], atol=1e-5)
    np.testing.assert_allclose(embedding, expected(model)[1], atol=1e-6)


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_every_activation_equals_the_network(name: str, opset: int, tmp_path: Path) -> None:
    model = tiny.classifier()
    config = replace(model.transformer.config, activation_function=name)
    other = GPT2Classifier(type(model.transformer)(config), 3)
    other.load_state_dict(model.state_dict())
    path = written(other, tmp_path, opset=opset)
    np.testing.assert_allclose(outputs(path, inputs(MESSAGES))[0], expected(other)[0], atol=1e-4)


@pytest.mark.parametrize("model", [tiny.classifier(2), pooled(2)], ids=["last token", "mean"])
@pytest.mark.parametrize("int8", [False, True])
def test_neither_padding_nor_batch_mates_change_a_score(
    model: GPT2Classifier, int8: bool, tmp_path: Path
) -> None:
    names = frozenset(matrix_names(model)) if int8 else frozenset()
    path = written(model, tmp_path, int8=names)
    together, _ = outputs(path, inputs(MESSAGES))
    filled, _ = outputs(path, inputs(MESSAGES[:2], filler=1, more=9))
    np.testing.assert_allclose(filled, together[:2], atol=1e-5)
    for message, logits in zip(MESSAGES, together, strict=True):
        alone, _ = outputs(path, inputs([message]))
        np.testing.assert_allclose(alone[0], logits, atol=1e-5)


def test_a_row_without_tokens_gives_numbers(tmp_path: Path) -> None:
    feed = inputs(MESSAGES[:2])
    feed[INPUTS[1]][1] = 0
    for model in (tiny.classifier(2), pooled(2)):
        logits, embedding = outputs(written(model, tmp_path), feed)
        assert np.isfinite(logits).all() and np.isfinite(embedding).all()


def test_8_bit_matrices_are_small_and_close(tmp_path: Path) -> None:
    model = pooled()
    (tmp_path / "8").mkdir()
    exact = written(model, tmp_path)
    small = written(model, tmp_path / "8", int8=frozenset(matrix_names(model)))
    loaded = onnx.load(str(small))
    kinds = [node.op_type for node in loaded.graph.node]
    assert kinds.count("MatMulInteger") == 4 * 3
    stored = {one.name: one.data_type for one in loaded.graph.initializer}
    assert stored["wte.int8"] == stored["h.0.mlp.c_fc.int8"] == onnx.TensorProto.INT8
    assert "wte" not in stored and "h.0.mlp.c_fc.weight" not in stored
    before, after = (outputs(path, inputs(MESSAGES))[0] for path in (exact, small))
    assert 1e-6 < np.abs(before - after).max() < 0.1 * np.abs(before).max()


def test_single_matrices_can_stay_in_fp32(tmp_path: Path) -> None:
    model = tiny.classifier()
    names = matrix_names(model)
    path = written(model, tmp_path, int8=frozenset(names) - {"h.1.attn.c_attn", "wte"})
    kinds = [node.op_type for node in onnx.load(str(path)).graph.node]
    # Queries of the last token and keys and values of all tokens are two products.
    assert kinds.count("MatMulInteger") == 4 * 3 - 1 + 1


def test_quantized_weights_are_rounded_to_half_a_level_and_fit_16_bit_sums() -> None:
    matrix = np.random.default_rng(0).normal(size=(40, 9)).astype(np.float32)
    matrix[:, 3] = 0
    levels, scale = quantized(matrix)
    assert levels.dtype == np.int8 and scale.shape == (9,) and np.isfinite(scale).all()
    assert (np.abs(matrix - levels * scale) <= scale / 2 + 1e-6).all()
    assert 2 * 255 * int(np.abs(levels.astype(int)).max()) < 2**15


def test_weights_are_halved_only_where_that_is_exact() -> None:
    exact = np.arange(2048, dtype=np.float32) / 8
    assert as_half(exact) is not None and as_half(exact[:8]) is None
    changed = exact.copy()
    changed[7] += 1e-3
    assert as_half(changed) is None
    assert as_half(exact * 1e6) is None


def test_half_tables_give_the_same_numbers(tmp_path: Path) -> None:
    model = pooled()
    model.half().float()
    block: Any = model.transformer.h[0]
    block.mlp.c_fc.weight.data[0, 0] = 0.1  # one matrix that is not exact
    large = torch.nn.Parameter(model.transformer.wte.weight.detach().repeat(4, 1))
    model.transformer.wte.weight = large
    path = written(model, tmp_path)
    stored = {one.name: one.data_type for one in onnx.load(str(path)).graph.initializer}
    assert stored["wte"] == onnx.TensorProto.FLOAT16
    np.testing.assert_allclose(outputs(path, inputs(MESSAGES))[0], expected(model)[0], atol=1e-4)


def test_large_models_have_their_weights_beside_the_graph(tmp_path: Path) -> None:
    model = pooled()
    model.transformer.wte.weight = torch.nn.Parameter(
        torch.randn(500, 12, generator=torch.Generator().manual_seed(1))
    )
    files = write_network(
        model, tmp_path / "model.onnx", NetworkOptions(most_bytes=20_000), {"a": "b"}
    )
    assert [file.name for file in files] == ["model.onnx", "model.onnx.data"]
    graph = onnx.load(str(files[0]), load_external_data=False)
    outside = [one for one in graph.graph.initializer if one.external_data]
    assert [one.name for one in outside] == ["wte"]
    assert int({e.key: e.value for e in outside[0].external_data}["offset"]) % 4096 == 0
    np.testing.assert_allclose(
        outputs(files[0], inputs(MESSAGES))[0], expected(model)[0], atol=1e-4
    )
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in files:
        file.rename(moved / file.name)
    np.testing.assert_allclose(
        outputs(moved / "model.onnx", inputs(MESSAGES))[0], expected(model)[0], atol=1e-4
    )


def test_the_file_has_its_metadata_and_names_and_is_the_same_each_time(tmp_path: Path) -> None:
    model = tiny.classifier(2)
    path = written(model, tmp_path)
    first = path.read_bytes()
    loaded = onnx.load(str(path))
    assert {entry.key: entry.value for entry in loaded.metadata_props} == {"a": "b"}
    assert [one.name for one in loaded.graph.input] == list(INPUTS)
    assert [one.name for one in loaded.graph.output] == list(OUTPUTS)
    assert written(model, tmp_path).read_bytes() == first


@pytest.mark.parametrize("opset", [0, 16, 1000])
def test_an_opset_that_lacks_an_operator_is_refused(opset: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"opset: expected a version from 17 .* got {opset};"):
        written(tiny.classifier(2), tmp_path, opset=opset)
    assert not list(tmp_path.iterdir())


def test_a_pooling_block_has_no_matrices_in_the_graph(tmp_path: Path) -> None:
    model = pooled()
    assert isinstance(model.transformer.h[-1], MeanPoolingBlock)
    assert len(matrix_names(model)) == 1 + 4 * 3
    names = {one.name for one in onnx.load(str(written(model, tmp_path))).graph.initializer}
    assert "pooling.ln_1.weight" in names and not any(name.startswith("h.3") for name in names)
