"""Rows written and read back by tamis, pandas and polars; nothing is left of a file that was not
finished.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.files.message_reader import read_messages
from tamis.data.files.row_writer import beside_own, row_writer, write_rows
from tamis.data.tables import read_table
from tamis.errors import ConfigError, DataError

ANY_TEXT = st.text(alphabet=st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))


@given(
    st.lists(st.tuples(st.sampled_from(["ham", "spam"]), ANY_TEXT), min_size=1),
    st.sampled_from(["o.csv", "o.jsonl"]),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    assert write_rows(path, ({"label": label, "text": text} for label, text in rows)) == len(rows)
    table = read_table(path)
    assert list(zip(table.labels, table.texts, strict=True)) == rows
    assert [message.text for message in read_messages(path)] == [text for _, text in rows]
    if name == "o.csv":
        frame = pd.read_csv(path, keep_default_na=False, dtype=str)
        assert [tuple(row) for row in frame.values.tolist()] == rows


# Not both in one text: a line end and tabs that happen to make a second row of full width are
# beyond telling.
TAB_TEXT = st.text(alphabet='a" \n,é') | st.text(alphabet='a" ,é\t')


@given(st.lists(st.tuples(st.sampled_from(["ham", "spam"]), TAB_TEXT), min_size=1))
def test_tab_separated_rows_are_read_back_by_pandas(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "o.tsv"
    write_rows(path, ({"label": label, "text": text} for label, text in rows))
    frame = pd.read_csv(path, sep="\t", keep_default_na=False, dtype=str)
    assert [tuple(row) for row in frame.values.tolist()] == rows
    table = read_table(path)
    assert list(zip(table.labels, table.texts, strict=True)) == rows


def test_values_of_any_kind_are_written_in_full(tmp_path: Path) -> None:
    row = {
        "text": "a",
        "n": 3,
        "p": 0.1 + 0.2,
        "yes": True,
        "none": None,
        "all": {"ham": 0.5, "é": [1]},
    }
    write_rows(tmp_path / "o.csv", [row])
    assert (tmp_path / "o.csv").read_bytes().decode() == (
        'text,n,p,yes,none,all\na,3,0.30000000000000004,true,,"{""ham"": 0.5, ""é"": [1]}"\n'
    )
    write_rows(tmp_path / "o.jsonl", [row, {"other": 1}])
    assert [
        json.loads(line) for line in (tmp_path / "o.jsonl").read_text("utf-8").splitlines()
    ] == [row, {"other": 1}]


def test_parquet_is_written_with_its_types(tmp_path: Path) -> None:
    rows = [
        {
            "id": n,
            "text": f'"{n}"\n2024-01-01',
            "p": n / 7,
            "spam": n % 2 == 0,
            "note": None if n < 5_000 else "x",
        }
        for n in range(5_003)
    ]
    assert write_rows(tmp_path / "o.parquet", iter(rows)) == 5_003
    frame = pl.read_parquet(tmp_path / "o.parquet")
    assert frame.to_dicts() == rows
    assert frame.schema["text"] == pl.String and frame.schema["p"] == pl.Float64
    assert [path.name for path in tmp_path.iterdir()] == ["o.parquet"]


def test_a_file_without_rows_has_its_header(tmp_path: Path) -> None:
    assert write_rows(tmp_path / "o.csv", [], columns=("label", "text")) == 0
    assert (tmp_path / "o.csv").read_text() == "label,text\n"
    for ending in ("jsonl", "parquet"):
        assert write_rows(tmp_path / f"o.{ending}", []) == 0


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_what_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"o.{ending}"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), row_writer(path) as sink:
        sink.write({"text": "a"})
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_prediction_does_not_overwrite_a_column_of_its_row() -> None:
    own = {"label": "ham", "text": "a", "predicted_verdict": 1, "verdict": 2}
    added = {"label": "spam", "verdict": "unsure", "p": 0.5}
    assert beside_own(own, added) == {
        **own,
        "predicted_label": "spam",
        "predicted_predicted_verdict": "unsure",
        "p": 0.5,
    }


def test_bad_output_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a name that ends in .csv, .*, got '.xlsx'"):
        write_rows(tmp_path / "o.xlsx", [])
    with pytest.raises(
        DataError,
        match=r"o.csv: a row has a column 'b' that the first row does not have; write .jsonl",
    ):
        write_rows(tmp_path / "o.csv", [{"a": 1}, {"b": 2}])
    with pytest.raises(
        DataError, match=r"the file cannot be written \(No such file or directory\)"
    ):
        write_rows(tmp_path / "absent" / "o.csv", [{"a": 1}])
    assert list(tmp_path.iterdir()) == []
