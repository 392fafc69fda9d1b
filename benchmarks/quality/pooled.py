r"""Figures of several runs' test rows together: recall, false positive rate, calibration, and the
unsure band.

    for seed in 0 1 2 3 4; do
        tamis train sms-spam --seed $seed --max-fpr 0.1% -o runs/seed-$seed
    done
    python -m benchmarks.quality.pooled runs/seed-* --name '`--max-fpr 0.1%`' \
        --out benchmarks/quality/pooled.json

Each run has its own split, threshold and band. The test part of a single run is too small to
distinguish 0.1 % from 0.4 %.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import matthews_corrcoef

from tamis.decision.calibration import expected_calibration_error
from tamis.evaluation.metrics import wilson


def pooled(runs: list[Path]) -> dict[str, Any]:
    """Return the figures of all test rows with 95 % intervals of shares, and each run's figures
    with those of its TF-IDF baseline.
    """
    rows: list[dict[str, Any]] = []
    each: list[dict[str, float]] = []
    positive = ""
    for run in runs:
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        positive = report["positive"]
        lines = (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        own = [row for row in map(json.loads, lines) if row["part"] == "test"]
        each.append(_beside_tfidf(report, own))
        rows += own
    truth = np.array([row["label"] == positive for row in rows])
    flagged = np.array([row["predicted"] == positive for row in rows])
    unsure = np.array([row["verdict"] == "unsure" for row in rows])
    wrong = truth != flagged
    probability = np.array([row["probabilities"][positive] for row in rows])
    found: dict[str, Any] = {"runs": len(runs), "rows": len(rows), "positive": positive}
    for name, hits, of in (
        ("recall", flagged[truth].sum(), truth.sum()),
        ("false_positive_rate", flagged[~truth].sum(), (~truth).sum()),
        ("unsure", unsure.sum(), len(rows)),
        ("errors_in_band", (wrong & unsure).sum(), wrong.sum()),
    ):
        found[name], found[f"{name}_ci95"] = (
            float(hits / of) if of else None,
            wilson(int(hits), int(of)) if of else None,
        )
    found["errors"] = int(wrong.sum())
    found["each"] = each
    found["ece"] = expected_calibration_error(probability, truth)
    return found


def _beside_tfidf(report: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return average precision and MCC of a run and of its TF-IDF.

    The MCC uses the more probable class, because TF-IDF's does.
    """
    truth = [row["label"] == report["positive"] for row in rows]
    likelier = [row["probabilities"][report["positive"]] >= 0.5 for row in rows]
    tfidf = report["baselines"]["tfidf"]
    found = {
        "average_precision": report["test"]["average_precision"],
        "mcc": float(matthews_corrcoef(truth, likelier)),
    }
    return found | {f"tfidf_{name}": tfidf[name] for name in ("average_precision", "mcc")}


def main() -> None:
    """Print the figures as JSON, and store them by name in a JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="finished runs")
    parser.add_argument(
        "--out", type=Path, help="JSON file of figures by name; other entries are kept"
    )
    parser.add_argument(
        "--name",
        default="default",
        help="name of the figures, such as the settings that the runs share",
    )
    options = parser.parse_args()
    found = pooled(options.runs)
    print(json.dumps(found, indent=1))
    if options.out:
        before = (
            json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
        )
        options.out.write_text(
            json.dumps(before | {options.name: found}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
