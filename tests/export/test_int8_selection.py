"""Which matrices of an export stay in fp32."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from tamis.classifier.text_classifier import TextClassifier
from tamis.export import int8_selection
from tamis.export.int8_selection import Int8Choice, Judge, choose_int8
from tamis.export.onnx_folder import ExportOptions, export_onnx
from tamis.gpt2.onnx.network import OPSET, matrix_names
from tests.export.exported import TEXTS, classifier
from tests.export.exported import onnx as exported


def choice(own: TextClassifier, texts: list[str] = TEXTS, **options: Any) -> Int8Choice:
    labels = [str(label) for label in own.classes_]
    judge = Judge(own.predictor_.encoder, own.rule_, labels, texts, 1)
    return choose_int8(own.predictor_.exact_model(), judge, OPSET, **options)


def with_outlier(part: str) -> TextClassifier:
    """A classifier one of whose matrices does not bear 8 bits: one weight of each output is a
    thousand times the others, and its input is a constant.
    """
    own = classifier("last_token")
    other = TextClassifier.from_recipe(own.recipe_)
    other.__dict__.update(own.__dict__)
    model = copy.deepcopy(own.predictor_.exact_model())
    layer = model.transformer.get_submodule(part)
    norm = model.transformer.get_submodule(part.split(".attn")[0] + ".ln_1")
    assert isinstance(layer, torch.nn.Linear) and isinstance(norm, torch.nn.LayerNorm)
    with torch.no_grad():
        norm.weight[0], norm.bias[0] = 0.0, 1.0
        layer.weight[:, 0].add_(300.0)
        layer.bias.sub_(300.0)
    other.predictor_ = replace(own.predictor_, model=model)
    return other


def test_all_matrices_are_taken_where_the_labels_stay() -> None:
    own = classifier("mean")
    found = choice(own)
    assert list(found.int8) == matrix_names(own.predictor_.exact_model()) and found.fp32 == ()
    assert found.label_agreement == 1.0 and found.good
    assert 0 < found.mean_difference <= found.largest_difference < 0.1
    assert found.texts == len(dict.fromkeys(TEXTS))


def test_the_matrix_that_changes_labels_stays_in_fp32(tmp_path: Path) -> None:
    own = with_outlier("h.0.attn.c_attn")
    found = choice(own)
    assert "h.0.attn.c_attn" in found.fp32 and len(found.fp32) < 4
    assert found.good and sorted([*found.int8, *found.fp32]) == sorted(
        matrix_names(own.predictor_.exact_model())
    )
    description = export_onnx(own, tmp_path / "out", ExportOptions(int8=True, texts=TEXTS))
    assert description.precision["type"] == "int8"
    assert description.precision["fp32_matrices"] == list(found.fp32)
    assert description.precision["agreement"]["label_agreement"] == found.label_agreement
    stored = {one.name for one in onnx.load(str(tmp_path / "out" / "model.onnx")).graph.initializer}
    kept = {name for name in stored if name.startswith("h.0.attn.c_attn")}
    assert kept and not any(name.endswith(".int8") for name in kept)


def test_everything_stays_in_fp32_where_nothing_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_selection, "MEAN_DIFFERENCE", 1e-12)
    found = choice(classifier("mean"), TEXTS[:20])
    assert found.int8 == () and found.label_agreement == 1.0 and found.largest_difference == 0


def test_many_texts_are_cut_and_repeats_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_selection, "MOST_TEXTS", 30)
    assert choice(classifier("mean"), ["a", "a", *TEXTS]).texts == 30


def test_int8_labels_agree_on_texts_that_did_not_choose() -> None:
    texts = [f"{text} {number}" for number, text in enumerate(TEXTS)]
    for kind in ("mean", "attention", "three"):
        own, small = classifier(kind), exported(kind, int8=True)
        same = own.predict(texts) == small.predict(texts)
        assert same.mean() >= 0.975, kind  # 121 of 124 labels; scores here are close to the edge
        assert small.description_.precision["agreement"]["label_agreement"] >= 0.998
        assert np.abs(own.predict_proba(texts) - small.predict_proba(texts)).mean() < 0.01
