"""Text files as documents of lines: blank lines, choice of documents, held-out lines."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from tamis.data.files.binary_formats import HEAD_BYTES, refuse_binary
from tamis.errors import DataError

OPENERS: dict[str, Callable[..., IO[Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""Functions that open files, by suffix."""
DOCUMENTS = 3
"""Fewest documents of several lines for which the form `auto` uses blank lines as separators."""
DOCUMENT_LINES = 50
"""Largest mean number of lines of a document for which `auto` uses blank lines: with more, blank
lines are accidental in a flat file."""
MOST_HELD = 2.0
"""Largest held-out lines of a source, as a multiple of its share: drawn documents vary in
length."""
Document = list[str]


def read_documents(file: Path, form: str) -> list[Document]:
    """Return the lines of a file by document, unchanged; in a flat file every line is a document.

    Args:
        file: UTF-8 text, compressed if its suffix says so.
        form: `flat`, `doc`, or `auto`: documents if blank lines separate at least 3 documents of
            several lines, with at most 50 lines on average.

    Raises:
        DataError: the file cannot be read, is binary, or is not UTF-8.
    """
    opener: Callable[..., IO[Any]] = OPENERS.get(file.suffix, open)
    try:
        with opener(file, "rb") as binary:
            refuse_binary(binary.read(HEAD_BYTES), str(file), "UTF-8 text")
        try:
            with opener(file, "rt", encoding="utf-8-sig", errors="strict", newline=None) as stream:
                lines = [line.rstrip("\n") for line in stream]
        except UnicodeDecodeError as error:
            raise DataError(
                f"{file} is not UTF-8 ({error.reason} in line {_first_bad_line(file, opener)}); "
                "convert it to UTF-8"
            ) from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(
            f"{file} cannot be read ({error}); check its permissions and that it is complete"
        ) from error
    documents: list[Document] = [[]]
    for line in lines:
        if line.strip():
            documents[-1].append(line)
        elif documents[-1]:
            documents.append([])
    documents = [document for document in documents if document]
    if form == "flat" or (form == "auto" and not _divide(documents)):
        return [[line] for document in documents for line in document]
    return documents


def _first_bad_line(file: Path, opener: Callable[..., IO[Any]]) -> int:
    """Return the number of the first line that is not UTF-8; a stream decoder only knows the
    position in its buffer.
    """
    with opener(file, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


def _divide(documents: Sequence[Document]) -> bool:
    """Return whether blank lines separate documents, and are not accidental in a flat file."""
    several = sum(len(document) > 1 for document in documents)
    return several >= DOCUMENTS and sum(map(len, documents)) <= DOCUMENT_LINES * len(documents)


def chosen(documents: list[Document], times: float, random: np.random.Generator) -> list[Document]:
    """Return a random share `times` (below 1) of the documents, in their order; at least one."""
    if times >= 1:
        return documents
    return [
        documents[i]
        for i in np.sort(
            random.permutation(len(documents))[: max(1, round(times * len(documents)))]
        )
    ]


def divided(
    documents: list[Document], share: float, random: np.random.Generator
) -> tuple[list[Document], list[Document]]:
    """Split documents into training and held-out ones.

    Whole documents are held out, so that no held-out text has its neighbours in training. A drawn
    document that would raise the held-out lines above twice their share is skipped. If all would
    (few or large documents), the share's lines are taken from the end of the first one drawn. At
    least one line is held out, and at least one remains.

    Args:
        documents: the documents of one source.
        share: share of documents, and of their lines.
        random: random generator.
    """
    lines = sum(map(len, documents))
    if share <= 0 or lines < 2:
        return documents, []
    order = random.permutation(len(documents))
    number = min(len(documents) - 1, max(1, round(share * len(documents))))
    most = min(lines - 1, max(1.0, MOST_HELD * share * lines))
    held: dict[int, int] = {}
    """number of lines held out from the end of each document"""
    for place in order[:number]:
        if sum(held.values()) + len(documents[place]) <= most:
            held[int(place)] = len(documents[place])
    if not held:
        held[int(order[0])] = min(len(documents[order[0]]) - 1, max(1, round(share * lines)))
    train = [
        document[: len(document) - held.get(place, 0)] for place, document in enumerate(documents)
    ]
    out = [
        document[len(document) - held[place] :]
        for place, document in enumerate(documents)
        if place in held
    ]
    return [document for document in train if document], out
