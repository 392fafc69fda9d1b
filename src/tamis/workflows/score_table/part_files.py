"""Writes a part in the format of the table: own columns unchanged, then those of the prediction.

CSV is UTF-8 with commas and a header in each part, whatever delimiter and encoding the table has:
no other delimited text is read back unchanged by every reader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tamis.data.files.row_writer import beside_own
from tamis.workflows.score_table.json_table import JsonLine
from tamis.workflows.score_table.parts import Part
from tamis.workflows.score_table.rows import Table
from tamis.workflows.score_table.scores import Scores
from tamis.workflows.score_table.source import import_pyarrow

_SPECIAL = re.compile('[",\r\n]')


class PartWriter(Protocol):
    """Writes parts of one table."""

    def __call__(self, path: Path, part: Part, scores: Scores) -> None:
        """Write a part; `scores` has all texts that it needs."""
        ...


def added_columns(own: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns that a prediction adds: `label`, `verdict`, and `p_<label>`
    for each label; "predicted_" stands before a name that the table has itself.
    """
    names = ["label", "verdict", *(f"p_{label}" for label in labels)]
    joined = beside_own(dict.fromkeys(own), dict.fromkeys(names))
    return tuple(list(joined)[len(dict.fromkeys(own)) :])


def part_writer(table: Table, labels: Sequence[str]) -> PartWriter:
    """Return the writer of a table's format.

    Raises:
        MissingExtraError: it is Parquet and pyarrow is not installed.
    """
    added = added_columns(table.columns, labels)
    if table.format == "csv":
        return _CsvWriter(table.columns, added)
    if table.format == "jsonl":
        return _JsonWriter(added)
    return _ParquetWriter(table.schema, added)


def part_name(number: int, format_: str) -> str:
    """Return the name of a part's file."""
    return f"part-{number:05d}.{format_}"


class _Tails:
    """The added columns as text, made once for each distinct text of a part."""

    def __init__(self, make: Callable[[str, str, list[float]], str], scores: Scores) -> None:
        self._make, self._scores = make, scores
        self._made: dict[int, str] = {}

    def __getitem__(self, text: int) -> str:
        found = self._made.get(text)
        if found is None:
            found = self._made[text] = self._make(*self._scores[text])
        return found


class _CsvWriter:
    def __init__(self, own: Sequence[str], added: Sequence[str]) -> None:
        self._header = _csv_line([*own, *added])

    def __call__(self, path: Path, part: Part, scores: Scores) -> None:
        tails = _Tails(_csv_tail, scores)
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(self._header + "\n")
            for cells, text in zip(part.own, part.texts, strict=True):
                file.write(f"{_csv_line(cells)},{tails[text]}\n")


class _JsonWriter:
    def __init__(self, added: Sequence[str]) -> None:
        self._added = added

    def __call__(self, path: Path, part: Part, scores: Scores) -> None:
        tails = _Tails(lambda *score: _json_tail(self._added, score), scores)
        with path.open("w", encoding="utf-8", newline="") as file:
            for own, text in zip(part.own, part.texts, strict=True):
                file.write(self._line(own, text, tails, scores) + "\n")

    def _line(self, own: JsonLine, text: int, tails: _Tails, scores: Scores) -> str:
        tail = tails[text]
        if not set(self._added).isdisjoint(own.further_keys):
            # This row has a key that the first rows of the table do not have.
            names = beside_own(dict.fromkeys(own.further_keys), dict.fromkeys(self._added))
            tail = _json_tail(list(names)[len(own.further_keys) :], scores[text])
        body = own.line.rstrip().removesuffix("}").rstrip()
        return f"{body}{'' if body == '{' else ', '}{tail}}}"


class _ParquetWriter:
    def __init__(self, schema: Any, added: Sequence[str]) -> None:
        self._pyarrow, self._schema, self._added = import_pyarrow("writing Parquet"), schema, added

    def __call__(self, path: Path, part: Part, scores: Scores) -> None:
        pyarrow = self._pyarrow
        table = pyarrow.Table.from_batches(self._batches(part), schema=self._schema)
        found = [scores[text] for text in part.texts]
        width = len(self._added) - 2
        values = np.array([score[2] for score in found]).reshape(len(found), width)
        arrays = [
            pyarrow.array([score[0] for score in found], pyarrow.string()),
            pyarrow.array([score[1] for score in found], pyarrow.string()),
            *(pyarrow.array(values[:, k], pyarrow.float64()) for k in range(width)),
        ]
        for name, array in zip(self._added, arrays, strict=True):
            table = table.append_column(name, array)
        pyarrow.parquet.write_table(table, path)

    def _batches(self, part: Part) -> list[Any]:
        """Return the good rows as record batches."""
        found: list[Any] = []
        start = 0
        own = part.own
        while start < len(own):
            batch = own[start][0]
            end = start
            while end < len(own) and own[end][0] is batch:
                end += 1
            places = [place for _, place in own[start:end]]
            found.append(batch.take(self._pyarrow.array(places, self._pyarrow.int64())))
            start = end
        return found


def _csv_line(cells: Sequence[str]) -> str:
    return ",".join([_quoted(cell) for cell in cells])


def _quoted(cell: str) -> str:
    if _SPECIAL.search(cell):
        doubled = cell.replace('"', '""')
        return f'"{doubled}"'
    return cell


def _csv_tail(label: str, verdict: str, probabilities: list[float]) -> str:
    return _csv_line([label, verdict, *map(repr, probabilities)])


def _json_tail(names: Sequence[str], score: tuple[str, str, list[float]]) -> str:
    label, verdict, probabilities = score
    values = zip(names, (label, verdict, *probabilities), strict=True)
    return json.dumps(dict(values), ensure_ascii=False)[1:-1]
