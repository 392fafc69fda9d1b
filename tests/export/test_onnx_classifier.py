"""What an exported folder refuses, and the parts of its classifier that the answers do not show."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tamis.classifier.text_classifier import TextClassifier
from tamis.errors import CheckpointError, ConfigError, DataError, MissingExtraError, RunError
from tamis.export.loading import load_classifier
from tamis.export.onnx_classifier import OnnxClassifier
from tests import runs
from tests.export.exported import LONG, ODD, TEXTS, classifier, folder
from tests.export.exported import onnx as exported


def changed(folder: Path, change: Callable[[onnx.ModelProto], Any]) -> None:
    """Change model.onnx; tamis.json, which knows its SHA-256, is removed."""
    model = onnx.load(str(folder / "model.onnx"))
    change(model)
    onnx.save(model, str(folder / "model.onnx"))
    (folder / "tamis.json").unlink(missing_ok=True)


def described(folder: Path, **values: Any) -> None:
    """Replace values of the description in model.onnx."""

    def change(model: onnx.ModelProto) -> None:
        (entry,) = model.metadata_props
        entry.value = json.dumps(json.loads(entry.value) | values)

    changed(folder, change)


def other_logits(folder: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        for one in model.graph.initializer:
            if one.name in ("head", "head.bias"):
                array = onnx.numpy_helper.to_array(one)
                wider = np.concatenate([array, array[..., :1]], -1)
                one.CopyFrom(onnx.numpy_helper.from_array(wider, one.name))
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3

    changed(folder, change)


def other_model(folder: Path) -> None:
    """A model of another kind, with old operators and without metadata."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 7)], ir_version=3)
    onnx.save(model, str(folder / "model.onnx"))
    (folder / "tamis.json").unlink()


def described_in(folder: Path, part: str, **values: Any) -> None:
    """Replace values in a part of the description in model.onnx."""

    def change(model: onnx.ModelProto) -> None:
        (entry,) = model.metadata_props
        description = json.loads(entry.value)
        description[part] |= values
        entry.value = json.dumps(description)

    changed(folder, change)


def old_opset(folder: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = 12

    changed(folder, change)


def altered(name: str, content: bytes = b"{}") -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(content)


def removed(*names: str) -> Callable[[Path], Any]:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remove


ERRORS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no metadata": (
        lambda f: changed(f, lambda model: model.ClearField("metadata_props")),
        r"model.onnx has no metadata of tamis \(entry 'tamis'\), so its labels .*; export it again",
    ),
    "another model": (other_model, r"model.onnx has no metadata of tamis"),
    "old opset": (old_opset, r"model.onnx cannot be loaded by ONNX Runtime [\d.]+ \(.*\); copy"),
    "metadata is no JSON": (
        lambda f: changed(f, lambda model: setattr(model.metadata_props[0], "value", "{")),
        r"metadata entry 'tamis' is not JSON",
    ),
    "newer format": (lambda f: described(f, format=9), r"expected format 1, got 9; a newer tamis"),
    "another engine": (lambda f: described(f, engine="x"), r"expected the description of an exp"),
    "malformed rule": (lambda f: described(f, rule={"cut": 1}), r"cannot be used \(TypeError"),
    "a value is missing": (lambda f: described(f, windows={}), r"cannot be used \(TypeError"),
    "unknown label type": (
        lambda f: described(f, label_type="date"),
        r"label_type must be one of str, int, float, bool, got 'date'",
    ),
    "equal labels": (lambda f: described(f, labels=["a", "a"]), r"two or more different labels"),
    "positive label": (lambda f: described(f, labels=["a", "b"]), r"positive label 'spam' is not"),
    "labels are no list": (lambda f: described(f, labels="ab"), r"labels must be a list, got 'ab'"),
    "labels of another type": (
        lambda f: described(f, label_type="int"),
        r"the labels ham, spam are not all of the type int",
    ),
    "threshold is a string": (
        lambda f: described_in(f, "rule", threshold="0.3"),
        r"threshold of the rule must be a probability or null, got '0.3'",
    ),
    "threshold beyond all probabilities": (
        lambda f: described_in(f, "rule", threshold=7),
        r"threshold of the rule must be a probability or null, got 7",
    ),
    "multi-label is a string": (
        lambda f: described_in(f, "rule", multi_label="no"),
        r"multi_label of the rule must be true or false, got 'no'",
    ),
    "no network": (lambda f: described(f, network=None), r"network must be an object, got None"),
    "dropped id": (lambda f: described(f, dropped_id="x"), r"dropped_id must be a token id or"),
    "temperature": (
        lambda f: described(f, calibration={"temperature": "x"}),
        r"temperature must be a number, got 'x'",
    ),
    "context beyond the positions": (
        lambda f: described_in(f, "windows", context=9999),
        r"windows: expected begin below size, and size up to context, which ends at \d+; got",
    ),
    "size of windows": (
        lambda f: described_in(f, "windows", size=-3),
        r"windows: expected begin below size, .*, -3, ",
    ),
    "overlap of windows": (
        lambda f: described_in(f, "windows", overlap=1.0),
        r"windows: overlap must be a number in \[0, 1\), got 1.0",
    ),
    "penalty of windows": (
        lambda f: described_in(f, "windows", penalty="x"),
        r"windows: penalty must be a number, got 'x'",
    ),
    "positive of windows": (
        lambda f: described_in(f, "windows", positive=7),
        r"windows: positive must be 0, 1 or null, got 7",
    ),
    "more labels": (
        lambda f: described(f, labels=["ham", "spam", "news"]),
        r"metadata names 3 labels \(ham, spam, news\), but the model has 2 logits",
    ),
    "more logits": (other_logits, r"names 2 labels \(ham, spam\), but the model has 3 logits"),
    "truncated": (
        lambda f: (f / "model.onnx").write_bytes((f / "model.onnx").read_bytes()[:-999]),
        r"model.onnx was truncated or altered after the export",
    ),
    "truncated without tamis.json": (
        lambda f: (
            (f / "model.onnx").write_bytes((f / "model.onnx").read_bytes()[:5000]),
            removed("tamis.json")(f),
        ),
        r"model.onnx cannot be loaded by ONNX Runtime",
    ),
    "no tokenizer": (removed("tokenizer.json"), r"tokenizer.json is missing; copy the whole"),
    "no tokenizer and no tamis.json": (
        removed("tokenizer.json", "tamis.json"),
        r"tokenizer.json is missing; copy the whole exported folder",
    ),
    "tokenizer altered": (altered("tokenizer.json"), r"tokenizer.json was truncated or altered"),
    "malformed tokenizer": (
        lambda f: (altered("tokenizer.json")(f), removed("tamis.json")(f)),
        r"tokenizer.json cannot be read \(",
    ),
    "malformed tamis.json": (altered("tamis.json", b"{"), r"tamis.json cannot be read as JSON"),
    "files of tamis.json": (
        lambda f: (f / "tamis.json").write_text(
            json.dumps(json.loads((f / "tamis.json").read_text()) | {"files": 3})
        ),
        r"tamis.json: files must be an object of names and SHA-256, got 3",
    ),
    "another tamis.json": (
        lambda f: (f / "tamis.json").write_text(
            json.dumps(
                json.loads((f / "tamis.json").read_text()) | {"labels": ["no", "spam"], "files": {}}
            )
        ),
        r"tamis.json and the metadata of model.onnx differ \(labels no, spam and ham, spam\)",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_damaged_folder_is_one_clear_line(name: str, tmp_path: Path) -> None:
    damage, message = ERRORS[name]
    place = runs.copy_of(folder("mean"), tmp_path / "out")
    damage(place)
    with pytest.raises(CheckpointError, match=message) as error:
        OnnxClassifier.load(place, threads=1)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    place = runs.copy_of(folder("mean"), tmp_path / "out")
    (place / "tamis.json").unlink()
    (place / "tokenizer.json").write_bytes((folder("no_bos") / "tokenizer.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"puts 0 tokens before a text, but .* expects 1"):
        OnnxClassifier.load(place, threads=1)


def test_tamis_json_is_not_needed(tmp_path: Path) -> None:
    place = runs.copy_of(folder("mean"), tmp_path / "out")
    (place / "tamis.json").unlink()
    (place / "predict.py").unlink()
    found = OnnxClassifier.load(place, threads=1)
    assert (
        found.predict_proba(TEXTS[:3]).tolist()
        == exported("mean").predict_proba(TEXTS[:3]).tolist()
    )


def test_a_changed_script_is_the_user_s(tmp_path: Path) -> None:
    place = runs.copy_of(folder("mean"), tmp_path / "out")
    (place / "predict.py").write_text("print(1)\n")
    OnnxClassifier.load(place, threads=1)


def test_computing_options_that_an_exported_model_lacks() -> None:
    place = folder("mean")
    for device in ("cuda", "mps"):
        with pytest.raises(ConfigError, match=f"runs on the CPU, got '{device}'"):
            OnnxClassifier.load(place, device=device)
    for dtype in ("bf16", "int8"):
        with pytest.raises(ConfigError, match=f"exported in fp32, got '{dtype}'"):
            OnnxClassifier.load(place, dtype=dtype)
    with pytest.raises(ConfigError, match="threads: expected a whole number of at least 1"):
        OnnxClassifier.load(place, threads=0)
    small = folder("mean", int8=True)
    for dtype in ("fp32", "auto", "int8"):
        found = OnnxClassifier.load(small, dtype=dtype, device="cpu", threads=1)
        assert found.description_.precision["type"] == "int8"


def test_onnxruntime_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"running an exported model needs .*\[onnx\]"):
        OnnxClassifier.load(folder("mean"), threads=1)


def test_texts_are_checked_as_everywhere() -> None:
    found = exported("mean")
    with pytest.raises(DataError, match="expected a string, got int"):
        found.predict(["a", 3])  # type: ignore[list-item]
    with pytest.raises(DataError, match="not valid Unicode"):
        found.verdicts(["\ud800"])
    assert found.predict_proba([]).shape == (0, 2)
    assert found.predict([]).tolist() == [] and found.verdicts([]) == []
    assert found.embed([]).shape == (0, 32)


def test_a_score_does_not_depend_on_the_other_texts() -> None:
    for int8 in (False, True):
        found = exported("mean", int8=int8)
        texts = TEXTS + ODD
        together = found.predict_proba(texts)
        alone = np.concatenate([found.predict_proba([text]) for text in texts])
        np.testing.assert_allclose(alone, together, atol=1e-6)
        np.testing.assert_allclose(found.predict_proba(texts[::-1])[::-1], together, atol=1e-6)


def test_ood_is_unknown() -> None:
    found = exported("mean")
    assert found.ood_detector_.limit is None
    (verdict,) = found.verdicts(["a text"], ood=True)
    assert verdict.ood is None and verdict.ood_score is None
    detector = found.ood_detector_
    assert detector.is_ood(["a", "b"], detector.scores(["a", "b"])) == [None, None]


def test_every_beginning_of_a_text_is_scored_as_by_the_causal_model() -> None:
    own, other = classifier("mean"), exported("mean")
    windows = own.predictor_.encoder.encode(["win a prize", LONG]).windows
    wanted = own.predictor_.token_logits(windows)
    for found, right in zip(other.predictor_.token_logits(windows), wanted, strict=True):
        difference = (found - found.mean(1, keepdims=True)) - (right - right.mean(1, keepdims=True))
        np.testing.assert_allclose(difference, 0, atol=1e-4)


def test_either_kind_of_folder_is_loaded(tmp_path: Path) -> None:
    assert isinstance(load_classifier(folder("mean"), threads=1), OnnxClassifier)
    assert isinstance(load_classifier(runs.head_model(), threads=1), TextClassifier)
    both = runs.copy_of(runs.head_model(), tmp_path / "both")  # as some folders of the hub have it
    (both / "model.onnx").write_bytes(b"of another program")
    assert isinstance(load_classifier(both, threads=1), TextClassifier)


def test_an_exported_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is an exported folder, which can be used to predict"):
        TextClassifier.load(folder("mean"))
    with pytest.raises(RunError, match=r"contains no model.onnx; write it with: tamis export"):
        OnnxClassifier.load(tmp_path)
    found = runs.copy_of(folder("mean"), tmp_path / "without")
    (found / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"tamis.json but neither config.json nor model.onnx"):
        load_classifier(found, threads=1)
