"""Builds a corpus from plain text files: read, clean, split to length, mix by the recipe's shares,
and remove evaluation messages.

The same files, recipe and seed give the same texts in the same order.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis.data.deduplication import repeat_key
from tamis.errors import DataError
from tamis.progress import Progress, Silent
from tamis.training.pretraining.cleaning import RULES, cut, has_content, tidy
from tamis.training.pretraining.decontamination import Excluded
from tamis.training.pretraining.documents import OPENERS, Document, chosen, divided, read_documents
from tamis.training.pretraining.recipe import CorpusSettings, SourceSettings

_SHORTEST_JOINED = 16


@dataclass
class SourceCounts:
    """Counts of one source."""

    lines: int = 0
    """lines with content, in the part that is used"""
    repeated: int = 0
    """removed: lines that had occurred often enough"""
    excluded: int = 0
    """removed: lines that are, contain or are part of an excluded message, and texts joined from
    lines that do"""
    texts: int = 0
    """training texts"""
    words: int = 0
    """words in the training texts"""
    held_out: int = 0
    """held-out texts"""


@dataclass(frozen=True)
class Corpus:
    """Training texts and held-out texts."""

    texts: list[str]
    source: NDArray[np.int16]
    """(texts,) source number of each text"""
    held_out: list[str]
    held_out_source: NDArray[np.int16]
    names: list[str]
    """names of the sources, by number"""
    times: NDArray[np.float64]
    """(sources,) how often a pass contains each text of the source"""
    counts: dict[str, SourceCounts] = field(default_factory=dict)

    def a_pass(self, seed: int, number: int) -> NDArray[np.int64]:
        """Return the text numbers of pass `number` in training order.

        Each text occurs `times` times; a fraction is drawn at random.
        """
        random = np.random.default_rng([seed, number])
        times = self.times[self.source]
        whole = np.floor(times).astype(np.int64)
        often = whole + (random.random(len(times)) < times - whole)
        return random.permutation(np.repeat(np.arange(len(times)), often))


def find_sources(
    places: Sequence[Path], settings: CorpusSettings
) -> dict[str, tuple[Path, SourceSettings]]:
    """Return each source's file: those that the recipe names, else every given file.

    Raises:
        DataError: a path does not exist, contains no text file, or lacks a file that the recipe
            names.
    """
    for place in places:
        if not place.exists():
            raise DataError(f"corpus {place} does not exist; give text files, or folders of them")
    if not settings.sources:
        files = [
            file
            for place in places
            for file in ([place] if place.is_file() else _text_files(place))
        ]
        if not files:
            raise DataError(
                f"found no text file (.txt, also .gz, .bz2, .xz) in {', '.join(map(str, places))}"
            )
        return {_name(file, files): (file, SourceSettings(file=file.name)) for file in files}
    found = {}
    for name, source in settings.sources.items():
        candidates = [p / source.file if p.is_dir() else p for p in places]
        file = next(
            (c for c in candidates if c.is_file() and c.name == Path(source.file).name), None
        )
        if file is None:
            shown = ", ".join(map(str, places))
            raise DataError(
                f"source {name}: {source.file} is not in {shown}; get it from {source.upstream}, "
                "or remove the source from the recipe"
            )
        found[name] = (file, source)
    return found


def _text_files(folder: Path) -> list[Path]:
    def is_text(file: Path) -> bool:
        return file.suffix == ".txt" or (
            file.suffix in OPENERS and Path(file.stem).suffix == ".txt"
        )

    return sorted(file for file in folder.iterdir() if file.is_file() and is_text(file))


def _name(file: Path, files: Sequence[Path]) -> str:
    return file.name if sum(other.name == file.name for other in files) == 1 else str(file)


def read_corpus(
    places: Sequence[Path],
    settings: CorpusSettings,
    *,
    excluded: Excluded | None = None,
    seed: int = 42,
    progress: Progress | None = None,
) -> Corpus:
    """Read and prepare a corpus.

    Args:
        places: text files, or folders of them.
        settings: corpus settings, including the sources and their shares.
        excluded: messages that must not occur in the corpus.
        seed: seed of every draw.
        progress: progress callback, counts lines.

    Raises:
        DataError: a file is missing, unreadable or not UTF-8, or no training text is left.
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
            documents = chosen(read_documents(file, source.form), source.times, random)
            documents = list(_cleaned(documents, source, settings, excluded, counts[name]))
            train, out = divided(documents, settings.held_out_share, random)
            texts.append(_allowed(_texts(train, settings, random), excluded, counts[name]))
            held.append(_allowed(_texts(out, settings, random), excluded, counts[name]))
            counts[name].texts = len(texts[-1])
            counts[name].words = sum(text.count(" ") + text.count("\n") + 1 for text in texts[-1])
            task.advance(1, f"{name}: {len(texts[-1]):,} texts")
    if not any(texts):
        raise DataError(
            f"{', '.join(map(str, places))}: no training text is left; add text, or exclude less"
        )
    times = np.array([max(1.0, source.times) for _, source in found.values()])
    known = {text for part in texts for text in part}  # two sources may contain the same text
    held = [[text for text in part if text not in known] for part in held]
    for name, part in zip(found, held, strict=True):
        counts[name].held_out = len(part)
    flat, flat_held = (
        [text for part in texts for text in part],
        [text for part in held for text in part],
    )
    return Corpus(flat, _numbers(texts), flat_held, _numbers(held), list(found), times, counts)


def _numbers(parts: Sequence[Sequence[str]]) -> NDArray[np.int16]:
    return np.repeat(np.arange(len(parts), dtype=np.int16), [len(part) for part in parts])


def _cleaned(
    documents: Iterable[Document],
    source: SourceSettings,
    settings: CorpusSettings,
    excluded: Excluded,
    counts: SourceCounts,
) -> Iterator[Document]:
    rules = [RULES[name] for name in source.clean]
    seen: Counter[str] = Counter()
    for document in documents:
        lines = [line for raw in document if has_content(line := _clean(raw, rules))]
        keys = [repeat_key(line) for line in lines]
        kept: Document = []
        # Before any line is removed: a message of several lines is found only while they are
        # adjacent.
        for line, key, out in zip(lines, keys, excluded.among(keys), strict=True):
            counts.lines += 1
            seen[key] += 1
            if seen[key] > settings.repeats:
                counts.repeated += 1
            elif out:
                counts.excluded += 1
            else:
                kept.extend(cut(line, settings.longest_words))
        if kept:
            yield kept


def _clean(raw: str, rules: Sequence[Callable[[str], str]]) -> str:
    line = tidy(raw)
    for rule in rules:
        line = rule(line)
    return line


def _allowed(texts: Iterable[str], excluded: Excluded, counts: SourceCounts) -> list[str]:
    """Return the texts that are not excluded: joined lines, or parts of a split line, can be a
    message even if no single line was.
    """
    kept = []
    for text in texts:
        if excluded.holds(text):
            counts.excluded += 1
        else:
            kept.append(text)
    return kept


def _texts(
    documents: Iterable[Document], settings: CorpusSettings, random: np.random.Generator
) -> Iterator[str]:
    """Yield single lines, and runs of lines up to a random number of words.

    A language model needs the previous turns of a conversation; an encoder needs both.
    """
    low, high = min(_SHORTEST_JOINED, settings.longest_words), settings.longest_words
    for document in documents:
        place = 0
        while place < len(document):
            room = (
                0
                if random.random() < settings.single_share
                else int(random.integers(low, high + 1))
            )
            run, words = [document[place]], document[place].count(" ") + 1
            place += 1
            while place < len(document) and words + document[place].count(" ") < room:
                words += document[place].count(" ") + 1
                run.append(document[place])
                place += 1
            yield "\n".join(run)
