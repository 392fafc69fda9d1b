"""`tamis evaluate`: evaluate a trained model on labelled rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.app import command, print_json
from tamis.cli.console import say
from tamis.cli.option_groups import column_settings, computing, feedback_choice, option_groups
from tamis.cli.options import DATA, DataArgument, Json, Positive, RunArgument, recipe_from
from tamis.cli.progress import Bars


@command
@option_groups(columns=column_settings, compute=computing, feedback=feedback_choice)
def evaluate(
    run: RunArgument,
    data: DataArgument,
    columns: dict[str, Any],
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Evaluate only the test rows of this split. Example: --split leakfree.",
            show_default="all rows",
            rich_help_panel=DATA,
        ),
    ] = None,
    positive: Positive = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Also write an HTML report. Example: --out report.html."),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness", help="Also evaluate perturbed texts, one perturbation at a time."
        ),
    ] = False,
    prequential: Annotated[
        bool,
        typer.Option(
            "--prequential",
            help="Also run a prequential evaluation: classify the rows in order and learn from "
            "each label when it becomes known. TF-IDF is the baseline.",
        ),
    ] = False,
    delay: Annotated[
        int,
        typer.Option(
            "--delay",
            min=0,
            help="With --prequential: number of messages until a delayed label is known.",
        ),
    ] = 100,
    share: Annotated[
        float,
        typer.Option(
            "--share",
            min=0.001,
            max=1,
            help="With --prequential: fraction of the rows whose label becomes known, for the "
            "case of few labels.",
        ),
    ] = 0.1,
    *,
    feedback: Any,
    compute: dict[str, Any],
    json_: Json = False,
) -> None:
    """Evaluate a trained model on labelled rows.

    All metrics come with 95 % confidence intervals. Without --split, all rows are evaluated.
    Corrections count as in `tamis predict`; rows that the model has learned from them are left out.

    Example: tamis evaluate runs/mine newer.csv --json
    """
    recipe_from(None, {"data.split": split})  # report wrong usage before loading anything
    from tamis.evaluation.report.render_text import prequential_lines, report_lines
    from tamis.workflows.evaluate import EvaluationOptions
    from tamis.workflows.evaluate import evaluate as judge

    settings = {key.removeprefix("data."): value for key, value in columns.items()}
    settings |= {"split": split, "positive": positive}
    late = (delay, share) if prequential else None
    options = EvaluationOptions(settings, out, robustness, late, feedback)
    report = judge(run, data, options, say=say, progress=Bars(), **compute)
    if json_:
        return print_json(report)
    print("\n".join([*report_lines(report), *prequential_lines(report)]))
