"""A model that learns: in effect at once, the same after a new start, undone to the byte, held back
where it would do harm.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tamis import DataError, TextClassifier
from tamis.feedback.guards import LearningSettings
from tamis.feedback.learning import FeedbackLearner
from tamis.feedback.store import CorrectionStore, NewCorrection, default_store, model_name
from tamis.head.refit import LinearHead
from tests import runs
from tests.feedback.learners import head_classifier, head_run, learning, mistaken, right, weights


def bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


def test_a_correction_is_in_effect_after_the_next_step_and_the_model_itself_is_never_changed(
    tmp_path: Path,
) -> None:
    before, folder = weights(head_classifier()), runs.contents(head_run())
    found, items = learning(tmp_path / "s.sqlite"), mistaken(4)
    assert found.classifier_for() is head_classifier() and right(found, items) == 0
    ids = found.add(items)
    assert found.classifier_for() is head_classifier() and len(set(ids)) == 4
    learned = found.learn()
    assert (
        learned.learned
        and learned.reason == "all 4 corrections are in effect"
        and right(found, items) == 4
    )
    figures = learned.figures[""]
    assert (figures["corrections"], figures["learned"], figures["confident"]) == (4, 4, 0)
    assert (learned.corrections, learned.in_effect, learned.held_back) == (4, 4, 0)
    assert (figures["right_before"], figures["right_after"]) == (0, 4)
    assert set(figures["held_out"]) == {"before", "after"} and figures["seconds"] < 60
    assert weights(head_classifier()) == before and runs.contents(head_run()) == folder


def test_threshold_and_trunk_are_those_of_the_model(tmp_path: Path) -> None:
    found = learning(tmp_path / "s.sqlite")
    found.add(mistaken(2))
    found.learn()
    after = found.classifier_for()
    assert after.rule_ == head_classifier().rule_ and list(after.classes_) == ["ham", "spam"]
    assert (
        after.predictor_.model.transformer.wte is head_classifier().predictor_.model.transformer.wte
    )
    assert {
        name
        for name, content in weights(after).items()
        if content != weights(head_classifier())[name]
    } <= {
        *("transformer.ln_f.weight", "transformer.ln_f.bias", "score.weight"),
    }


def test_a_new_start_the_other_order_and_one_by_one_give_the_same_bytes(tmp_path: Path) -> None:
    items = mistaken(3)
    first = learning(tmp_path / "a.sqlite")
    for item in items:
        first.add([item])
        assert first.learn().learned
    again = learning(tmp_path / "a.sqlite")
    assert weights(again.classifier_for()) == weights(first.classifier_for())
    assert (
        again.learn().learned and len(again.steps()) == len(first.steps()) == 3
    )  # nothing new is written down
    second = learning(tmp_path / "b.sqlite")
    with sqlite3.connect(tmp_path / "a.sqlite") as source:
        kept = source.execute("SELECT weights, dtype, vector FROM features ORDER BY id").fetchall()
    source.close()
    second.add(items[::-1])
    # A matrix product rounds a row differently in another batch: the same features, so that only
    # the order is another one.
    with sqlite3.connect(tmp_path / "b.sqlite") as target:
        rows = [(id, *row) for id, row in zip((3, 2, 1), kept, strict=True)]
        target.executemany(
            "INSERT INTO features (id, weights, dtype, vector) VALUES (?, ?, ?, ?)", rows
        )
    target.close()
    assert second.learn().learned
    assert weights(second.classifier_for()) == weights(first.classifier_for())
    heads = [found.attempts.result(found.items()).head for found in (first, second)]
    assert (
        heads[0] is not None
        and heads[1] is not None
        and np.array_equal(heads[0].weight, heads[1].weight)
    )  # before rounding to fp32


def test_undoing_one_gives_the_bytes_of_before_and_undoing_all_the_model_as_it_was_trained(
    tmp_path: Path,
) -> None:
    found, items = learning(tmp_path / "s.sqlite"), mistaken(3)
    found.add(items[:2])
    found.learn()
    before = weights(found.classifier_for())
    (third,) = found.add([items[2]])
    found.learn()
    assert weights(found.classifier_for()) != before
    assert found.remove(third) and not found.remove(third) and not found.remove(999)
    assert weights(found.classifier_for()) == before
    learned = found.learn()
    assert learned.learned and weights(found.classifier_for()) == before
    assert (
        found.remove_all() == 2
        and found.items() == []
        and found.classifier_for() is head_classifier()
    )
    learned = found.learn()
    assert (learned.learned, learned.reason, learned.figures) == (
        False,
        "there are no corrections to learn",
        {},
    )


def test_what_is_undone_leaves_no_byte_of_text_or_features(tmp_path: Path) -> None:
    found, items = learning(tmp_path / "s.sqlite"), mistaken(2)
    ids = found.add(items)
    found.learn()
    with sqlite3.connect(tmp_path / "s.sqlite") as connection:
        vectors = [
            bytes(vector)
            for (vector,) in connection.execute("SELECT vector FROM features ORDER BY id")
        ]
    connection.close()
    content = bytes_of(tmp_path)
    assert items[0].text.encode() in content and len(vectors) == 2 and vectors[0][:40] in content
    found.remove(ids[0])
    content = bytes_of(tmp_path)
    assert items[0].text.encode() not in content and vectors[0][:40] not in content
    assert items[1].text.encode() in content and vectors[1][:40] in content
    found.remove_all()
    content = bytes_of(tmp_path)
    assert items[1].text.encode() not in content and vectors[1][:40] not in content


def test_the_same_again_changes_nothing_and_another_label_replaces(tmp_path: Path) -> None:
    found, (item,) = learning(tmp_path / "s.sqlite"), mistaken(1)
    first = found.add([item])
    found.learn()
    before = weights(found.classifier_for())
    assert found.add([item]) == first and found.learn().learned
    assert weights(found.classifier_for()) == before and len(found.steps()) == 1
    other = NewCorrection(item.text, "ham" if item.label == "spam" else "spam", force=True)
    assert found.add([other]) == first and found.learn().learned
    assert right(found, [other]) == 1 and [i.label for i in found.items()] == [other.label]
    assert weights(found.classifier_for()) != before


def test_an_unknown_label_keeps_nothing_and_says_which(tmp_path: Path) -> None:
    found = learning(tmp_path / "s.sqlite")
    with pytest.raises(
        DataError, match=r"item 1: label 'spma' is not one of the model's labels \('ham', 'spam'\)"
    ) as caught:
        found.add([NewCorrection("a secret", "ham"), NewCorrection("a secret", "spma")])
    assert "secret" not in str(caught.value) and found.items() == []


def test_a_users_corrections_are_the_users_and_everybodys_are_all_users(tmp_path: Path) -> None:
    found, (disputed, ours) = learning(tmp_path / "s.sqlite"), mistaken(2)
    other = "ham" if disputed.label == "spam" else "spam"
    mine, yours = (
        NewCorrection(disputed.text, label, user, force=True)
        for label, user in ((disputed.label, "me"), (other, "you"))
    )
    found.add([mine, yours, ours])
    learned = found.learn()
    assert learned.learned and set(learned.figures) == {"", "me", "you"}
    assert [learned.figures[user]["corrections"] for user in ("", "me", "you")] == [1, 2, 2]
    assert (right(found, [mine], "me"), right(found, [yours], "you")) == (1, 1)
    assert [right(found, [ours], user) for user in ("me", "you", "", "a stranger")] == [1, 1, 1, 1]
    assert found.classifier_for("a stranger") is found.classifier_for()
    assert (
        found.classifier_for("me").predictor_.model.transformer.h
        is head_classifier().predictor_.model.transformer.h
    )
    # Of one text the user's own word counts.
    found.add(
        [NewCorrection(ours.text, "ham" if ours.label == "spam" else "spam", user="me", force=True)]
    )
    found.learn()
    assert [right(found, [ours], user) for user in ("me", "you", "")] == [0, 1, 1]
    again = learning(tmp_path / "s.sqlite")
    for user in ("", "me", "you"):
        assert weights(again.classifier_for(user)) == weights(found.classifier_for(user))
    for item in found.items():
        if item.user == "me":
            found.remove(item.id)
    assert (
        found.classifier_for("me") is found.classifier_for() and right(found, [yours], "you") == 1
    )


def test_all_of_one_user_can_be_undone(tmp_path: Path) -> None:
    found, (first, second, third) = learning(tmp_path / "s.sqlite"), mistaken(3)
    mine = NewCorrection(second.text, second.label, user="me", force=True)
    found.add([first, mine, NewCorrection(third.text, third.label, user="you", force=True)])
    assert found.pending() == 3 and found.learn().learned and found.pending() == 0
    everybodys, yours = weights(found.classifier_for()), weights(found.classifier_for("you"))
    assert found.remove_all("me") == 1 and [item.user for item in found.items()] == ["", "you"]
    assert found.classifier_for("me") is found.classifier_for()
    assert (weights(found.classifier_for()), weights(found.classifier_for("you"))) == (
        everybodys,
        yours,
    )
    assert mine.text.encode() not in (tmp_path / "s.sqlite").read_bytes()
    assert (
        found.remove_all("") == 1
        and found.remove_all() == 1
        and found.classifier_for("you") is head_classifier()
    )


def test_models_that_share_a_store_do_not_touch_each_other(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path / "s.sqlite")
    one = learning(store)
    two = FeedbackLearner(
        head_classifier(),
        head_run(),
        store,
        model="two",
        settings=LearningSettings(max_fpr_increase=1, max_fnr_increase=1),
    )
    items = mistaken(2)
    one.add([items[0]])
    ids = two.add([items[1]])
    assert one.learn().learned and two.learn().learned
    assert (right(one, items[:1]), right(two, items[1:])) == (1, 1)
    assert not one.remove(ids[0]) and one.remove_all() == 1
    assert [item.text for item in two.items()] == [items[1].text] and right(two, items[1:]) == 1


def test_answers_never_wait_and_every_answer_is_of_one_whole_model(tmp_path: Path) -> None:
    found, items = learning(tmp_path / "s.sqlite"), mistaken(3)
    seen: list[TextClassifier] = []
    allowed, end = [weights(head_classifier())], threading.Event()

    def ask() -> None:
        while not end.is_set():
            classifier = found.classifier_for()
            if not seen or seen[-1] is not classifier:
                seen.append(classifier)
            time.sleep(0.001)

    thread = threading.Thread(target=ask)
    thread.start()
    for item in items:
        found.add([item])
        found.learn()
        allowed.append(weights(found.classifier_for()))
        time.sleep(0.02)
    end.set()
    thread.join()
    assert [weights(classifier) for classifier in seen] == allowed


def test_while_models_are_made_the_old_ones_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, (mine, ours) = learning(tmp_path / "s.sqlite"), mistaken(2)
    found.add([NewCorrection(mine.text, mine.label, user="me")])
    found.learn()
    old, seen, make = found.classifier_for("me"), [], found.classifier_with

    def noticed(head: LinearHead) -> TextClassifier:
        seen.append((found.classifier_for(), found.classifier_for("me")))
        return make(head)

    monkeypatch.setattr(found, "classifier_with", noticed)
    found.add([ours])
    found.learn()
    assert seen == [(head_classifier(), old)] * 2 and found.classifier_for("me") is not old


def test_a_model_that_was_replaced_learns_everything_again(tmp_path: Path) -> None:
    found, items = learning(tmp_path / "s.sqlite"), mistaken(2)
    found.add(items)
    found.learn()
    run = runs.copy_of(runs.finished_run(), tmp_path / model_name(head_run()))
    other = FeedbackLearner(
        TextClassifier.load(run, threads=1),
        run,
        CorrectionStore(tmp_path / "s.sqlite"),
        model=model_name(head_run()),
        settings=LearningSettings(max_fpr_increase=1, max_fnr_increase=1),
    )
    assert (
        len(other.items()) == 2
        and other.steps()[-1].reason == "all 2 corrections are in effect"
        and len(other.steps()) == 2
    )
    assert right(other, items) == 2


def test_the_default_store_lies_beside_the_run_and_is_named_after_it(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "mine"
    (run / "model").mkdir(parents=True)
    assert (
        default_store(run)
        == default_store(run / "model")
        == tmp_path / "runs" / "mine.feedback.sqlite"
    )
    assert model_name(run) == model_name(run / "model") == "mine"


def test_corrections_of_a_model_of_the_hub_are_stored_in_the_present_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_store("organization/mine") == tmp_path / "mine.feedback.sqlite"
