"""What the folder of an unfinished run knows: what it was begun with, and which parts are finished.

The folder of a finished run has `summary.json`, which holds the same facts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tamis.errors import RunError
from tamis.workflows.score_table.output_folder import STATE, OutputFolder
from tamis.workflows.score_table.scores import ScoreColumn

SUMMARY, BAD_ROWS = "summary.json", "bad-rows.jsonl"
_MANIFEST = f"{STATE}/manifest.json"
_OTHER = {
    "input": "the input file has another content",
    "table": "the table is read in another way",
    "columns": "the output has other columns",
    "part_rows": "--part-rows was another number",
    "model": "the model is another one, or has learned from other corrections",
    "version": "another version of tamis",
}


class Records:
    """The state of one output folder."""

    def __init__(self, folder: OutputFolder, *, overwrite: bool = False) -> None:
        """Read what the run was begun with; `overwrite`: begin anew where that does not agree."""
        self._folder, self._overwrite = folder, overwrite
        self._manifest: dict[str, Any] = self._read(_MANIFEST) or {}
        self._agreed: dict[str, Any] = {}

    def begun(self) -> Mapping[str, Any]:
        """Return the facts that the run was begun with; empty for a new one."""
        return self._manifest

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Check that these facts are those that the run was begun with, and note new ones. A run
        without a finished part is begun anew: it may have ended because of the setting that is
        another one now.

        Raises:
            RunError: one of them is another.
        """
        for name, value in facts.items():
            before = self._manifest.get(name, value)
            if before != value and (self._overwrite or not self._has_parts()):
                _clear(self._folder)
                self._manifest = dict(self._agreed)
            elif before != value:
                raise RunError(
                    f"{self._folder.name} was begun with other settings: {_OTHER[name]} "
                    f"({_shown(before)} then, {_shown(value)} now); repeat the command that it was "
                    "begun with, give another folder, or begin anew with --overwrite"
                )
        merged = {**self._manifest, **json.loads(json.dumps(dict(facts)))}
        if merged != self._manifest:
            self._manifest = merged
            self.write(_MANIFEST, json.dumps(merged, ensure_ascii=False, indent=1))
        self._agreed |= facts

    def finish_part(self, number: int, facts: Mapping[str, Any], scores: str | None) -> None:
        """Note that a part is written; `scores` are those of its texts that are remembered."""
        if scores is not None:
            self.write(f"{STATE}/remembered-{number:05d}.jsonl", scores)
        self.write(_record(number), json.dumps(facts, ensure_ascii=False))

    def part(self, number: int) -> dict[str, Any] | None:
        """Return the facts of a part, or None if it is not finished, or its file was changed since.

        Raises:
            RunError: the facts cannot be read.
        """
        facts = self._read(_record(number))
        if facts is None or self._folder.size(str(facts.get("file"))) != facts.get("bytes"):
            return None
        return facts

    def remembered(self, number: int, scores: ScoreColumn) -> None:
        """Add the scores of the remembered texts of a finished part.

        Raises:
            RunError: they cannot be read.
        """
        name = f"{STATE}/remembered-{number:05d}.jsonl"
        try:
            scores.extend_from_jsonl(self._folder.read(name))
        except (OSError, ValueError, TypeError, IndexError):
            raise self._damaged(name) from None

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder."""
        with self._folder.replaced(name) as path:
            path.write_text(text, encoding="utf-8", newline="")

    def forget(self) -> None:
        """Remove everything that only a resumed run needs."""
        self._folder.remove(STATE)

    def _has_parts(self) -> bool:
        return any(name.startswith(f"{STATE}/part-") for name in self._folder.names())

    def _read(self, name: str) -> dict[str, Any] | None:
        if self._folder.size(name) is None:
            return None
        try:
            found = json.loads(self._folder.read(name))
        except (OSError, ValueError):
            raise self._damaged(name) from None
        if not isinstance(found, dict):
            raise self._damaged(name)
        return found

    def _damaged(self, name: str) -> RunError:
        return RunError(
            f"{Path(self._folder.name) / name} cannot be read; begin anew with --overwrite"
        )


def prepare(folder: OutputFolder, *, overwrite: bool) -> dict[str, Any] | None:
    """Check that a locked folder can be written. An unfinished run stays, also with `overwrite`: if
    it was begun with the same facts, it is resumed.

    Returns:
        The summary of a run that was killed at its very end, when only its state was left to be
        removed; None otherwise.

    Raises:
        RunError: the folder has other files, or a finished run, or parts of no known run.
    """
    names = folder.names()
    others = sorted(name for name in names if not _is_own(name))
    if others:
        raise RunError(
            f"{folder.name} contains other files ({', '.join(map(repr, others[:3]))}); give a new "
            "or an empty folder"
        )
    for name in names:
        if name.startswith(".") and name.endswith(".part"):  # left by a kill
            folder.remove(name)
    summary = None if overwrite else _summary(folder)
    if summary is not None and STATE in names:
        folder.remove(STATE)
        return summary
    if summary is not None:
        raise RunError(
            f"{folder.name} is finished ({summary.get('rows', 0):,} rows); give another folder, or "
            "score again with --overwrite"
        )
    if overwrite and (SUMMARY in names or _MANIFEST not in names):
        _clear(folder)
    elif _MANIFEST not in names and any(name == BAD_ROWS or _is_part(name) for name in names):
        raise RunError(
            f"{folder.name} contains parts of a run that cannot be resumed; give another folder, "
            "or begin anew with --overwrite"
        )
    return None


def _clear(folder: OutputFolder) -> None:
    """Remove everything of a run. The state and the summary go first: parts that remain without
    them belong to no run.
    """
    for name in [STATE, SUMMARY, *sorted(name for name in folder.names() if _is_own(name))]:
        folder.remove(name)


def _is_own(name: str) -> bool:
    if name.split("/")[0] in (STATE, SUMMARY, BAD_ROWS) or _is_part(name):
        return True
    kept = name.removeprefix(".")
    return kept != name and (kept.startswith((SUMMARY, BAD_ROWS)) or _is_part(kept))


def _is_part(name: str) -> bool:
    return re.match(r"part-\d{5,}\.(csv|jsonl|parquet)", name) is not None


def _summary(folder: OutputFolder) -> dict[str, Any] | None:
    """Return the summary of a finished run; None if it is not finished.

    Raises:
        RunError: it cannot be read.
    """
    if folder.size(SUMMARY) is None:
        return None
    try:
        found = json.loads(folder.read(SUMMARY))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise RunError(f"{folder.name}/{SUMMARY} cannot be read; begin anew with --overwrite")
    return found


def _record(number: int) -> str:
    return f"{STATE}/part-{number:05d}.json"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
