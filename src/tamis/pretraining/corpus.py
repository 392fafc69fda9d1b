"""From files of plain text to texts: read, cleaned, cut to length, mixed by the recipe's shares, evaluation messages kept out.

The same files, recipe and seed give the same texts in the same order.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tamis.data.normalise import repeat_key
from tamis.errors import DataError
from tamis.pretraining.cleaning import RULES, cut, has_content, tidy
from tamis.pretraining.exclusion import Excluded
from tamis.pretraining.recipe import CorpusSettings, SourceSettings
from tamis.progress import Progress, Silent

_OPENERS: dict[str, Callable[..., IO[Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_SHORTEST_JOINED = 16
Document = list[str]


@dataclass
class SourceCounts:
    """What became of one source."""

    lines: int = 0
    """lines with content, of the part that is used"""
    repeated: int = 0
    """dropped: the line had been seen often enough"""
    excluded: int = 0
    """dropped: lines, or texts joined from them, that are or contain a message that is kept out"""
    texts: int = 0
    """texts to train on"""
    words: int = 0
    """words of these texts"""
    held_out: int = 0
    """texts held out"""


@dataclass(frozen=True)
class Corpus:
    """Texts to train on, and texts held out."""

    texts: list[str]
    source: NDArray[np.int16]
    """(texts,) number of each text's source"""
    held_out: list[str]
    held_out_source: NDArray[np.int16]
    names: list[str]
    """sources by number"""
    times: NDArray[np.float64]
    """(sources,) how often a pass shows a text of each"""
    counts: dict[str, SourceCounts] = field(default_factory=dict)

    def a_pass(self, seed: int, number: int) -> NDArray[np.int64]:
        """Text numbers of pass `number` in training order: each text `times` times, a fraction by lot."""
        random = np.random.default_rng([seed, number])
        times = self.times[self.source]
        whole = np.floor(times).astype(np.int64)
        often = whole + (random.random(len(times)) < times - whole)
        return random.permutation(np.repeat(np.arange(len(times)), often))


def find_sources(places: Sequence[Path], settings: CorpusSettings) -> dict[str, tuple[Path, SourceSettings]]:
    """Each source's file: those that the recipe names, looked for in the folders given; else every file given.

    Raises:
        DataError: a place does not exist, holds no text file, or lacks a file that the recipe names.
    """
    for place in places:
        if not place.exists():
            raise DataError(f"corpus {place} does not exist; give text files, or folders of them")
    if not settings.sources:
        files = [file for place in places for file in ([place] if place.is_file() else _text_files(place))]
        if not files:
            raise DataError(f"no text file (.txt, also .gz, .bz2, .xz) in {', '.join(map(str, places))}")
        return {_name(file, files): (file, SourceSettings(file=file.name)) for file in files}
    found = {}
    for name, source in settings.sources.items():
        candidates = [p / source.file if p.is_dir() else p for p in places]
        file = next((c for c in candidates if c.is_file() and c.name == Path(source.file).name), None)
        if file is None:
            shown = ", ".join(map(str, places))
            raise DataError(f"source {name}: {source.file} is not in {shown}; get it from {source.upstream}, or leave it out of the recipe")
        found[name] = (file, source)
    return found


def _text_files(folder: Path) -> list[Path]:
    def is_text(file: Path) -> bool:
        return file.suffix == ".txt" or (file.suffix in _OPENERS and Path(file.stem).suffix == ".txt")

    return sorted(file for file in folder.iterdir() if file.is_file() and is_text(file))


def _name(file: Path, files: Sequence[Path]) -> str:
    return file.name if sum(other.name == file.name for other in files) == 1 else str(file)


def read_corpus(
    places: Sequence[Path], settings: CorpusSettings, *, excluded: Excluded | None = None, seed: int = 42, progress: Progress | None = None
) -> Corpus:
    """Read and prepare a corpus.

    Args:
        places: text files, or folders of them.
        settings: how; sources and their shares.
        excluded: messages that must not occur.
        seed: of every draw.
        progress: is told about lines.

    Raises:
        DataError: a file is missing, unreadable or not UTF-8, or nothing is left to train on.
    """
    excluded = excluded or Excluded()
    found = find_sources(places, settings)
    texts: list[list[str]] = []
    held: list[list[str]] = []
    counts: dict[str, SourceCounts] = {}
    with (progress or Silent()).task("reading", total=len(found), unit="files") as task:
        for name, (file, source) in found.items():
            random = np.random.default_rng([seed, zlib.crc32(name.encode())])
            counts[name] = SourceCounts()
            documents = _chosen(_documents(file, source.form), source.times, random)
            documents = list(_cleaned(documents, source, settings, excluded, counts[name]))
            train, out = _divided(documents, settings.held_out_share, random)
            texts.append(_allowed(_texts(train, settings, random), excluded, counts[name]))
            held.append(_allowed(_texts(out, settings, random), excluded, counts[name]))
            counts[name].texts = len(texts[-1])
            counts[name].words = sum(text.count(" ") + text.count("\n") + 1 for text in texts[-1])
            task.advance(1, f"{name}: {len(texts[-1]):,} texts")
    if not any(texts):
        raise DataError(f"{', '.join(map(str, places))}: no text is left to train on")
    times = np.array([max(1.0, source.times) for _, source in found.values()])
    known = {text for part in texts for text in part}  # a text may stand in two sources
    held = [[text for text in part if text not in known] for part in held]
    for name, part in zip(found, held, strict=True):
        counts[name].held_out = len(part)
    flat, flat_held = [text for part in texts for text in part], [text for part in held for text in part]
    return Corpus(flat, _numbers(texts), flat_held, _numbers(held), list(found), times, counts)


def _numbers(parts: Sequence[Sequence[str]]) -> NDArray[np.int16]:
    return np.repeat(np.arange(len(parts), dtype=np.int16), [len(part) for part in parts])


def _documents(file: Path, form: str) -> list[Document]:
    """Lines as they stand, by document; in a flat file every line is one."""
    opener: Callable[..., IO[Any]] = _OPENERS.get(file.suffix, open)
    try:
        try:
            with opener(file, "rt", encoding="utf-8-sig", errors="strict", newline=None) as stream:
                lines = [line.rstrip("\n") for line in stream]
        except UnicodeDecodeError as error:
            raise DataError(f"{file} is not UTF-8 ({error.reason} in line {_first_bad_line(file, opener)}); convert it first") from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{file} cannot be read ({error})") from error
    blank = [not line.strip() for line in lines]
    if form == "flat" or (form == "auto" and not _stands_between(blank)):
        return [[line] for line, empty in zip(lines, blank, strict=True) if not empty]
    documents: list[Document] = [[]]
    for line, empty in zip(lines, blank, strict=True):
        if empty:
            documents.append([])
        else:
            documents[-1].append(line)
    return [document for document in documents if document]


def _first_bad_line(file: Path, opener: Callable[..., IO[Any]]) -> int:
    """Number of the first line that is not UTF-8; a decoder of a stream only knows the place in its buffer."""
    with opener(file, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


def _stands_between(blank: list[bool]) -> bool:
    """Whether a blank line has lines before and after it."""
    filled = [i for i, empty in enumerate(blank) if not empty]
    return bool(filled) and len(filled) <= filled[-1] - filled[0]


def _chosen(documents: list[Document], times: float, random: np.random.Generator) -> list[Document]:
    if times >= 1:
        return documents
    return [documents[i] for i in np.sort(random.permutation(len(documents))[: max(1, round(times * len(documents)))])]


def _cleaned(
    documents: Iterable[Document], source: SourceSettings, settings: CorpusSettings, excluded: Excluded, counts: SourceCounts
) -> Iterator[Document]:
    rules = [RULES[name] for name in source.clean]
    seen: Counter[str] = Counter()
    for document in documents:
        kept: Document = []
        for raw in document:
            line = tidy(raw)
            for rule in rules:
                line = rule(line)
            if not has_content(line):
                continue
            counts.lines += 1
            key = repeat_key(line)
            seen[key] += 1
            if seen[key] > settings.repeats:
                counts.repeated += 1
            elif excluded.holds(line):
                counts.excluded += 1
            else:
                kept.extend(cut(line, settings.longest_words))
        if kept:
            yield kept


def _allowed(texts: Iterable[str], excluded: Excluded, counts: SourceCounts) -> list[str]:
    """Joined lines, or the parts of a cut one, can be a message where no line was."""
    kept = []
    for text in texts:
        if excluded.holds(text):
            counts.excluded += 1
        else:
            kept.append(text)
    return kept


def _divided(documents: list[Document], share: float, random: np.random.Generator) -> tuple[list[Document], list[Document]]:
    """By whole documents, so that no held-out text has its neighbour in training."""
    out = np.zeros(len(documents), dtype=bool)
    if share > 0 and len(documents) > 1:
        out[random.permutation(len(documents))[: min(len(documents) - 1, max(1, round(share * len(documents))))]] = True
    parts = ([d for d, o in zip(documents, out, strict=True) if o == wanted] for wanted in (False, True))
    train, held = parts
    return train, held


def _texts(documents: Iterable[Document], settings: CorpusSettings, random: np.random.Generator) -> Iterator[str]:
    """Single lines, and runs of lines up to a drawn number of words: a language model needs the turn before, an encoder both."""
    low, high = min(_SHORTEST_JOINED, settings.longest_words), settings.longest_words
    for document in documents:
        place = 0
        while place < len(document):
            room = 0 if random.random() < settings.single_share else int(random.integers(low, high + 1))
            run, words = [document[place]], document[place].count(" ") + 1
            place += 1
            while place < len(document) and words + document[place].count(" ") < room:
                words += document[place].count(" ") + 1
                run.append(document[place])
                place += 1
            yield "\n".join(run)
