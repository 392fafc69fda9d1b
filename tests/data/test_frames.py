"""Tables in memory and Parquet files of pandas: index columns, categories, nullable types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tamis.data.frames import frame_table, is_frame
from tamis.data.tables import Table, read_table
from tamis.errors import DataError
from tests.rows import messages
from tests.runs import TINY, tamis

LABELS, TEXTS = (list(column) for column in zip(*messages()[:40], strict=True))
NUMBERS = [int(label == "spam") for label in LABELS]
PARQUET = Path(__file__).parents[1] / "fixtures" / "pandas_parquet"
"""Written by pandas with pyarrow: tests/fixtures/make_pandas_parquet.py."""


def pandas_frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"words": TEXTS, "kind": LABELS} | columns)


class ArrowColumn:
    """A ChunkedArray of pyarrow, as far as it is read."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def to_pylist(self) -> list[Any]:
        return self._values


class ArrowTable:
    """A Table of pyarrow, as far as it is read; a Dataset of Hugging Face gives plain lists."""

    def __init__(self, wrap: Callable[[list[Any]], Any], **columns: list[Any]) -> None:
        self._columns, self._wrap = columns, wrap

    @property
    def column_names(self) -> list[str]:
        return list(self._columns)

    def __getitem__(self, name: str) -> Any:
        return self._wrap(self._columns[name])


KINDS: dict[str, Callable[[], Any]] = {
    "pandas": pandas_frame,
    "polars": lambda: pl.DataFrame({"words": TEXTS, "kind": LABELS}),
    "lazy polars": lambda: pl.LazyFrame({"words": TEXTS, "kind": LABELS}),
    "mapping": lambda: {"words": TEXTS, "kind": LABELS},
    "mapping of arrays": lambda: {"words": np.array(TEXTS), "kind": np.array(LABELS)},
    "pyarrow": lambda: ArrowTable(ArrowColumn, words=TEXTS, kind=LABELS),
    "datasets": lambda: ArrowTable(list, words=TEXTS, kind=LABELS),
    "table": lambda: Table.of(TEXTS, LABELS),
    "categories": lambda: pandas_frame(kind=pd.Categorical(LABELS)),
    "nullable strings": lambda: pandas_frame().astype("string"),
    "polars categories": lambda: pl.DataFrame(
        {"words": TEXTS, "kind": pl.Series(LABELS, dtype=pl.Categorical)}
    ),
    "index": lambda: pandas_frame().set_axis([f"a long name {n}" for n in range(40)], axis=0),
    "named index": lambda: pandas_frame().set_index("words"),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_of_table_has_the_same_rows(kind: str) -> None:
    frame = KINDS[kind]()
    assert is_frame(frame)
    found = frame_table(frame)
    assert (list(found.texts), list(found.labels)) == (TEXTS, LABELS)
    assert found.where(4) == ("data frame row 5" if kind != "table" else "memory line 5")


NUMERIC: dict[str, Any] = {
    "numbers": NUMBERS,
    "number categories": pd.Categorical(NUMBERS),
    "nullable numbers": pd.array(NUMBERS, dtype="Int8"),
    "floats": [float(number) for number in NUMBERS],
}


@pytest.mark.parametrize("kind", list(NUMERIC))
def test_number_labels_have_one_spelling(kind: str) -> None:
    found = frame_table(pandas_frame(kind=NUMERIC[kind]))
    assert found.labels == tuple(str(number) for number in NUMBERS)


def test_booleans_are_spelled_as_in_files() -> None:
    truth = [bool(number) for number in NUMBERS]
    for values in (truth, pd.array(truth, dtype="boolean")):
        assert set(frame_table(pandas_frame(kind=values)).labels) == {"true", "false"}


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT, np.nan])
def test_missing_values_are_named_by_their_row(missing: Any) -> None:
    labels = pd.Series([*LABELS[:-1], missing], dtype=object)
    with pytest.raises(DataError, match=r"data frame row 40: expected a label in column 'kind'"):
        frame_table(pandas_frame(kind=labels), text="words", label="kind")
    texts = pd.Series([missing, *TEXTS[1:]], dtype=object)
    with pytest.raises(DataError, match=r"row 1: expected a text in column 'words'"):
        frame_table(pandas_frame(words=texts), text="words", label="kind")


def test_columns_can_be_named() -> None:
    frame = pandas_frame(message=["hello"] * 40, label=["x", "y"] * 20)
    assert frame_table(frame).labels[:2] == ("x", "y")
    found = frame_table(frame, text="words", label="kind")
    assert (list(found.texts), list(found.labels)) == (TEXTS, LABELS)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (5, "expected a file, a name of the catalog or a data frame, got int"),
        ({}, "found none"),
        (pd.DataFrame({"text": [], "label": []}), "found none"),
        ({"text": ["a", "b"], "label": ["x"]}, "columns of one length, got 'text' 2, 'label' 1"),
        ({"text": ["a", "b"]}, "found one column"),
        (pd.DataFrame([["a", "x"]], columns=["text", "text"]), "holds the text"),
    ],
    ids=["number", "nothing", "no rows", "lengths", "one column", "same names"],
)
def test_what_is_no_table_is_refused(data: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        frame_table(data)


def test_the_fingerprint_depends_on_the_rows() -> None:
    first, again = frame_table(pandas_frame()), frame_table(pandas_frame())
    other = frame_table(pandas_frame(words=[TEXTS[0] + "!", *TEXTS[1:]]))
    assert first.fingerprint == again.fingerprint != other.fingerprint


FILES = {
    "index": LABELS,
    "text_index": LABELS,
    "multi_index": LABELS,
    "named_index": LABELS,
    "categories": LABELS,
    "number_categories": [str(number) for number in NUMBERS],
    "nullable_strings": LABELS,
    "nullable_numbers": [str(number) for number in NUMBERS],
    "nullable_booleans": [("false", "true")[number] for number in NUMBERS],
}


@pytest.mark.parametrize("name", list(FILES))
def test_parquet_of_pandas_is_read_as_the_frame(name: str) -> None:
    found = read_table(PARQUET / f"{name}.parquet")
    assert list(found.texts) == TEXTS and list(found.labels) == FILES[name]


def test_missing_values_in_parquet_of_pandas_are_named() -> None:
    with pytest.raises(DataError, match=r"missing_label\.parquet row 40: expected a label"):
        read_table(PARQUET / "missing_label.parquet")
    with pytest.raises(DataError, match=r"missing_text\.parquet row 1: expected a text"):
        read_table(PARQUET / "missing_text.parquet")


@pytest.mark.parametrize("name", ["text_index", "number_categories"])
def test_the_commands_take_parquet_of_pandas(name: str, tmp_path: Path) -> None:
    file = PARQUET / f"{name}.parquet"
    said = tamis("data", file, "--json")
    assert said.code == 0 and '"repeats"' in said.out, said.err
    options = ("--split", "none", "--tune", "head", "-o", tmp_path / "run")
    said = tamis("train", file, *TINY, *options)
    assert said.code == 0 and (tmp_path / "run" / "report.json").is_file(), said.err
