"""Workbooks written by openpyxl, read as labelled tables and as messages to classify."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import openpyxl
import pytest

from tamis.data.files.message_reader import read_messages
from tamis.data.tables import read_table
from tamis.errors import DataError, MissingExtraError

Write = Callable[..., Path]
ROWS = [("spam" if n % 3 == 1 else "ham", f"see you at six, then {n}") for n in range(30)]


def workbook(path: Path, *sheets: Iterable[Sequence[object]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets, 1):
        sheet = book.create_sheet(f"S{number}")
        for row in rows:
            sheet.append(list(row))
    book.save(path)
    return path


@pytest.mark.parametrize("name", ["t.xlsx", "t.csv", "t"])
@pytest.mark.parametrize("header", [[("label", "text")], [("mood", "words")], []])
def test_a_workbook_is_read_whatever_its_name(
    tmp_path: Path, name: str, header: list[Sequence[object]]
) -> None:
    path = workbook(tmp_path / "made.xlsx", [*header, *ROWS]).rename(tmp_path / name)
    read = read_table(path)
    assert list(zip(read.labels, read.texts, strict=True)) == ROWS
    assert (read.format, read.has_header) == ("excel", bool(header))
    assert read.where(0) == f"{path} row {2 if header else 1}"
    messages = read_messages(path)
    assert messages.format == "excel"
    assert [message.text for message in messages] == [text for _, text in ROWS]


def test_rows_keep_their_numbers_and_empty_ones_are_no_rows(tmp_path: Path) -> None:
    rows = [
        [],
        [],
        [None, "label", "text"],
        [None, "ham", "a"],
        [],
        [None, "spam", "b"],
        [None, " "],
    ]
    read = read_table(workbook(tmp_path / "t.xlsx", rows))
    assert (read.labels, read.texts, read.lines) == (("ham", "spam"), ("a", "b"), (4, 6))


def test_numbers_truths_and_dates_are_texts_where_a_text_is_expected(tmp_path: Path) -> None:
    cells = ["hello", 12345, 2.5, True, datetime.date(2024, 1, 2)]
    rows: list[list[object]] = [["text", "n"], *([cell, n] for n, cell in enumerate(cells))]
    found = list(read_messages(workbook(tmp_path / "t.xlsx", rows)))
    assert [message.text for message in found] == ["hello", "12345", "2.5", "true", "2024-01-02"]
    assert found[1].columns == {"text": 12345, "n": 1}
    assert found[1].line == 3


def test_numbers_as_labels_are_those_of_other_formats(tmp_path: Path) -> None:
    labels = [0, 1.0, "0", "1.0", 10]
    rows: list[list[object]] = [
        ["label", "text"],
        *([labels[n % 5], text] for n, (_, text) in enumerate(ROWS)),
    ]
    assert read_table(workbook(tmp_path / "t.xlsx", rows)).classes == ("0", "1", "10")
    rows = [["label", "text"], *([n % 2 == 0, text] for n, (_, text) in enumerate(ROWS))]
    assert read_table(workbook(tmp_path / "t.xlsx", rows)).classes == ("false", "true")


def test_a_survey_with_times_is_read(tmp_path: Path) -> None:
    rows: list[Sequence[object]] = [["Timestamp", "Paste the message here:", "Is it spam?"]]
    for n, (label, text) in enumerate(ROWS):
        rows.append(
            [datetime.datetime(2024, 1, 1, 10, n), text, "Yes" if label == "spam" else "No"]
        )
    read = read_table(workbook(tmp_path / "t.xlsx", rows))
    assert (read.text_column, read.label_column, len(read)) == (
        "Paste the message here:",
        "Is it spam?",
        30,
    )


def test_another_sheet_is_named(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", [], [("label", "text"), *ROWS], [("x", "y")])
    assert read_table(path).notes == (f"{path}: only sheet 'S2' was read, not 'S3'.",)


def test_faulty_rows_are_named_by_their_numbers(tmp_path: Path) -> None:
    rows = [("label", "text"), *ROWS, (None, "a"), ("ham", "b"), (None, "c")]
    with pytest.raises(DataError, match=r"2 rows are faulty: row 32: .*none; row 34: .*none"):
        read_table(workbook(tmp_path / "t.xlsx", rows))


def test_a_title_and_an_empty_workbook_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1: expected 2 cells, .* found one \('My survey'\)"):
        read_table(workbook(tmp_path / "t.xlsx", [("My survey",), (), ("label", "text"), *ROWS]))
    with pytest.raises(DataError, match="found no visible sheet with values"):
        read_table(workbook(tmp_path / "e.xlsx", []))


def test_a_damaged_workbook_is_told(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", [("label", "text"), *ROWS])
    path.write_bytes(path.read_bytes()[:-300])
    for read in (read_table, read_messages):
        with pytest.raises(DataError, match="begins like an Excel workbook but cannot be read"):
            read(path)


def test_without_its_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workbook(tmp_path / "t.xlsx", [("label", "text"), *ROWS])
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    for read in (read_table, read_messages):
        with pytest.raises(MissingExtraError, match=r"reading Excel needs .*\[tables\]"):
            read(path)
