"""A model loaded for predictions: with the head that its store keeps, the same as the server's, and
one sentence about it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import tamis
from tamis.classifier.text_classifier import TextClassifier
from tamis.errors import RunError
from tamis.feedback.learning import FeedbackLearner
from tamis.feedback.loading import FeedbackChoice, load_with_feedback
from tamis.feedback.store import CorrectionStore, NewCorrection, default_store, model_name
from tests import runs
from tests.feedback.learners import head_classifier, head_run, learning, mistaken, right, weights

ONE: dict[str, Any] = {"threads": 1}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return runs.copy_of(head_run(), tmp_path / "mine")


def taught(run: Path, *items: NewCorrection) -> FeedbackLearner:
    """A learner that has stored and learned corrections in the default store."""
    found = learning(default_store(run), run)
    found.add(items)
    found.learn()
    return found


def by_default(store: Path, run: Path) -> FeedbackLearner:
    """A learner as the commands make it, with every guard."""
    classifier = TextClassifier.load(run, **ONE)
    return FeedbackLearner(classifier, run, CorrectionStore(store), model=model_name(run))


def no_refit(*_: object, **__: object) -> None:
    raise AssertionError("a head was solved again")


def test_the_head_of_the_store_answers_and_is_the_servers_byte_for_byte(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = mistaken(4)
    found = taught(run, *items)
    monkeypatch.setattr("tamis.feedback.refit.System.solve", no_refit)
    loaded = load_with_feedback(run, **ONE)
    assert weights(loaded.classifier) == weights(found.classifier_for())  # type: ignore[arg-type]
    assert [str(label) for label in loaded.classifier.predict([i.text for i in items])] == [
        item.label for item in items
    ]
    assert loaded.feedback.notes == (
        f"4 corrections of {default_store(run)} are in effect (--no-feedback: the model as "
        "trained)",
    )
    assert loaded.feedback.to_dict() == {
        "store": str(default_store(run)),
        "in_effect": 4,
        "not_in_effect": 0,
    }
    trained = load_with_feedback(run, FeedbackChoice(use=False), **ONE)
    assert weights(trained.classifier) == weights(head_classifier())  # type: ignore[arg-type]
    assert trained.feedback.notes == () and trained.feedback.store is None
    assert weights(TextClassifier.load(run, **ONE)) == weights(head_classifier())


def test_python_loads_what_predict_loads_and_logs_it(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = taught(run, *mistaken(2))
    with caplog.at_level(logging.INFO, "tamis.feedback"):
        loaded = tamis.load_classifier(run, **ONE)
    assert weights(loaded) == weights(found.classifier_for())  # type: ignore[arg-type]
    assert "2 corrections of" in caplog.text
    plain = tamis.load_classifier(run, feedback=False, **ONE)
    assert weights(plain) == weights(head_classifier())  # type: ignore[arg-type]


def test_a_store_elsewhere_and_a_user_can_be_named(run: Path, tmp_path: Path) -> None:
    store, (ours, mine) = tmp_path / "else" / "s.sqlite", mistaken(2)
    found = learning(store, run)
    found.add([ours, NewCorrection(mine.text, mine.label, user="anna")])
    assert found.learn().learned
    assert load_with_feedback(run, **ONE).feedback.notes == ()
    everybody = load_with_feedback(run, FeedbackChoice(store=store), **ONE)
    assert weights(everybody.classifier) == weights(found.classifier_for())  # type: ignore[arg-type]
    assert everybody.feedback.notes[0].endswith("1 correction of users count with --user NAME only")
    anna = load_with_feedback(run, FeedbackChoice(store=store, user="anna"), **ONE)
    assert weights(anna.classifier) == weights(found.classifier_for("anna"))  # type: ignore[arg-type]
    assert right(found, [mine], "anna") == 1 and len(anna.feedback.used) == 2
    stranger = load_with_feedback(run, FeedbackChoice(store=store, user="bo"), **ONE)
    assert weights(stranger.classifier) == weights(found.classifier_for())  # type: ignore[arg-type]
    with pytest.raises(RunError, match=r"no\.sqlite does not exist; give the store"):
        load_with_feedback(run, FeedbackChoice(store=tmp_path / "no.sqlite"), **ONE)


def test_after_an_undo_without_the_model_the_head_is_solved_once_and_kept(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, rest = by_default(default_store(run), run), by_default(run.parent / "rest", run)
    found.add(mistaken())
    found.learn()
    effective = [item for item in found.items() if item.id in found.ids_in_effect()]
    assert len(effective) > 1
    rest.add(effective[1:])
    rest.learn()
    store = CorrectionStore(default_store(run))
    assert store.remove(effective[0].id)
    store.close()
    with sqlite3.connect(default_store(run)) as connection:
        assert connection.execute("SELECT count(*) FROM heads").fetchone() == (0,), (
            "a head that was solved on a deleted text is deleted with it"
        )
    connection.close()
    once = load_with_feedback(run, **ONE)
    assert weights(once.classifier) == weights(rest.classifier_for())  # type: ignore[arg-type]
    monkeypatch.setattr("tamis.feedback.refit.System.solve", no_refit)
    again = load_with_feedback(run, **ONE)
    assert weights(again.classifier) == weights(once.classifier)  # type: ignore[arg-type]


def test_what_waits_is_said_and_changes_nothing(run: Path) -> None:
    found = taught(run, *mistaken(1))
    before = weights(found.classifier_for())
    found.add(mistaken(3)[1:])
    loaded = load_with_feedback(run, **ONE)
    assert weights(loaded.classifier) == before  # type: ignore[arg-type]
    assert loaded.feedback.waiting == 2 and (
        f"; 2 corrections are not in effect (to learn: tamis learn {run} --pending)"
        in loaded.feedback.notes[0]
    )


def test_a_run_that_was_trained_again_says_that_nothing_is_in_effect(run: Path) -> None:
    taught(run, *mistaken(2))
    changed = TextClassifier.load(run, **ONE)
    changed.predictor_.model.score.weight.data *= 0.5
    changed.save(run / "model")
    loaded = load_with_feedback(run, **ONE)
    assert weights(loaded.classifier) == weights(changed)  # type: ignore[arg-type]
    assert loaded.feedback.notes == (
        f"2 corrections in {default_store(run)} are not in effect (to learn: tamis learn {run} "
        "--pending)",
    )


def test_corrections_of_other_models_are_none(run: Path) -> None:
    store = CorrectionStore(default_store(run))
    store.add(mistaken(2), model="another")
    store.close()
    loaded = load_with_feedback(run, **ONE)
    assert loaded.feedback.notes == ()
    assert weights(loaded.classifier) == weights(head_classifier())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"these are notes" * 100, "is not a store of corrections"),
        (b"SQLite format 3\x00" + b"\x00" * 5_000, "is not a store of corrections"),
        (None, "the database of another program"),
    ],
)
def test_a_broken_or_foreign_store_is_one_clear_line_before_the_model_is_loaded(
    run: Path, content: bytes | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = default_store(run)
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE orders (id)")
        connection.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    monkeypatch.setattr("tamis.feedback.loading.load_as_trained", no_refit)
    with pytest.raises(RunError, match=words) as caught:
        load_with_feedback(run, **ONE)
    assert str(path) in str(caught.value) and "--store" in str(caught.value)
    assert path.read_bytes() == before


def test_an_empty_file_is_a_store_without_corrections(run: Path) -> None:
    default_store(run).touch()
    loaded = load_with_feedback(run, **ONE)
    assert loaded.feedback.notes == () and default_store(run).stat().st_size == 0


def test_a_store_is_read_while_another_process_writes(run: Path) -> None:
    found = taught(run, *mistaken(2))
    before = weights(found.classifier_for())
    writer = sqlite3.connect(default_store(run), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM corrections")
    loaded = load_with_feedback(run, **ONE)
    assert weights(loaded.classifier) == before  # type: ignore[arg-type]
    writer.execute("ROLLBACK")
    writer.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_store_in_a_folder_without_write_permission_is_read(run: Path, tmp_path: Path) -> None:
    found = taught(run, *mistaken(2))
    before = weights(found.classifier_for())
    with sqlite3.connect(default_store(run)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    del found
    for journal in tmp_path.glob("*.sqlite-*"):
        journal.unlink()
    tmp_path.chmod(0o555)
    try:
        loaded = load_with_feedback(run, **ONE)
    finally:
        tmp_path.chmod(0o755)
    assert weights(loaded.classifier) == before  # type: ignore[arg-type]


def test_another_process_that_learns_or_undoes_is_noticed(run: Path) -> None:
    here = taught(run, *mistaken(1))
    assert not here.changed()
    there = learning(default_store(run), run)
    assert not here.changed(), "the same corrections again are no news"
    there.add(mistaken(3)[1:])
    there.learn()
    assert here.changed()
    here.learn()
    assert not here.changed()
    assert weights(here.classifier_for()) == weights(there.classifier_for())
    store = CorrectionStore(default_store(run))
    store.remove_all(model=model_name(run))
    store.close()
    assert here.changed()
    here.learn()
    assert weights(here.classifier_for()) == weights(head_classifier()) and not here.changed()


def test_an_old_answer_does_not_replace_a_newer_head(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tamis.feedback.history import Steps

    here, keep = taught(run, *mistaken(1)), Steps.keep_heads
    there = learning(default_store(run), run)

    def overtaken(self: Steps, *positional: Any) -> None:
        monkeypatch.undo()
        there.add(mistaken(4)[3:])
        there.learn()
        keep(self, *positional)

    monkeypatch.setattr(Steps, "keep_heads", overtaken)
    here.add(mistaken(2)[1:])
    here.learn()
    loaded = load_with_feedback(run, **ONE)
    assert weights(loaded.classifier) == weights(there.classifier_for())  # type: ignore[arg-type]


def test_what_is_refused_after_an_undo_is_not_called_in_effect(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = taught(run, *mistaken(2))
    monkeypatch.setattr("tamis.feedback.attempts.worse", lambda *figures: "for a reason")
    assert found.remove(found.items()[0].id)
    assert found.classifier_for() is not None and found.pending() == 1
    loaded = load_with_feedback(run, **ONE)
    assert weights(loaded.classifier) == weights(found.classifier_for())  # type: ignore[arg-type]
    assert loaded.feedback.used == () and loaded.feedback.waiting == 1
    learned = found.learn()
    assert (learned.in_effect, learned.held_back, learned.learned) == (0, 1, False)
