"""`tamis evaluate`: a trained model judged on labelled rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.app import command, print_json
from tamis.cli.console import prequential_lines, report_lines, say
from tamis.cli.options import (
    DataArgument,
    Device,
    Dtype,
    Json,
    LabelColumn,
    Positive,
    RunArgument,
    TextColumn,
    Threads,
    computing,
    recipe_from,
)
from tamis.cli.progress import Bars


@command
def evaluate(
    run: RunArgument,
    data: DataArgument,
    split: Annotated[
        str | None,
        typer.Option("--split", help="judge this split's test rows only [default: all rows]"),
    ] = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    positive: Positive = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="also write a self-contained page here, e.g. --out report.html"),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option("--robustness", help="also judge texts disguised in every way of the suite"),
    ] = False,
    prequential: Annotated[
        bool,
        typer.Option(
            "--prequential",
            help="also replay the rows in order, learning from each label once it is known, "
            "beside TF-IDF",
        ),
    ] = False,
    delay: Annotated[
        int,
        typer.Option(
            "--delay",
            min=0,
            help="with --prequential: messages until a label is known, where it is late",
        ),
    ] = 100,
    share: Annotated[
        float,
        typer.Option(
            "--share",
            min=0.001,
            max=1,
            help="with --prequential: share of labels ever known, where they are few",
        ),
    ] = 0.1,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    json_: Json = False,
) -> None:
    """Judge a trained model on labelled rows, every figure with its 95 % interval.

    Example: tamis evaluate runs/mine newer.csv --json
    """
    compute = computing(device, threads, dtype)
    recipe_from(None, {"data.split": split})  # wrong usage is told before anything is loaded
    from tamis.workflows.evaluate import evaluate as judge

    settings = {"split": split, "text": text, "label": label, "positive": positive}
    late = (delay, share) if prequential else None
    report = judge(
        run,
        data,
        settings=settings,
        page=out,
        robustness=robustness,
        prequential=late,
        say=say,
        progress=Bars(),
        **compute,
    )
    if json_:
        return print_json(report)
    print("\n".join([*report_lines(report), *prequential_lines(report)]))
