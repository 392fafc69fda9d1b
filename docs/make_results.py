"""Write the tables of docs/results.md from docs/results.json. A test holds them together.

    python docs/make_results.py [RUN COMMAND]...

With arguments, pairs of a run folder and the command that made it, the JSON is first made anew
from their report.json.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parent / "results.md"
KEYS = ("f1", "recall", "false_positive_rate", "average_precision", "accuracy")


def collected(run: Path, command: str) -> dict[str, Any]:
    """What the page shows of one run."""
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    models = {
        "tamis": report["test"],
        "TF-IDF + logistic regression": report["baselines"]["tfidf"],
        "majority": report["baselines"]["majority"],
    }
    figures = {
        name: {key: [found[key], *(found["ci95"].get(key) or [])] for key in KEYS}
        for name, found in models.items()
    }
    return {
        "command": command,
        "data": f"{report['data']}, split {report['split']}: {report['rows']['train']:,} training "
        f"and {report['rows']['test']:,} test rows",
        "figures": figures,
        "p": report["mcnemar"]["p_value"],
        # The quick model and the tuned one, whichever was kept.
        "train_s": sum(report["timing"].get(part, 0.0) for part in ("quick", "train", "tuning")),
    }


def rendered(results: list[dict[str, Any]]) -> str:
    """The section as Markdown."""
    lines = [
        "Metrics on the test rows with 95 % confidence intervals. The positive class is spam. "
        "The command above each table produced it.",
        "",
    ]
    for result in results:
        lines += [
            f"`{result['command']}` ({result['data']}; training took {result['train_s']:.0f} s "
            "on 2 cores):",
            "",
        ]
        lines += [
            "| | F1 | recall | ham blocked (FPR) | average precision | accuracy |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {' | '.join(cell(figures[key]) for key in KEYS)} |"
            for name, figures in result["figures"].items()
        ]
        verdict = (
            "these rows do not show a difference"
            if result["p"] >= 0.05
            else "the difference is significant"
        )
        lines += ["", f"McNemar's exact test against TF-IDF: p = {result['p']:.2f}, {verdict}.", ""]
    return "\n".join(lines).rstrip()


def cell(values: list[float | None]) -> str:
    """A figure and its interval."""
    if values[0] is None:
        return "-"
    interval = f" ({values[1]:.3f} to {values[2]:.3f})" if len(values) == 3 else ""
    return f"{values[0]:.3f}{interval}"


def page() -> str:
    """The page with the tables in their place."""
    text = PAGE.read_text(encoding="utf-8")
    section = rendered(json.loads(RESULTS.read_text(encoding="utf-8")))
    return re.sub(
        r"(<!-- results -->\n).*(<!-- /results -->)",
        lambda m: f"{m[1]}{section}\n{m[2]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    pairs = sys.argv[1:]
    if pairs:
        found = [
            collected(Path(run), command)
            for run, command in zip(pairs[::2], pairs[1::2], strict=True)
        ]
        RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
