"""Exported folders: the same answers as the classifier, by tamis and by the script in the folder;
their files, descriptions and errors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tamis.classifier.text_classifier import TextClassifier
from tamis.decision.verdict import DecisionRule
from tamis.errors import ConfigError, MissingExtraError, NotFittedError
from tamis.export.description import ModelDescription
from tamis.export.onnx_classifier import OnnxClassifier
from tamis.export.onnx_folder import ExportOptions, export_onnx
from tests import runs
from tests.export.exported import KINDS, LABELS, LONG, ODD, TEXTS, classifier, folder
from tests.export.exported import onnx as exported

EVERY = [*KINDS, "attention", "three"]


@pytest.mark.parametrize("kind", EVERY)
def test_an_exported_folder_answers_as_the_classifier(kind: str) -> None:
    own, other = classifier(kind), exported(kind)
    texts = TEXTS + ODD
    np.testing.assert_allclose(other.predict_proba(texts), own.predict_proba(texts), atol=1e-5)
    np.testing.assert_allclose(
        other.decision_function(texts), own.decision_function(texts), atol=1e-4
    )
    np.testing.assert_allclose(other.embed(texts), own.embed(texts), atol=1e-5)
    assert other.classes_.tolist() == own.classes_.tolist()
    assert other.classes_.dtype == own.classes_.dtype
    assert other.positive_ == own.positive_ and other.rule_ == own.rule_
    assert other.temperature_ == own.temperature_
    rule = own.rule_
    edges = [edge for edge in (rule.threshold, rule.low, rule.high) if edge is not None]
    for found, wanted in zip(other.verdicts(texts), own.verdicts(texts), strict=True):
        p = wanted.probabilities.get(own.positive_ or "", 0.5)
        if any(abs(p - edge) < 1e-6 for edge in edges):
            continue  # an edge is the score of one of these texts; rounding decides on which side
        assert (found.text, found.label, found.verdict) == (
            wanted.text,
            wanted.label,
            wanted.verdict,
        )
        assert found.window == wanted.window
        assert list(found.probabilities) == list(wanted.probabilities)
    if kind != "last_position":  # truncated there
        assert own.verdicts([LONG])[0].window is not None


@pytest.mark.parametrize("kind", ["no_bos", "nfkc", "last_position", "three"])
def test_the_script_needs_neither_tamis_nor_torch(kind: str, tmp_path: Path) -> None:
    place = runs.copy_of(folder(kind), tmp_path / "elsewhere")
    texts = [*TEXTS[:12], *(text for text in ODD if "\x00" not in text)]
    before = "import sys; sys.modules |= dict.fromkeys(('tamis', 'torch', 'onnx', 'transformers'))"
    program = f"{before}; import runpy; runpy.run_path({str(place / 'predict.py')!r}, "
    found = subprocess.run(
        [sys.executable, "-c", program + "run_name='__main__')", *texts],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        check=True,
    )
    assert found.stderr == ""
    said = [json.loads(line) for line in found.stdout.splitlines()]
    wanted = [verdict.to_dict() for verdict in classifier(kind).verdicts(texts)]
    assert [{**one, "probabilities": None} for one in said] == [
        {**one, "probabilities": None} for one in wanted
    ]
    for one, other in zip(said, wanted, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_the_script_reads_lines_and_its_unsure_is_the_classifier_s(tmp_path: Path) -> None:
    own = classifier("three")
    floor = float(np.median(own.predict_proba(TEXTS).max(1)))
    unsure = TextClassifier.from_recipe(own.recipe_)
    unsure.__dict__.update(own.__dict__)
    unsure.rule_ = replace(own.rule_, confidence_floor=floor)
    export_onnx(unsure, tmp_path / "out")
    found = subprocess.run(
        [sys.executable, str(tmp_path / "out" / "predict.py")],
        input="".join(f"{text}\n" for text in TEXTS[:40]),
        capture_output=True,
        text=True,
        check=True,
    )
    said = [json.loads(line)["verdict"] for line in found.stdout.splitlines()]
    for verdict, wanted in zip(said, unsure.verdicts(TEXTS[:40]), strict=True):
        if abs(max(wanted.probabilities.values()) - floor) > 1e-6:  # else rounding decides
            assert verdict == wanted.verdict
    assert 5 < said.count("unsure") < 35


def test_the_script_gives_all_labels_of_a_multi_label_model(tmp_path: Path) -> None:
    own = classifier("three")
    several = TextClassifier.from_recipe(own.recipe_)
    several.__dict__.update(own.__dict__)
    several.rule_ = DecisionRule(multi_label=True)
    export_onnx(several, tmp_path / "out")
    found = subprocess.run(
        [sys.executable, str(tmp_path / "out" / "predict.py"), *TEXTS[:12]],
        capture_output=True,
        text=True,
        check=True,
    )
    said = [json.loads(line) for line in found.stdout.splitlines()]
    wanted = [verdict.to_dict() for verdict in several.verdicts(TEXTS[:12])]
    assert [one["labels"] for one in said] == [one["labels"] for one in wanted]
    assert [list(one) for one in said] == [list(one) for one in wanted]


def test_the_description_is_in_both_files_and_says_what_a_verdict_needs() -> None:
    place, own = folder("nfkc"), classifier("nfkc")
    meta = json.loads((place / "tamis.json").read_text(encoding="utf-8"))
    files = meta.pop("files")
    assert sorted(files) == ["model.onnx", "predict.py", "tokenizer.json"]
    assert sorted(file.name for file in place.iterdir()) == sorted([*files, "tamis.json"])
    loaded = onnx.load(str(place / "model.onnx"))
    inside = {entry.key: entry.value for entry in loaded.metadata_props}
    assert json.loads(inside["tamis"]) == meta
    description = ModelDescription.from_dict(meta, "here")
    assert description.to_dict() == meta
    assert description.labels == ("ham", "spam") and description.rule == own.rule_
    assert (description.windows.context, description.windows.size) == (64, 16)
    assert description.windows.begin == 1 and description.windows.positive == 1
    assert description.precision == {"type": "fp32"}
    assert description.calibration == {"temperature": own.temperature_}
    layers = own.recipe_.text.layers
    assert description.network["n_layer"] == layers and description.network["pooling"] == "mean"
    assert description.source["weights"] == own.fingerprint()
    assert description.source["backbone"] == "scratch:tiny"


def test_the_same_classifier_gives_the_same_bytes(tmp_path: Path) -> None:
    export_onnx(classifier("mean"), tmp_path / "again")
    assert runs.contents(tmp_path / "again") == runs.contents(folder("mean"))


def test_a_folder_of_transformers_is_exported_with_arg_max_verdicts(tmp_path: Path) -> None:
    from tamis.classifier.model_folder import find_model

    other = runs.copy_of(find_model(runs.finished_run()), tmp_path / "theirs")
    (other / "tamis.json").unlink()
    own = TextClassifier.load(other, threads=1)
    export_onnx(own, tmp_path / "out")
    found = OnnxClassifier.load(tmp_path / "out", threads=1)
    assert found.rule_.threshold is None and found.positive_ is None
    texts = TEXTS + ODD
    np.testing.assert_allclose(found.predict_proba(texts), own.predict_proba(texts), atol=1e-5)


def test_a_check_that_fails_replaces_nothing(tmp_path: Path) -> None:
    export_onnx(classifier("mean"), tmp_path / "out")
    before = runs.contents(tmp_path / "out")

    def check(new: Path) -> None:
        assert (new / "model.onnx").is_file() and new != tmp_path / "out"
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        export_onnx(classifier("three"), tmp_path / "out", check=check)
    assert runs.contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_cannot_be_exported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(NotFittedError, match="only a fitted classifier"):
        export_onnx(TextClassifier("scratch:tiny"), out)
    with pytest.raises(ConfigError, match="opset: expected a version from 17"):
        export_onnx(classifier("mean"), out, ExportOptions(opset=11))
    with pytest.raises(ConfigError, match="int8: expected texts"):
        export_onnx(classifier("mean"), out, ExportOptions(int8=True))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"exporting to ONNX needs the package 'onnx'"):
        export_onnx(classifier("mean"), out)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_nano_with_the_exact_head_is_small_and_equal(tmp_path: Path) -> None:
    own = TextClassifier("nano", "head", threads=1).fit(TEXTS, LABELS)
    export_onnx(own, tmp_path / "fp32")
    export_onnx(own, tmp_path / "int8", ExportOptions(int8=True, texts=TEXTS))
    texts = TEXTS + ODD
    exact = OnnxClassifier.load(tmp_path / "fp32", threads=1)
    np.testing.assert_allclose(exact.predict_proba(texts), own.predict_proba(texts), atol=1e-5)
    small = OnnxClassifier.load(tmp_path / "int8", threads=1)
    same = small.predict(texts) == own.predict(texts)
    assert same.mean() >= 0.995
    sizes = [(tmp_path / kind / "model.onnx").stat().st_size for kind in ("fp32", "int8")]
    # nano's weights are 16-bit floats, so fp32 is stored in two bytes a weight.
    assert sizes[0] < 36e6 and sizes[1] < 20e6  # whatever layer was chosen


def test_the_guide_shows_the_script_and_the_messages() -> None:
    root = Path(__file__).parents[2]
    guide = (root / "docs" / "how-to" / "onnx.md").read_text(encoding="utf-8")
    template = root / "src" / "tamis" / "export" / "templates" / "predict.txt"
    assert f"```python\n{template.read_text(encoding='utf-8')}```" in guide
    for name in ("input_ids", "attention_mask", "logits", "embedding"):
        assert f"| `{name}` |" in guide
