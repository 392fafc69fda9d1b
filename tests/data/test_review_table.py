"""The review table: written and read back whatever the texts hold, edited by a person, refused
where it belongs to another file.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tamis import DataError
from tamis.data.review_table import (
    COLUMNS,
    Finding,
    read_excluded_rows,
    review_summary,
    write_review,
)
from tamis.data.tables import Table

TEXTS = ['a "quoted", one', "two\nlines", "plain", "semi;colon\ttab", "ＦＲＥＥ ✅"]
TABLE = Table.of(TEXTS, ["ham", "spam", "ham", "spam", "ham"])


def findings() -> list[Finding]:
    marked = (True, True, False, True, False)
    return [
        Finding(
            row,
            row + 1,
            text,
            TABLE.labels[row],
            "spam",
            0.1234567891,
            0.5,
            "probable label error",
            exclude=marked[row],
        )
        for row, text in enumerate(TEXTS)
    ]


@pytest.mark.parametrize("name", ["review.csv", "review.tsv", "review.jsonl"])
def test_marked_rows_come_back_whatever_the_texts_hold(tmp_path: Path, name: str) -> None:
    some = [one for one in findings() if name != "review.tsv" or "\t" not in one.text]
    write_review(tmp_path / name, some)
    assert read_excluded_rows(tmp_path / name, TABLE) == [one.row for one in some if one.exclude]


def test_no_findings_are_a_table_without_rows(tmp_path: Path) -> None:
    write_review(tmp_path / "r.csv", [])
    assert (tmp_path / "r.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert read_excluded_rows(tmp_path / "r.csv", TABLE) == []
    write_review(tmp_path / "r.jsonl", [])
    assert read_excluded_rows(tmp_path / "r.jsonl", TABLE) == []


def test_a_person_changes_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text('row,exclude,text\n2,YES,plain\n0,no,"a ""quoted"", one"\n')
    assert read_excluded_rows(path, TABLE) == [2]
    path.write_text(
        "row,text\n2,plain\n4,ＦＲＥＥ ✅\n"
    )  # without the column every row is left out
    assert read_excluded_rows(path, TABLE) == [2, 4]


def test_a_list_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("3\n\n0\n3\n")
    assert read_excluded_rows(path, TABLE) == [0, 3]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("r.txt", "1\n5\n", "line 2: row 5 is not one of the 5 rows"),
        ("r.txt", "-1\n", "row -1 is not one"),
        ("r.txt", "one\n", "expected a row number, found 'one'"),
        ("r.csv", "row,text\n1,plain\n", "the text differs from row 1"),
        (
            "r.csv",
            "row,exclude,text\n2,perhaps,plain\n",
            "expected yes or no in column 'exclude', found 'perhaps'",
        ),
        ("r.csv", "line,text\n2,plain\n", "expected a column 'row'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=words):
        read_excluded_rows(tmp_path / name, TABLE)
    with pytest.raises(DataError, match="there is no such file"):
        read_excluded_rows(tmp_path / "absent.csv", TABLE)


def test_the_summary_counts_each_kind_in_a_sentence(tmp_path: Path) -> None:
    def finding(kind: str, *, exclude: bool = False) -> Finding:
        return Finding(0, 1, "a", "x", kind=kind, exclude=exclude)

    path = Path("review.csv")
    assert review_summary("t.csv", path, []) == (
        "Found no label issues in t.csv; review.csv has no rows."
    )
    several = [finding("label error", exclude=True)] * 2 + [finding("copy")] * 3
    assert review_summary("t.csv", path, [*several, finding("out-of-distribution")]) == (
        "Wrote 6 rows to review.csv: 2 labels are probably wrong; 3 texts are near-duplicates with "
        "the same label; 1 text is out-of-distribution. 2 rows are marked for exclusion; to train "
        "without them: tamis train t.csv --exclude review.csv"
    )
    assert review_summary("t.csv", path, [finding("conflict", exclude=True)]).endswith(
        "1 text has a near-duplicate with another label. 1 row is marked for exclusion; to train "
        "without them: tamis train t.csv --exclude review.csv"
    )
    assert review_summary("t.csv", path, [finding("copy")]) == (
        "Wrote 1 row to review.csv: 1 text is a near-duplicate with the same label. No row is "
        "marked for exclusion."
    )
