"""The audit of a table whose every figure is counted by hand, and of the SMS Spam Collection by its
published figures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tamis.data.audit import Audit, audit, write_split
from tamis.data.splits import DataSplit, split_table
from tamis.data.tables import Table, read_table
from tamis.errors import DataError

Write = Callable[..., Path]
TEXTS = [
    "call me at seven please",  # 0 train
    "win a prize now",  # 1 train
    "call me at seven please",  # 2 train: copy of 0
    "another thing entirely",  # 3 validation
    "CALL me at seven, please!",  # 4 test: 0 after normalising
    "win a prize now",  # 5 test: copy of 1, under another label
    "call me at seven pleased",  # 6 test: near 0
    "nothing like the others",  # 7 test
]
LABELS = ["ham", "spam", "ham", "ham", "ham", "ham", "ham", "spam"]


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


@pytest.fixture
def parts() -> DataSplit:
    train, validation, test = (
        np.array(each, dtype=np.int64) for each in ([0, 1, 2, 3], [3], [4, 5, 6, 7])
    )
    return DataSplit(Table.of(TEXTS, LABELS), "by hand", train, validation, test, 42, ("A note.",))


@pytest.fixture
def by_hand(parts: DataSplit) -> Audit:
    def out_of_fold(
        texts: Sequence[str], labels: Sequence[str], groups: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        assert groups.tolist() == [0, 1, 0, 2, 0, 1, 0, 3]
        ham = np.array([0.9, 0.3, 0.9, 0.5, 0.05, 0.4, 0.9, 0.8])
        return np.stack([ham, 1 - ham], axis=1)

    return audit(parts, token_lengths=words, out_of_fold=out_of_fold, batch_rows=3)


def test_every_figure_is_as_counted_by_hand(by_hand: Audit) -> None:
    found = json.loads(json.dumps(by_hand.to_dict()))
    assert found["parts"] == {
        "train": {
            "rows": 4,
            "classes": {"ham": 3, "spam": 1},
            "batches": 2,
            "tokens": 17,
            "longest": 5,
            "fit_rows": 3,
        },
        "validation": {
            "rows": 1,
            "classes": {"ham": 1, "spam": 0},
            "batches": 1,
            "tokens": 3,
            "longest": 3,
        },
        "test": {
            "rows": 4,
            "classes": {"ham": 3, "spam": 1},
            "batches": 2,
            "tokens": 18,
            "longest": 5,
        },
    }
    assert found["repeats"] == {
        "exact": {"texts": 2, "rows": 2},
        "normalized": {"texts": 2, "rows": 3},
        "near": {"texts": 2, "rows": 4},
        "conflicting": 1,
        "parts": {"train": 1, "validation": 0, "test": 0},
    }
    assert found["leaks"] == {
        "exact": {"rows": 1, "share": 0.25, "by_class": {"ham": 1 / 3, "spam": 0.0}},
        "normalized": {"rows": 2, "share": 0.5, "by_class": {"ham": 2 / 3, "spam": 0.0}},
        "near": {"rows": 3, "share": 0.75, "by_class": {"ham": 1.0, "spam": 0.0}},
    }
    assert [
        (row["row"], row["line"], row["label"], round(row["probability"], 6))
        for row in found["label_issues"]
    ] == [
        (4, 5, "ham", 0.05),
        (7, 8, "spam", 0.2),
        (5, 6, "ham", 0.4),
    ]
    assert found["label_issues"][0]["text"] == TEXTS[4]
    assert (found["split"], found["notes"]) == ("by hand", ["A note."])


def test_the_lines_say_the_same_to_people(by_hand: Audit) -> None:
    assert by_hand.lines()[:5] == [
        "memory, split by hand, batches of 3 rows",
        "  part        rows  batches  tokens  longest         ham       spam",
        "  train          4        2      17        5   3 (75.0%)  1 (25.0%)",
        "  validation     1        1       3        3  1 (100.0%)   0 (0.0%)",
        "  test           4        2      18        5   3 (75.0%)  1 (25.0%)",
    ]
    text = "\n".join(by_hand.lines())
    for sentence in (
        "3 rows remain without them.",
        "2 exact copies, 3 after normalization, 4 with near-duplicates.",
        "Repeated texts with more than one label: 1.",
        "Label issues: 3 rows have a label whose out-of-fold probability is below 0.5; in 1 of "
        "them it is below 0.1.",
        "  line 5: the label 'ham' has the probability 0.050: CALL me at seven, please!",
        "A note.",
    ):
        assert sentence in text


def test_a_test_table_of_its_own_is_audited_against_the_training_rows(parts: DataSplit) -> None:
    test = Table.of(["win a prize now", "Win a prize, now?", "unheard of"], ["spam", "spam", "ham"])
    with_test = replace(parts, test=np.arange(3), test_table=test)
    found = audit(with_test, token_lengths=words)
    assert (found.leaks.exact.rows, found.leaks.normalized.rows, found.leaks.near.rows) == (1, 2, 2)
    assert found.leaks.exact.by_class == {"ham": 0.0, "spam": 0.5}
    assert found.label_issues is None and found.to_dict()["label_issues"] is None
    assert found.test.rows == 3 and found.repeats.exact.rows == 2


def test_many_classes_are_summed_up(parts: DataSplit) -> None:
    table = Table.of(TEXTS, list("abcdefgh"))
    lines = audit(replace(parts, table=table), token_lengths=words).lines()
    assert any("8 classes, from 0 training rows (e) to 1 (d)." in line for line in lines)


def test_functions_that_return_another_shape_are_told(parts: DataSplit) -> None:
    with pytest.raises(DataError, match="expected a token count for each of 4 texts, got 1"):
        audit(parts, token_lengths=lambda texts: [1])
    with pytest.raises(
        DataError, match=r"expected out-of-fold probabilities of shape \(8, 2\), got \(8, 3\)"
    ):
        audit(
            parts, token_lengths=words, out_of_fold=lambda texts, labels, groups: np.zeros((8, 3))
        )


def test_written_parts_are_read_back_by_tamis_and_pandas(tmp_path: Path) -> None:
    texts = [
        'she said "come"',
        "two\nlines",
        "a,b",
        " blanks ",
        "é 🎂",
        "\r\nend",
        "tab\there",
        "x;y",
        '"',
        "NA",
        "12",
        "k",
    ]
    parts = split_table(Table.of(texts * 2, ["ham", "spam"] * 12), "stratified")
    written = write_split(parts, tmp_path / "new" / "folder")
    assert [path.name for path in written] == ["train.csv", "validation.csv", "test.csv"]
    for path, part in zip(written, ("fit", "validation", "test"), strict=True):
        table = read_table(path)
        assert (list(table.texts), list(table.labels)) == (parts.texts(part), parts.labels(part))  # type: ignore[arg-type]
        frame = pd.read_csv(path, keep_default_na=False, dtype=str)
        assert frame["text"].tolist() == list(table.texts) and list(frame.columns) == [
            "label",
            "text",
        ]


def test_a_folder_that_cannot_be_made_is_told(parts: DataSplit, write: Write) -> None:
    with pytest.raises(DataError, match="the folder cannot be created"):
        write_split(parts, write("a file", "taken") / "below")


def test_the_sms_spam_collection_leaks_as_published(real_sms: Path) -> None:
    parts = split_table(read_table(real_sms), "tp2")
    found = audit(parts, token_lengths=words)
    assert (found.train.rows, found.train.batches, found.train.fit_rows, found.test.batches) == (
        4_457,
        279,
        4_011,
        70,
    )
    leaks = found.leaks
    # Published: 10.4 % (22 % of spam) exact, 11.7 % (28.7 %) normalised, 17 % (56 %) near.
    assert (round(leaks.exact.share, 3), round(leaks.exact.by_class["spam"], 2)) == (0.104, 0.22)
    assert (round(leaks.normalized.share, 3), round(leaks.normalized.by_class["spam"], 3)) == (
        0.116,
        0.287,
    )
    assert (round(leaks.near.share, 2), round(leaks.near.by_class["spam"], 2)) == (0.17, 0.59)
    clean = audit(split_table(read_table(real_sms), "leakfree"), token_lengths=words)
    assert clean.leaks.near.rows == 0
