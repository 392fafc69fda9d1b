"""The training rows kept beside a model: what its head sees, no text, refused once a byte is
wrong.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tamis import CheckpointError, TextClassifier
from tamis.classifier.training_features import (
    FEATURES,
    TrainingRows,
    read_training_rows,
    sample,
    text_keys,
    write_training_rows,
)
from tamis.decision.calibration import softmax
from tamis.head.refit import head_of
from tests import runs
from tests.feedback.learners import head_run
from tests.rows import messages


def rows_of(run: Path) -> TrainingRows:
    found = read_training_rows(run)
    assert found is not None
    return found


def copied(target: Path) -> Path:
    return runs.copy_of(runs.finished_run(), target)


@pytest.mark.parametrize("exact", [True, False], ids=["head solved", "everything trained"])
def test_the_kept_rows_are_what_the_head_sees_of_the_training_rows(exact: bool) -> None:
    run = head_run() if exact else runs.finished_run()
    rows, classifier = rows_of(run), TextClassifier.load(run, threads=1)
    texts = {hashlib.sha256(text.encode()).digest(): (text, label) for label, text in messages()}
    known = [texts[key.tobytes()] for key in rows.keys]
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert len(known) == report["rows"]["train"] and rows.classes == ("ham", "spam")
    assert [rows.classes[target] for target in rows.targets] == [label for _, label in known]
    scores = softmax(head_of(classifier.predictor_.model).logits(rows.features.astype(np.float64)))
    np.testing.assert_allclose(
        scores, classifier.predict_proba([text for text, _ in known]), atol=1e-5
    )
    assert int(rows.held_out.sum()) == (0 if exact else report["rows"]["validation"])
    assert (rows.inverse_penalty is not None) == exact


def test_no_text_is_in_the_file() -> None:
    content = (head_run() / FEATURES).read_bytes()
    assert not [text for _, text in messages() if len(text) > 8 and text.encode() in content]


def test_rows_with_the_same_words_are_of_one_group() -> None:
    rows = rows_of(head_run())
    same: dict[bytes, int] = {}
    for key, group in zip(rows.keys, rows.groups.tolist(), strict=True):
        assert same.setdefault(key.tobytes(), group) == group
    assert len(same) < len(rows.keys)  # some training rows are repeats


def test_what_is_written_comes_back_and_the_model_folder_finds_it_too(tmp_path: Path) -> None:
    run = copied(tmp_path / "run")
    rows = replace(rows_of(run), inverse_penalty=12.5, class_weights=np.array([1.0, 3.0]))
    write_training_rows(run, rows)
    for place in (run, run / "model"):
        again = rows_of(place)
        assert (again.inverse_penalty, again.classes, again.class_weights.tolist()) == (
            12.5,
            rows.classes,
            [1.0, 3.0],
        )
        assert all(
            np.array_equal(getattr(again, n), getattr(rows, n))
            for n in ("features", "targets", "groups", "keys", "held_out")
        )
    first = (run / FEATURES).read_bytes()
    write_training_rows(run, rows)
    assert (run / FEATURES).read_bytes() == first


def test_a_model_without_rows_has_none_and_so_has_one_with_other_weights(tmp_path: Path) -> None:
    run = copied(tmp_path / "run")
    runs.copy_of(run / "model", tmp_path / "alone" / "model")
    assert read_training_rows(tmp_path / "alone") is None
    weights = load_file(run / "model" / "model.safetensors")
    save_file(
        {name: tensor + 1 for name, tensor in weights.items()},
        run / "model" / "model.safetensors",
        {"format": "pt"},
    )
    (run / "model" / "tamis.json").unlink()  # its checksum is then counted from the file
    assert read_training_rows(run) is None


@pytest.mark.parametrize("damage", ["cut", "format", "lengths", "classes"])
def test_a_damaged_file_is_refused_with_the_way_out(damage: str, tmp_path: Path) -> None:
    path = copied(tmp_path / "run") / FEATURES
    content = path.read_bytes()
    tensors = load_file(path)
    about = json.loads(
        json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["about"]
    )
    if damage == "cut":
        path.write_bytes(content[:-100])
    if damage == "format":
        save_file(tensors, path, {"about": json.dumps(about | {"format": 2})})
    if damage == "lengths":
        save_file(
            tensors | {"targets": tensors["targets"][1:].copy()}, path, {"about": json.dumps(about)}
        )
    if damage == "classes":
        save_file(tensors, path, {"about": json.dumps(about | {"classes": ["ham"]})})
    words = "a newer tamis wrote it" if damage == "format" else "truncated or altered"
    with pytest.raises(CheckpointError, match=words) as caught:
        read_training_rows(tmp_path / "run")
    assert str(path) in str(caught.value)


def test_of_many_rows_a_sample_is_kept_in_order_with_every_class_by_its_share() -> None:
    targets = np.array([0] * 900 + [1] * 90 + [2] * 10)
    kept = sample(targets, 100)
    assert np.bincount(targets[kept]).tolist() == [90, 9, 2] and (np.diff(kept) > 0).all()
    assert np.array_equal(sample(targets, 1000), np.arange(1000)) and np.array_equal(
        sample(targets, 100), kept
    )


def test_a_fifth_is_held_out_where_nothing_is() -> None:
    rows = rows_of(head_run())
    held = rows.with_held_out().held_out
    for k in (0, 1):
        assert held[rows.targets == k].sum() == (rows.targets == k).sum() // 5 > 0
    other = rows_of(runs.finished_run())
    assert other.with_held_out() is other


def test_the_key_of_a_text_is_its_sha256_lone_surrogates_too() -> None:
    keys = text_keys(["é", "\ud800", ""])
    assert keys[0].tobytes() == hashlib.sha256("é".encode()).digest() and keys.shape == (3, 32)
    assert text_keys([]).shape == (0, 32)


def test_a_full_disk_is_an_error_of_the_system_and_the_rows_stay(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    run = copied(tmp_path / "run")
    rows, before = rows_of(run), runs.contents(run)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))  # no file grows beyond 500 bytes
    try:
        with pytest.raises(OSError, match="File too large"):
            write_training_rows(run, rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert runs.contents(run) == before
