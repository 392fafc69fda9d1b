"""Corrections of a model that does not learn."""

from __future__ import annotations

from pathlib import Path

import pytest

from tamis.errors import DataError
from tamis.feedback.recorder import CorrectionRecorder
from tamis.feedback.store import CorrectionStore, NewCorrection


def recorder(store: CorrectionStore, model: str = "m") -> CorrectionRecorder[str]:
    return CorrectionRecorder("the classifier", ["ham", "spam"], store, model=model)


def test_corrections_are_stored_and_change_nothing(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path / "s.sqlite")
    first, other = recorder(store), recorder(store, "other")
    ids = first.add([NewCorrection("a", "ham"), NewCorrection("b", "spam", user="u")])
    assert [item.id for item in first.items()] == ids and first.pending() == 2
    assert other.items() == [] and other.pending() == 0
    assert first.classifier_for() == first.classifier_for("u") == "the classifier"
    outcome = first.learn()
    assert not outcome.learned and "an exported model does not learn" in outcome.reason
    assert first.pending() == 2
    store.close()


def test_corrections_are_deleted_by_their_model_alone(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path / "s.sqlite")
    first, other = recorder(store), recorder(store, "other")
    a, b, c = first.add(
        [NewCorrection("a", "ham"), NewCorrection("b", "ham", user="u"), NewCorrection("c", "ham")]
    )
    assert not other.remove(a) and first.remove(a) and not first.remove(a)
    assert other.remove_all() == 0 and first.remove_all("u") == 1
    assert [item.id for item in first.items()] == [c] and b not in (c, a)
    assert first.remove_all() == 1 and first.items() == []
    store.close()


def test_an_unknown_label_stores_nothing(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path / "s.sqlite")
    with pytest.raises(DataError, match=r"item 1: label 'spma' is not one of the model's labels"):
        recorder(store).add([NewCorrection("a", "ham"), NewCorrection("b", "spma")])
    assert recorder(store).items() == []
    store.close()
