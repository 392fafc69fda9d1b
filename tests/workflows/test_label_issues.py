"""The data doctor finds planted wrong labels, says what to review, and a training without them
shows both figures.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tamis import DataError
from tamis.data.splits import split_table
from tamis.data.tables import Table
from tamis.gpt2.backbones import load_backbone
from tamis.workflows.excluded_rows import exclude_rows, excluded_sentence
from tamis.workflows.label_issues import examine, find_label_issues, unlike_rows
from tests import runs
from tests.rows import messages
from tests.runs import tamis as run

LABELS = [label for label, _ in messages()]
TEXTS = [text for _, text in messages()]
WORDS = {
    "ham": "mum bus pasta fridge lecture keys plumber flowers platform bench walking home charger "
    "match dinner brother rain sofa".split(),
    "spam": "prize claim urgent ringtone voucher winner account verify parcel fee singles chat "
    "weekly draw bonus credit loan code".split(),
}
WRONG = [7, 30, 41, 62]


def planted() -> Table:
    """Texts of two worlds that repeat no other, four of them under the wrong label."""
    random = np.random.default_rng(2)
    kinds = ["spam" if row % 3 == 0 else "ham" for row in range(90)]
    texts = [" ".join(random.permutation(WORDS[kind])[:7]) for kind in kinds]
    return Table.of(
        texts,
        [
            ("ham" if kind == "spam" else "spam") if row in WRONG else kind
            for row, kind in enumerate(kinds)
        ],
    )


def test_the_rule_by_hand() -> None:
    head = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.65, 0.35], [0.49, 0.51], [1.0, 0.0]])
    words = np.array([[0.8, 0.2], [0.3, 0.7], [0.9, 0.1], [0.8, 0.2], [1.0, 0.0], [0.49, 0.51]])
    # Both say 0: doubted. They differ, twice. Both say 0, hardly: (.35 + .2) / 2. One hardly says
    # 1, the other is sure of 0: twice.
    assert find_label_issues(head, words, np.ones(6, dtype=int)).tolist() == [
        True,
        False,
        False,
        False,
        False,
        False,
    ]
    assert not find_label_issues(head, words, np.zeros(6, dtype=int)).any()
    # Of four classes an even chance is .25: a label with .15 is not doubted yet, one with .1 is.
    many = np.array([[0.5, 0.15, 0.2, 0.15], [0.5, 0.1, 0.2, 0.2]])
    assert find_label_issues(many, many, np.array([1, 1])).tolist() == [False, True]
    random = np.random.default_rng(0)
    for classes in (2, 3, 7):
        head, words = (
            random.dirichlet(np.full(classes, 0.3), 500),
            random.dirichlet(np.full(classes, 0.3), 500),
        )
        given = random.integers(0, classes, 500)
        doubtful = find_label_issues(head, words, given)
        assert (
            doubtful.any()
            and (head.argmax(1) != given)[doubtful].all()
            and (words.argmax(1) != given)[doubtful].all()
        )


@pytest.fixture(scope="module")
def found():
    return examine(planted(), load_backbone(runs.pretrained()))


def test_planted_labels_are_doubted_with_the_right_suggestion(found) -> None:
    doubtful = [one for one in found if one.kind == "label error"]
    by_row = {one.row: one for one in doubtful}
    assert set(by_row) >= set(WRONG)
    for row in WRONG:
        one, table = by_row[row], planted()
        assert one.suggested in ("ham", "spam") and one.suggested != one.label == table.labels[row]
        assert (one.exclude, one.text, one.line) == (True, table.texts[row], row + 1)
        assert one.p_model < 0.5 and one.p_tfidf < 0.5
    assert len(doubtful) <= 8
    means = [(one.p_model + one.p_tfidf) / 2 for one in doubtful]
    assert means == sorted(means)


def test_a_class_of_a_single_row_hides_no_doubt_and_is_not_doubted() -> None:
    table = planted()
    alone = Table.of(
        [*table.texts[:50], "kestrel quartz nine", *table.texts[50:]],
        [*table.labels[:50], "other", *table.labels[50:]],
    )
    found = [
        one for one in examine(alone, load_backbone(runs.pretrained())) if one.kind == "label error"
    ]
    assert {one.row for one in found} >= {row + (row >= 50) for row in WRONG} and 50 not in {
        one.row for one in found
    }
    assert all(one.p_model != one.p_tfidf and one.text == alone.texts[one.row] for one in found)


def test_near_repeats_are_named_once_and_only_contradictions_are_to_be_left_out() -> None:
    texts = [*TEXTS, "see you at the station at nine then", "See you at the station, at nine then!"]
    table = Table.of(texts, [*LABELS, "ham", "spam"])
    found = examine(table, load_backbone(runs.pretrained()), unlike=False)
    both = [one for one in found if one.row >= len(TEXTS) and one.kind != "label error"]
    assert all(
        one.exclude and one.reason == "Near-duplicates of this text have the labels ham, spam."
        for one in both
    )
    same = [one for one in found if one.reason.startswith("The text is a near-duplicate of row")]
    assert same and not any(one.exclude for one in same)
    assert len({one.row for one in found}) == len(found)


def test_the_review_and_a_training_without_its_rows(tmp_path: Path) -> None:
    table = runs.write_table(
        tmp_path / "planted.tsv", list(zip(planted().labels, planted().texts, strict=True))
    )
    review = tmp_path / "review.csv"
    said = run("data", table, "--backbone", runs.pretrained(), "--label-issues", review)
    assert said.code == 0, said.err
    assert f"tamis train {table} --exclude" in said.err
    with review.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    marked = sorted(int(row["row"]) for row in rows if row["exclude"] == "yes")
    assert set(marked) >= set(WRONG) and all(
        planted().texts[int(row["row"])] == row["text"] for row in rows
    )
    said = run("train", table, *runs.TINY, "--exclude", review, "-o", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    report = json.loads(said.out)
    without = report["excluded"]
    assert (
        without["rows"] + without["test_rows"] == len(marked)
        and without["test"]["n"] == report["test"]["n"]
    )
    assert f"{without['rows']:,} rows are excluded from training" in said.err
    assert sum("rows were excluded from training" in note for note in report["notes"]) == 1
    if without["test_rows"]:
        assert without["remaining"]["n"] == report["test"]["n"] - without["test_rows"]
    lines = [
        line
        for line in (tmp_path / "run" / "recipe.toml").read_text().splitlines()
        if line.startswith("exclude = ")
    ]
    assert lines == [f'exclude = "{review}"']


def test_test_rows_stay_and_no_class_may_vanish(tmp_path: Path) -> None:
    table = Table.of(TEXTS, LABELS)
    parts = split_table(table, "leakfree", seed=42)
    rows = tmp_path / "rows.txt"
    chosen = [int(parts.test[0]), int(parts.train[0]), int(parts.validation[0])]
    rows.write_text("\n".join(map(str, chosen)))
    kept, gone = exclude_rows(parts, rows)
    assert gone == tuple(sorted(chosen))
    assert kept.test.tolist() == parts.test.tolist()
    assert (
        set(parts.train) - set(kept.train) == set(chosen[1:]) and chosen[2] not in kept.validation
    )
    assert "2 rows are excluded" in kept.notes[-1] and "1 test rows listed" in kept.notes[-1]
    rows.write_text("\n".join(str(row) for row, label in enumerate(LABELS) if label == "spam"))
    with pytest.raises(DataError, match="class 'spam' has no training rows; keep some of them"):
        exclude_rows(parts, rows)


def test_both_figures_in_words() -> None:
    figures = {"f1": 0.9, "average_precision": 0.95, "accuracy": 0.97}
    found = {
        "rows": 7,
        "test_rows": 2,
        "test": figures,
        "remaining": {"f1": 0.95, "average_precision": 0.99, "accuracy": 0.99},
    }
    sentence = excluded_sentence(found)
    assert (
        "7 rows were excluded" in sentence
        and "F1 0.900 and 0.950" in sentence
        and "accuracy 97.0 and 99.0 %" in sentence
    )
    assert "; all test rows are listed too." in excluded_sentence({**found, "remaining": None})
    assert "; no test row is listed." in excluded_sentence(
        {**found, "test_rows": 0, "remaining": None}
    )
    assert (
        excluded_sentence({**found, "test_rows": 0, "test": None, "remaining": None})
        == "7 rows were excluded from training."
    )
    assert excluded_sentence(None) == ""


def test_texts_unlike_the_others_need_more_bits_not_fewer() -> None:
    random = np.random.default_rng(4)
    texts = [
        " ".join(random.permutation(WORDS["ham"])[: int(random.integers(3, 18))])
        for _ in range(160)
    ]
    bits = 2 + 0.1 * random.standard_normal(160)
    bits[[7, 31]], bits[50] = (5.0, 9.0), 0.1
    found = unlike_rows(Table.of(texts, ["ham"] * 160), bits)
    assert [one.row for one in found] == [31, 7] and found[
        0
    ].reason == "The text is out-of-distribution (9.0 bits per byte)."
    assert (
        unlike_rows(Table.of(texts[:20], ["ham"] * 20), bits[:20]) == []
    )  # too few to say what is usual
