"""Parts on their way: read, waiting for scores, written.

A part is written when its own texts and the remembered texts that it repeats are scored. Parts that
are finished already are read again only for their texts that later parts repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tamis.errors import DataError, RunError
from tamis.workflows.score_table.engine import Chunk, ScoredChunk
from tamis.workflows.score_table.options import ScoreOptions
from tamis.workflows.score_table.output_folder import OutputFolder
from tamis.workflows.score_table.part_files import part_name, part_writer
from tamis.workflows.score_table.parts import Part, cut_parts, rows_by_chunk
from tamis.workflows.score_table.records import Records
from tamis.workflows.score_table.rows import Table
from tamis.workflows.score_table.scores import ScoreColumn, Scores
from tamis.workflows.score_table.summary import part_counts

MOST_OPEN_PARTS = 16
"""Most parts that are in memory at once."""


@dataclass(eq=False)
class _OpenPart:
    part: Part
    chunks: list[Chunk]
    shares: list[int]
    needs: int
    scored: list[ScoredChunk] = field(default_factory=list)

    def is_scored(self) -> bool:
        return len(self.scored) == len(self.chunks)


class ScoredParts:
    """The parts of one table."""

    def __init__(
        self,
        folder: OutputFolder,
        records: Records,
        table: Table,
        labels: Sequence[str],
        options: ScoreOptions,
    ) -> None:
        """`labels` are those of the model."""
        self._folder, self._records, self._table = folder, records, table
        self._max_bad = options.max_bad
        self._write = part_writer(table, labels)
        self._parts = cut_parts(table.rows, options.part_rows)
        self._remembered = ScoreColumn()
        self._open: dict[int, _OpenPart] = {}
        self._teaching: dict[int, _OpenPart] = {}
        """open parts by the number of their first remembered text"""
        self._bad = 0
        self.advanced: Callable[[int], None] = lambda rows: None
        """receives numbers of rows, for progress, as they are done"""
        self.ended = False
        """all parts are written"""
        self.count = 0
        """parts that were read"""
        self.rows_written = 0
        """rows of parts that were written, not found finished"""

    def rows_finished(self) -> int:
        """Return the rows of the parts that are finished at the beginning."""
        total = number = 0
        while (facts := self._records.part(number)) is not None:
            total += int(facts["rows"])
            number += 1
        return total

    def chunks(self) -> Iterator[Chunk]:
        """Yield chunks to score. Ends before the last one if too many parts wait for scores; then
        it must be called again when the scores are taken.

        Raises:
            DataError: there are too many bad rows.
            RunError: a part cannot be written, or scores are missing.
        """
        if self._open:
            lost = sum(len(each.chunks) - len(each.scored) for each in self._open.values())
            raise RunError(f"the engine ended without the scores of {lost} chunks")
        while len(self._open) < MOST_OPEN_PARTS:
            part = next(self._parts, None)
            if part is None:
                self.ended = not self._open
                return
            self.count += 1
            self._check_bad(part)
            facts = self._records.part(part.number)
            if facts is not None:
                self._skip(part, facts)
                continue
            chunks = part.chunks()
            opened = _OpenPart(part, chunks, rows_by_chunk(part, chunks), part.needs())
            self._open[part.number] = opened
            if part.first_remembered is not None and part.new:
                self._teaching[part.first_remembered] = opened
            self._write_ready()
            if not chunks:
                self.advanced(part.rows)
            yield from chunks

    def take(self, scored: ScoredChunk) -> None:
        """Take the scores of a chunk.

        Raises:
            RunError: a part cannot be written.
        """
        opened = self._open[scored.part]
        opened.scored.append(scored)
        self._write_ready()
        self.advanced(opened.shares[scored.place])

    def note(self) -> str:
        """Return what the progress display shows besides numbers."""
        return f"{self._bad:,} bad rows" if self._bad else ""

    def _check_bad(self, part: Part) -> None:
        self._bad += len(part.bad)
        if self._max_bad is not None and self._bad > self._max_bad:
            shown = "; ".join(
                f"row {row.number}{'' if row.line is None else f' (line {row.line})'}: {row.reason}"
                for row in part.bad[:3]
            )
            raise DataError(
                f"bad rows: {self._bad:,} up to row {part.first_row + part.rows - 1:,}, more "
                f"than --max-bad {self._max_bad:,} ({shown}); correct them in another file, or "
                "repeat the command with a larger number to go on"
            )

    def _skip(self, part: Part, facts: dict[str, Any]) -> None:
        if (facts["rows"], facts["texts_computed"]) != (part.rows, len(part.new)):
            raise RunError(
                f"{self._folder.name}: part {part.number} is finished with other rows than the "
                "table has; begin anew with --overwrite"
            )
        if part.first_remembered is None or not part.new:
            return
        if part.first_remembered != len(self._remembered):  # an earlier part is still open
            self._teaching[part.first_remembered] = _OpenPart(part, [], [], 0)
        else:
            self._records.remembered(part.number, self._remembered)

    def _write_ready(self) -> None:
        """Write all parts whose scores are known, the first ones first."""
        self._remember()
        for number, opened in sorted(self._open.items()):
            own = ScoreColumn()
            if not opened.is_scored() or opened.needs > len(self._remembered):
                continue
            part = opened.part
            if part.first_remembered is None:
                own.add_chunks(opened.scored)
            elif part.first_remembered + len(part.new) > len(self._remembered):
                continue
            self._finish(part, Scores(self._remembered, own))
            del self._open[number]

    def _remember(self) -> None:
        """Add the scores of remembered texts, in the order of their numbers."""
        while (opened := self._teaching.get(len(self._remembered))) is not None:
            if not opened.is_scored():
                return
            part = opened.part
            del self._teaching[len(self._remembered)]
            if part.number in self._open:
                self._remembered.add_chunks(opened.scored)
            else:
                self._records.remembered(part.number, self._remembered)

    def _finish(self, part: Part, scores: Scores) -> None:
        name = part_name(part.number, self._table.format)
        with self._folder.replaced(name) as path:
            self._write(path, part, scores)
        bad = [
            {"row": row.number, "reason": row.reason}
            | ({} if row.line is None else {"line": row.line})
            for row in part.bad
        ]
        facts = {
            **part_counts(part, scores),
            "file": name,
            "bytes": self._folder.size(name),
            "bad": bad,
        }
        first = part.first_remembered
        kept = None
        if first is not None and part.new:
            kept = self._remembered.to_jsonl(first, first + len(part.new))
        self._records.finish_part(part.number, facts, kept)
        self.rows_written += part.rows
