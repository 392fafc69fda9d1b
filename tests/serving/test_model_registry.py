"""Models by name, and folders replaced on disk: whole, half, damaged, gone and back."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from tamis.classifier.model_folder import find_model
from tamis.classifier.text_classifier import TextClassifier
from tamis.errors import CheckpointError, ConfigError, RunError
from tamis.export.onnx_folder import export_onnx
from tamis.feedback.store import NewCorrection
from tamis.serving.errors import Refusal
from tamis.serving.model_registry import Models, Served, named_runs
from tests import runs
from tests.serving import served

TEXTS = ["win a prize now", "see you at six", ""]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return runs.copy_of(find_model(runs.finished_run()), tmp_path / "mine")


def other(classifier: TextClassifier, folder: Path) -> TextClassifier:
    """A model of the same shape with other verdicts, saved in the folder's place."""
    changed = TextClassifier.load(runs.finished_run(), threads=1)
    changed.predictor_.model.score.weight.data *= -1
    changed.save(folder)
    return changed


def look(model: Served) -> Exception | bool:
    """Two looks: a folder must look the same twice."""
    assert model.look() is False
    return model.look()


def test_a_folder_replaced_is_loaded_whole(
    folder: Path, tmp_path: Path, classifier: TextClassifier
) -> None:
    model = next(iter(served.models(tmp_path / "s.sqlite", [("mine", folder)])))
    before = model.classifier()
    assert look(model) is False and model.classifier() is before
    changed = other(classifier, folder)
    assert look(model) is True and not model.stale
    np.testing.assert_allclose(
        model.classifier().predict_proba(TEXTS), changed.predict_proba(TEXTS), atol=1e-6
    )
    assert abs(before.predict_proba(TEXTS) - changed.predict_proba(TEXTS)).max() > 0.01
    assert look(model) is False


def test_what_was_learnt_is_learnt_by_the_new_one_too(
    folder: Path, tmp_path: Path, classifier: TextClassifier
) -> None:
    loaded = served.models(tmp_path / "s.sqlite", [("mine", folder)])
    model = next(iter(loaded))
    assert not model.outcome
    model.learning.add([NewCorrection("x", "ham")])
    other(classifier, folder)
    assert look(model) is True
    assert model.outcome is not None and model.outcome.reason == "learnt 1 corrections"
    again = served.models(tmp_path / "s.sqlite", [("mine", folder)])
    assert next(iter(again)).outcome == model.outcome  # and after a new start


def test_a_folder_that_cannot_be_loaded_leaves_the_one_before(
    folder: Path, tmp_path: Path, classifier: TextClassifier
) -> None:
    model = next(iter(served.models(tmp_path / "s.sqlite", [("mine", folder)])))
    before = model.classifier()
    weights = folder / "model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-5])
    assert isinstance(look(model), CheckpointError) and model.stale and model.classifier() is before
    assert look(model) is False, "it is not tried again and again"
    away = tmp_path / "away"
    folder.rename(away)
    assert isinstance(look(model), RunError) and model.classifier() is before
    shutil.copytree(away, folder)
    weights.write_bytes(kept)
    assert look(model) is True and not model.stale


def test_a_folder_that_still_changes_is_left_alone(
    folder: Path, tmp_path: Path, classifier: TextClassifier
) -> None:
    model = next(iter(served.models(tmp_path / "s.sqlite", [("mine", folder)])))
    weights = folder / "model.safetensors"
    kept = weights.read_bytes()
    for size in (10, 20, len(kept)):
        weights.write_bytes(kept[:size])
        assert model.look() is False and not model.stale
    assert model.look() is True


def test_an_exported_folder_is_served_and_reloaded(tmp_path: Path) -> None:
    own = TextClassifier.load(runs.finished_run(), threads=1)
    out = tmp_path / "mine"
    export_onnx(own, out)
    model = next(iter(served.models(tmp_path / "s.sqlite", [("mine", out)])))
    before = model.classifier().predict_proba(TEXTS)
    np.testing.assert_allclose(before, own.predict_proba(TEXTS), atol=1e-5)
    assert look(model) is False
    own.predictor_.model.score.weight.data *= -1
    export_onnx(own, out)
    assert look(model) is True and not model.stale
    np.testing.assert_allclose(
        model.classifier().predict_proba(TEXTS), own.predict_proba(TEXTS), atol=1e-5
    )
    assert abs(model.classifier().predict_proba(TEXTS) - before).max() > 0.01
    (out / "tokenizer.json").write_bytes(b"{}")
    assert isinstance(look(model), CheckpointError) and model.stale


def test_the_folders_are_watched(folder: Path, tmp_path: Path, classifier: TextClassifier) -> None:
    loaded = served.models(
        tmp_path / "s.sqlite", [("first", runs.finished_run()), ("mine", folder)], look_every_s=0.01
    )
    told: list[tuple[str, Exception | None]] = []
    loaded.watch(lambda model, error: told.append((model.name, error)), lambda model: None)
    changed = other(classifier, folder)
    until = time.monotonic() + 10
    while not told and time.monotonic() < until:
        time.sleep(0.01)
    loaded.close()
    assert told == [("mine", None)]
    np.testing.assert_allclose(
        loaded.named("mine").classifier().predict_proba(TEXTS),
        changed.predict_proba(TEXTS),
        atol=1e-6,
    )


def test_models_are_found_by_name_and_the_first_is_the_default(tmp_path: Path) -> None:
    loaded = served.models(
        tmp_path / "s.sqlite", [("first", runs.finished_run()), ("second", runs.finished_run())]
    )
    assert [model.name for model in loaded] == ["first", "second"] and len(loaded) == 2
    assert loaded.named(None).name == "first" and loaded.named("second").name == "second"
    with pytest.raises(Refusal, match="unknown model 'third'; known: first, second"):
        loaded.named("third")
    for named in ([], [("a", runs.finished_run()), ("a", runs.finished_run())]):
        with pytest.raises(ConfigError, match="models with different names"):
            Models(named, lambda *_: pytest.fail("loaded before the names were checked"))


def test_names_come_from_the_folders_or_are_given(tmp_path: Path) -> None:
    odd = tmp_path / "a=b"
    odd.mkdir()
    found = named_runs(
        [
            str(tmp_path / "run"),
            str(tmp_path / "run" / "model") + "/",
            f"mine={tmp_path / 'x'}",
            str(odd),
        ]
    )
    assert [name for name, _ in found] == ["run", "run", "mine", "a=b"]
    assert [path for _, path in found] == [
        tmp_path / "run",
        tmp_path / "run" / "model",
        tmp_path / "x",
        odd,
    ]
