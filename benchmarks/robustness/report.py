"""Writes the table and plot of `docs/robustness.md` from the lines of
`benchmarks.robustness.measure`.

    python -m benchmarks.robustness.report benchmarks/robustness/results.jsonl

A test checks that the page matches the lines.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "robustness.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

Lines = list[dict[str, Any]]


def main() -> None:
    """Write the section and the plot next to the page."""
    lines = [
        json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    ]
    DOCUMENT.write_text(page(DOCUMENT.read_text(encoding="utf-8"), lines), encoding="utf-8")
    plot(lines, DOCUMENT.with_name("robustness.png"))


def page(text: str, lines: Lines) -> str:
    """Return the document with the figures inserted."""
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n{section(lines)}\n{END}{after}"


def section(lines: Lines) -> str:
    """Return Markdown: the cost on clean messages, then a row per perturbation and columns per
    model.
    """
    models = list(dict.fromkeys(line["model"] for line in lines))
    found = {(line["model"], line["hand"], line["perturbation"]): line for line in lines}
    attacks = list(
        dict.fromkeys((line["hand"], line["perturbation"]) for line in lines if line["hand"])
    )
    clean = {model: found[model, "", "clean"] for model in models}
    about = clean[models[0]]
    rows = [
        f"{about['positives']:,} spam and {about['negatives']:,} ham test rows, each model at "
        "its own threshold; 95 % intervals. "
        "A dash: not measured.",
        "",
        "| clean messages | F1 | caught % | ham blocked % |",
        "|---|---|---|---|",
        *(
            f"| {model} | {clean[model]['f1']:.3f} | {share(clean[model], 'recall')} | "
            f"{share(clean[model], 'false_positive_rate')} |"
            for model in models
        ),
        "",
        f"| attack | {' | '.join(f'{model}: caught % | blocked %' for model in models)} |",
        f"|---|{'---|---|' * len(models)}",
    ]
    for hand, attack in attacks:
        name = attack.replace("_", " ") + (" (other hand)" if hand == "other" else "")
        cells = [
            share(found.get((model, hand, attack)), kind)
            for model in models
            for kind in ("recall", "false_positive_rate")
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    rows.append("")
    for model in models:
        own = [line for line in lines if line["model"] == model and line["hand"]]
        caught, attack = min((line["recall"], line["perturbation"]) for line in own)
        blocked, other = max((line["false_positive_rate"], line["perturbation"]) for line in own)
        least, most = (name.replace("_", " ") for name in (attack, other))
        worst = (
            f"least caught {100 * caught:.1f} % ({least}), most ham blocked {100 * blocked:.1f} "
            f"% ({most})"
        )
        rows.append(f"- {model}, {len(own)} attacks: {worst}")
    rows += ["", "![Spam caught under every attack, a mark a model](robustness.png)"]
    return "\n".join(rows)


def share(line: dict[str, Any] | None, kind: str) -> str:
    """Return a share and its interval in per cent; a dash if it was not measured."""
    if line is None:
        return "-"
    low, high = line[f"{kind}_ci95"]
    return f"{100 * line[kind]:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def plot(lines: Lines, path: Path) -> None:
    """Plot recall under every perturbation, with a marker per model, as a PNG file."""
    from matplotlib.figure import Figure

    from tamis.evaluation.report.canvas import house_style

    models = list(dict.fromkeys(line["model"] for line in lines))
    attacks = list(
        dict.fromkeys((line["hand"], line["perturbation"]) for line in lines if line["hand"])
    )
    found = {(line["model"], line["hand"], line["perturbation"]): line["recall"] for line in lines}
    with house_style():
        figure = Figure(figsize=(8, 1.5 + 0.2 * len(attacks)), layout="constrained")
        axes = figure.subplots()
        for model, marker in zip(models, "osD^v<>", strict=False):
            caught = [100 * found.get((model, *attack), float("nan")) for attack in attacks]
            axes.plot(caught, range(len(attacks)), marker, label=model, markersize=5)
        axes.axvline(90, linewidth=1, color="grey")
        axes.set_yticks(range(len(attacks)), [name.replace("_", " ") for _, name in attacks])
        axes.set_ylim(len(attacks), -1)
        axes.set(
            xlabel="spam caught at the clean threshold, %",
            title="Spam caught under attack",
            xlim=(-2, 102),
        )
        axes.legend(loc="lower left")
        figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
