"""What an interrupted training hands on to the next one besides its weights: seconds, reasons, and
what was chosen for its budget. RUN/checkpoint/progress.json.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tamis.files import write_text
from tamis.training.resolve import ResolvedRecipe
from tamis.workflows.environment import Clock

_FILE = "progress.json"
SAVE_EVERY_S = 10.0
"""Seconds between two writes; as many are missing from the total after a kill."""


class RunProgress:
    """Seconds per phase of all processes that worked on a run, and why its settings are so."""

    def __init__(self, checkpoint: Path, clock: Clock) -> None:
        """Go on with what the last process left; `clock` has the seconds of this one."""
        self.path, self.clock = checkpoint / _FILE, clock
        self.tune_reason: str | None = None
        self.reasons: dict[str, str] = {}
        self.budget: dict[str, Any] | None = None
        self._saved = time.monotonic()
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            seconds = {str(name): float(value) for name, value in kept["seconds"].items()}
            self.tune_reason, self.budget = kept["tune_reason"], kept["budget"]
            self.reasons = dict(kept["reasons"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # a new run, or a damaged file: then seconds and reasons are those of this one
        for name, value in seconds.items():
            clock.seconds[name] = clock.seconds.get(name, 0.0) + value

    def resolved(self, planned: ResolvedRecipe, reasons: dict[str, str]) -> None:
        """Note why settings are what they are. A resumed training has a resolved recipe, whose
        settings all look requested, so the first note counts.
        """
        if self.tune_reason is None:
            self.tune_reason, self.reasons = planned.tune_reason, dict(reasons)

    def save(self) -> None:
        """Write the file."""
        kept = {
            "seconds": self.clock.so_far(),
            "tune_reason": self.tune_reason,
            "reasons": self.reasons,
            "budget": self.budget,
        }
        write_text(self.path, json.dumps(kept, ensure_ascii=False, indent=2) + "\n")
        self._saved = time.monotonic()

    def watch(self, name: str, amount: int, total: int) -> None:
        """Write the file now and then (a `Watch`)."""
        if time.monotonic() - self._saved >= SAVE_EVERY_S:
            self.save()
