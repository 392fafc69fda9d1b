"""The report of an evaluation as a Python object: metrics, report.json, and report.html.

It holds what `build_report` made, and the rows that plots and mistakes are drawn from.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tamis.evaluation.report.live_scores import live_scores
from tamis.evaluation.report.next_steps import next_steps
from tamis.evaluation.report.plots import PlotData, write_all
from tamis.evaluation.report.render_html import MOST_MISTAKES, render
from tamis.evaluation.report.render_text import report_lines
from tamis.evaluation.report.report import Part, ReportInputs, most_confident_mistakes
from tamis.files import replaced


class EvaluationReport(Mapping[str, Any]):
    """Metrics of a classifier on labelled rows, with 95 % intervals and baselines.

    As a mapping it has the metrics of `tamis.evaluation.metrics.figures`: `report["f1"]`,
    `report["ci95"]["f1"]`. `print(report)` shows the summary of the command line; a notebook shows
    the HTML report.
    """

    def __init__(self, values: Mapping[str, Any], inputs: ReportInputs) -> None:
        """Hold `values`, the content of report.json, and the rows that it describes."""
        self.report, self._inputs = dict(values), inputs
        """the content of report.json; what is added to it appears in the pages"""
        self.report["next_steps"] = next_steps(self.report)  # what was added counts too

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics on the test rows; on the validation rows where there are no test rows."""
        return dict(self.report["test"] or self.report["validation"] or {})

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % confidence interval of each metric that has one."""
        found = self.metrics.get("ci95") or {}
        return {name: (pair[0], pair[1]) for name, pair in found.items() if pair is not None}

    @property
    def baselines(self) -> dict[str, dict[str, Any]]:
        """The metrics of `majority` and `tfidf` on the same rows; empty without training rows."""
        return dict(self.report["baselines"])

    @property
    def warnings(self) -> list[str]:
        """Sentences about problems, such as a class that is never predicted."""
        return list(self.report["warnings"])

    @property
    def notes(self) -> list[str]:
        """Further sentences about the figures."""
        return list(self.report["notes"])

    @property
    def summary(self) -> list[str]:
        """The result in whole numbers, as sentences: what happens to 1,000 messages."""
        return list((self.report.get("summary") or {}).get("sentences", []))

    @property
    def next_steps(self) -> list[str]:
        """What to try next, as sentences, the most important first."""
        return [step["sentence"] for step in self.report.get("next_steps") or []]

    def mistakes(self, limit: int = 20) -> list[dict[str, Any]]:
        """Return the wrong predictions with the highest probability: `row` (from 0), `label`,
        `predicted`, `probability`, `text`.
        """
        part = self._part()
        if part is None:
            return []
        return most_confident_mistakes(
            part,
            self._inputs.classes,
            positive=self._inputs.positive,
            threshold=self.report["threshold"],
            limit=limit,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the content of report.json: plain values, `None` for what is not defined."""
        return copy.deepcopy(self.report)

    def to_html(self, plots: Mapping[str, Path] | None = None) -> str:
        """Return one self-contained HTML page. `plots` are further PNG files, by caption."""
        return self._rendered(plots or {}, notebook=False)

    def save(self, path: str | Path, plots: Mapping[str, Path] | None = None) -> Path:
        """Write the page of `to_html` atomically and return its path."""
        path = Path(path)
        page = self.to_html(plots)
        with replaced(path) as beside:
            # A lone surrogate in a text cannot be written as UTF-8; the page shows a replacement.
            beside.write_bytes(page.encode("utf-8", errors="replace"))
        return path

    def __getitem__(self, name: str) -> Any:
        """Return a metric."""
        return self.metrics[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the metrics."""
        return iter(self.metrics)

    def __len__(self) -> int:
        """Return the number of metrics."""
        return len(self.metrics)

    def __repr__(self) -> str:
        """Return the summary that the command line prints."""
        return "\n".join(report_lines(self.report))

    def _repr_html_(self) -> str:
        """Return the report for a notebook."""
        return self._rendered({}, notebook=True)

    def _part(self) -> Part | None:
        return self._inputs.test if self.report["test"] else self._inputs.validation

    def _rendered(self, plots: Mapping[str, Path], *, notebook: bool) -> str:
        inputs, part = self._inputs, self._part()
        with tempfile.TemporaryDirectory() as folder:
            drawn: dict[str, Path] = {}
            if part is not None and len(part.labels):
                baselines = inputs.baselines if part is inputs.test else {}
                threshold = self.report["threshold"]
                data = PlotData(
                    inputs.classes,
                    inputs.positive,
                    threshold,
                    part.labels,
                    part.probabilities,
                    baselines,
                )
                drawn = write_all(folder, data)
            return render(
                self.report,
                {**drawn, **plots},
                self.mistakes() if notebook else self.mistakes(MOST_MISTAKES),
                live=None if notebook else live_scores(part, self.report),
                notebook=notebook,
            )
