"""Write docs/quality.md from benchmarks/quality's results. A test holds them together.

PYTHONPATH=src:. python docs/make_quality.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.quality.table import costs, current, read, table

ROOT = Path(__file__).parents[1]
QUALITY = ROOT / "benchmarks" / "quality"
PAGE = ROOT / "docs" / "quality.md"
INTRODUCTION = """# What it is worth

Made by `python docs/make_quality.py` from `benchmarks/quality/results.jsonl` and \
`benchmarks/quality/pooled.json`. Mean and standard
deviation over seeds (draws of rows, splits or, where both are fixed, of the training); a cell \
without a deviation is a single run. The most
likely class is chosen, without a tuned threshold; at its "own threshold" a method chooses as its \
users see it. A number behind a task's
name is that of labelled rows a class.

    python -m benchmarks.quality --data DATA --out benchmarks/quality/results.jsonl \
--method tfidf --method nano-full=nano@full

`nano-full`: everything trained, the default; `nano-head`: the exact head on the frozen backbone; \
`nano-blocks2`: the
last two blocks; `nano-lora8`: adapters of rank 8; `scratch`: the same network and vocabulary, not \
pretrained; `minilm`: frozen
all-MiniLM-L6-v2 with the same exact head; `tfidf-threshold`: `tfidf` cut where out-of-fold rows \
have the best F1, as tamis cuts;
`setfit`: the same encoder tuned by SetFit, 20 pairs a row of each kind.

The rows of `nano-full` with few labels a class were made with every row learnt (`--set \
decision.cv_folds=0 --set data.validation_share=0`),
those with 8 to 64 labels of sms-spam shortly before the head's start and the rate of many classes \
changed, which touch none of them.
`nano-blocks2`, `nano-lora8` and `scratch` learnt every row as well where labels are few; theirs \
are of two to five draws, the first of the
others'. The large tables of sms-spam, `banking77` and the first seed of `trec6` were made before \
held-out rows chose a share of the start
(`train.wise_ft`); on sms-spam that share is 0 (measured for `tp2` and the division of `make demo`).
"""


def pooled_lines(found: dict[str, dict[str, Any]]) -> list[str]:
    """Several runs' test rows together, a line a way of choosing the threshold."""
    lines = [
        "| threshold | runs | caught | blocked | calibration error | unsure | of the errors, "
        "unsure |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, figures in found.items():
        shares = [_share(figures, key) for key in ("recall", "false_positive_rate")]
        rest = [
            f"{100 * figures['ece']:.2f} %",
            _share(figures, "unsure"),
            f"{_share(figures, 'errors_in_band')} of {figures['errors']}",
        ]
        lines.append(f"| {name} | {figures['runs']} | {' | '.join([*shares, *rest])} |")
    return lines


def each_line(found: dict[str, dict[str, Any]]) -> list[str]:
    """Run by run, beside the TF-IDF of the same rows."""
    lines = ["| threshold | figure | tamis | TF-IDF |", "|---|---|---|---|"]
    for name, figures in found.items():
        for key, shown in (
            ("average_precision", "average precision"),
            ("mcc", "MCC, the likelier class"),
        ):
            mine, theirs = (
                [run[place] for run in figures["each"]] for place in (key, f"tfidf_{key}")
            )
            lines.append(f"| {name} | {shown} | {_listed(mine)} | {_listed(theirs)} |")
    return lines


def _listed(values: list[float]) -> str:
    mean = sum(values) / len(values)
    return f"{' '.join(f'{value:.3f}' for value in values)}, mean {mean:.4f}"


def _share(figures: dict[str, Any], key: str) -> str:
    if figures[key] is None:
        return "-"
    low, high = figures[f"{key}_ci95"]
    return f"{100 * figures[key]:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def page(rows: list[dict[str, Any]], pooled: dict[str, dict[str, Any]]) -> str:
    """The page as Markdown."""
    lines = [INTRODUCTION, "## Figures", "", table(rows), ""]
    if any("fit_s" in row for row in rows):
        lines += [
            "## Cost",
            "",
            "Median seconds of a fit on one thread, and messages a second of the test rows, "
            "beside other work on the",
        ]
        lines += ["same two cores:", "", costs(rows), ""]
    if pooled:
        lines += [
            "## Spam caught at ham blocked",
            "",
            "`sms-spam`, division `leakfree`, default settings but for the threshold, the test "
            "rows of the",
        ]
        lines += [
            "runs taken together, 95 % intervals (`python -m benchmarks.quality.pooled RUN... "
            "--out benchmarks/quality/pooled.json`):",
            "",
        ]
        lines += [
            *pooled_lines(pooled),
            "",
            "The same runs one by one, beside the TF-IDF of each report:",
            "",
            *each_line(pooled),
            "",
        ]
    return "\n".join(lines)


def results() -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """What is measured."""
    file = QUALITY / "pooled.json"
    return current(read(QUALITY / "results.jsonl")), json.loads(
        file.read_text(encoding="utf-8")
    ) if file.is_file() else {}


if __name__ == "__main__":
    PAGE.write_text(page(*results()), encoding="utf-8")
