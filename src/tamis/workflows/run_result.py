"""The result of a training: the run folder, the classifier and its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.classifier.text_classifier import TextClassifier
from tamis.evaluation.report.evaluation_report import EvaluationReport


@dataclass(frozen=True, repr=False)
class RunResult:
    """What a training made. A notebook shows the report."""

    path: Path
    """the run folder; `TextClassifier.load(path)` reads it again"""
    classifier: TextClassifier
    """the trained classifier"""
    report: EvaluationReport
    """metrics on test and validation rows, with intervals and baselines"""

    def to_dict(self) -> dict[str, Any]:
        """Return the content of report.json."""
        return self.report.to_dict()

    def __repr__(self) -> str:
        """Return the summary that the command line prints."""
        return f"{self.report!r}\nrun folder: {self.path} (open {self.path / 'report.html'})"

    def _repr_html_(self) -> str:
        """Return the report for a notebook."""
        return self.report._repr_html_()
