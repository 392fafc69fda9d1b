"""Files as documents of lines: what a blank line means, which documents are used, which lines are
held out.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from tamis.errors import DataError

OPENERS: dict[str, Callable[..., IO[Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""How files are unpacked, by suffix."""
DOCUMENTS = 3
"""Documents of several lines from which the form `auto` believes in blank lines."""
DOCUMENT_LINES = 50
"""Lines of a document in the mean up to which it does: more, and the blank lines are strays of a
flat file."""
MOST_HELD = 2.0
"""Times its share that a source's held-out lines may be: drawn documents differ in length."""
Document = list[str]


def read_documents(file: Path, form: str) -> list[Document]:
    """Lines as they stand, by document; in a flat file every line is one.

    Args:
        file: UTF-8 text, packed where its name says so.
        form: `flat`, `doc`, or `auto`: documents where blank lines end at least 3 of several lines,
            none of them of more than 50 in the mean.

    Raises:
        DataError: the file cannot be read, or is not UTF-8.
    """
    opener: Callable[..., IO[Any]] = OPENERS.get(file.suffix, open)
    try:
        try:
            with opener(file, "rt", encoding="utf-8-sig", errors="strict", newline=None) as stream:
                lines = [line.rstrip("\n") for line in stream]
        except UnicodeDecodeError as error:
            raise DataError(
                f"{file} is not UTF-8 ({error.reason} in line {_first_bad_line(file, opener)}); "
                "convert it first"
            ) from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{file} cannot be read ({error})") from error
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
    """Number of the first line that is not UTF-8; a decoder of a stream only knows the place in its
    buffer.
    """
    with opener(file, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


def _divide(documents: Sequence[Document]) -> bool:
    """Whether blank lines divide a file into documents, rather than standing astray in a flat
    one.
    """
    several = sum(len(document) > 1 for document in documents)
    return several >= DOCUMENTS and sum(map(len, documents)) <= DOCUMENT_LINES * len(documents)


def chosen(documents: list[Document], times: float, random: np.random.Generator) -> list[Document]:
    """The part of the documents that a share `times` below 1 stands for, drawn at random, in their
    order; at least one.
    """
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
    """Documents to train on and documents held out: whole ones, so that no held-out text has its
    neighbour in training.

    A drawn document that would bring the held-out lines above twice their share is passed over.
    Where all would (few documents, or large ones), the share's lines are taken from the end of the
    first one drawn. At least one line is held out, and at least one is left.

    Args:
        documents: of one source.
        share: of documents, and of their lines.
        random: draws.
    """
    lines = sum(map(len, documents))
    if share <= 0 or lines < 2:
        return documents, []
    order = random.permutation(len(documents))
    number = min(len(documents) - 1, max(1, round(share * len(documents))))
    most = min(lines - 1, max(1.0, MOST_HELD * share * lines))
    held: dict[int, int] = {}
    """lines from the end of each document that are held out"""
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
