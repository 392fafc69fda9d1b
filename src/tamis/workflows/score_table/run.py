"""`tamis score`: reads a table, has its texts scored by an engine, and writes the parts.

A part is written as soon as its texts are scored. Killed at any moment, the same command goes on
with the first part that is not finished, and ends with the same bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tamis import __version__
from tamis.classifier.model_folder import training_columns
from tamis.data.files.columns import firm
from tamis.errors import DataError, RunError
from tamis.progress import Progress, Silent
from tamis.workflows.score_table.engine import Engine, ModelFacts, ScoringJob
from tamis.workflows.score_table.open_table import open_table
from tamis.workflows.score_table.options import ScoreOptions
from tamis.workflows.score_table.output_folder import OutputFolder
from tamis.workflows.score_table.part_files import added_columns
from tamis.workflows.score_table.records import BAD_ROWS, SUMMARY, Records, prepare
from tamis.workflows.score_table.rows import Table
from tamis.workflows.score_table.scored_parts import ScoredParts
from tamis.workflows.score_table.source import TableSource
from tamis.workflows.score_table.summary import Totals
from tamis.workflows.score_table.survey import Survey, survey


@dataclass(frozen=True)
class Outcome:
    """A scored table."""

    summary: dict[str, Any]
    """the content of summary.json"""
    timing: dict[str, Any]
    """of this run only: `seconds`, of them `scoring_seconds` (the model is loaded), and
    `rows_this_run`"""


def score_table(
    job: ScoringJob,
    source: TableSource,
    folder: OutputFolder,
    engine: Engine,
    options: ScoreOptions,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Score a table into a folder.

    Args:
        job: the model.
        source: the table.
        folder: what is written; see `records` for its files.
        engine: what scores; not yet started.
        options: how the table is read and written.
        progress: receives progress updates, in rows.
        say: receives messages for the user.

    Raises:
        RunError: the folder is in use, finished, of another run, holds the table, or cannot be
            written.
        DataError: the table cannot be read, too many rows are bad, or none can be scored.
        TamisError: the model cannot be loaded, or the engine fails.
    """
    begun = time.monotonic()
    if folder.contains(source.name):
        raise RunError(
            f"{source.name} is in {folder.name}, whose files are replaced by the results; give "
            "another folder for the results"
        )
    usual = options.text or training_columns(job.run)[0]
    with folder.locked():
        ended = prepare(folder, overwrite=options.overwrite)
        if ended is not None:
            return Outcome(ended, {})
        known = survey(source)
        records = Records(folder, overwrite=options.overwrite)
        reading = {"text": firm(options.text), "header": options.header}
        records.agree(
            {
                "version": __version__,
                "input": known.sha256,
                "table": reading,
                "part_rows": options.part_rows,
            }
        )
        table = open_table(source, known, text=usual, header=options.header)
        for note in table.notes:
            say(note)
        dtype = records.begun().get("dtype")
        if job.dtype == "auto" and isinstance(dtype, str):
            job = replace(job, dtype=dtype)  # `auto` may be another type when it is measured again
        with engine:
            facts = engine.start(job)
            added = added_columns(table.columns, facts.labels)
            records.agree({"model": facts.fingerprint, "columns": [table.text_column, *added]})
            records.agree({"dtype": facts.dtype})
            for note in facts.notes:
                say(note)
            parts = ScoredParts(folder, records, table, facts.labels, options)
            loaded = time.monotonic()
            scored = _score_all(parts, engine, table, progress or Silent())
            ready = time.monotonic()
        for note in table.ending_notes():
            say(note)
        described = _described(job, source, known, table, facts)
        summary = _finish(folder, records, parts, described)
    timing = {
        "seconds": round(time.monotonic() - begun, 3),
        "scoring_seconds": round(ready - loaded, 3),
        "rows_this_run": scored,
    }
    if not summary["scored"] and summary["bad_rows"]:
        raise DataError(
            f"{source.name}: none of the {summary['bad_rows']:,} rows could be scored; the reasons "
            f"are in {folder.name}/{BAD_ROWS}"
        )
    return Outcome(summary, timing)


def _score_all(parts: ScoredParts, engine: Engine, table: Table, progress: Progress) -> int:
    """Score and write all parts that are not finished; return the number of their rows."""
    done = parts.rows_finished()
    total = max(table.expected, done)
    with progress.task("score", total=total, unit="rows", done=done) as task:
        parts.advanced = lambda rows: task.advance(rows, parts.note())
        while not parts.ended:
            for scored in engine.score(parts.chunks()):
                parts.take(scored)
    return parts.rows_written


def _described(
    job: ScoringJob, source: TableSource, known: Survey, table: Table, facts: ModelFacts
) -> dict[str, Any]:
    return {
        "input": {
            "name": source.name,
            "bytes": known.size,
            "sha256": known.sha256,
            "encoding": "binary" if table.format == "parquet" else known.encoding,
        },
        "format": table.format,
        "text_column": table.text_column,
        "added_columns": list(added_columns(table.columns, facts.labels)),
        "model": {
            "run": job.run,
            "labels": list(facts.labels),
            "fingerprint": facts.fingerprint,
            "device": facts.device,
            "dtype": facts.dtype,
        },
        "feedback": job.feedback.use,
        "notes": [*table.notes, *table.ending_notes(), *facts.notes],
        "version": __version__,
    }


def _finish(
    folder: OutputFolder, records: Records, parts: ScoredParts, described: dict[str, Any]
) -> dict[str, Any]:
    """Write the bad rows and, last of all, the summary."""
    totals = Totals()
    with folder.replaced(BAD_ROWS) as path, path.open("w", encoding="utf-8") as file:
        for number in range(parts.count):
            facts = records.part(number)
            if facts is None:
                raise RunError(f"{folder.name}: part {number} was removed; repeat the same command")
            totals.add(facts)
            for row in facts["bad"]:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    summary = {**totals.to_dict(), **described}
    records.write(SUMMARY, json.dumps(summary, ensure_ascii=False, indent=2) + "\n")
    records.forget()
    return summary
