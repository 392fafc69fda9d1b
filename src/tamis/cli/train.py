"""`tamis train`: from a labelled table to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.app import command, print_json
from tamis.cli.console import report_lines, say
from tamis.cli.options import (
    BackboneOption,
    DataArgument,
    Device,
    Dtype,
    Json,
    LabelColumn,
    Positive,
    RecipeOption,
    Seed,
    Settings,
    Split,
    TestFile,
    TextColumn,
    Threads,
    compute_settings,
    data_settings,
    parse_setting,
    recipe_from,
    robust_help,
    setting_help,
)
from tamis.cli.progress import Bars


@command
def train(
    data: DataArgument,
    backbone: BackboneOption = None,
    tune: Annotated[
        str | None, typer.Option("--tune", help=setting_help("tune", "--tune blocks:2"))
    ] = None,
    split: Split = None,
    test: TestFile = None,
    exclude: Annotated[
        Path | None,
        typer.Option("--exclude", help=setting_help("data.exclude", "--exclude review.csv")),
    ] = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    positive: Positive = None,
    class_weight: Annotated[
        str | None,
        typer.Option("--class-weight", help=setting_help("train.class_weight", "spam=5,ham=1")),
    ] = None,
    max_fpr: Annotated[
        str | None,
        typer.Option("--max-fpr", help=setting_help("decision.max_fpr", "--max-fpr 0.2%")),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option("--cost", help=setting_help("decision.costs", "--cost blocked=10,missed=1")),
    ] = None,
    prior: Annotated[
        str | None, typer.Option("--prior", help=setting_help("decision.prior", "--prior 2%"))
    ] = None,
    robust: Annotated[bool, typer.Option("--robust", help=robust_help())] = False,
    recipe: RecipeOption = None,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="run folder [default: runs/<data>-<backbone>-<tune>]"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace the run that is there")
    ] = False,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    seed: Seed = None,
    json_: Json = False,
) -> None:
    """Train a classifier, judge it beside TF-IDF, and write a run folder. An unfinished run goes on
    where it was.

    Example: tamis train messages.csv --max-fpr 0.2% -o runs/mine
    """
    options = {
        "backbone": backbone,
        "tune": tune,
        "seed": seed,
        **data_settings(split, test, text, label, positive),
        "data.exclude": exclude and str(exclude),
        "train.class_weight": class_weight,
        "decision.max_fpr": max_fpr,
        "decision.costs": cost,
        "decision.prior": prior and parse_setting(f"prior={prior}")[1],
        **compute_settings(device, threads, dtype),
    }
    wanted = recipe_from(recipe, options, settings, robust=robust)
    from tamis.workflows import train as experiment

    path, report = experiment.train(
        data, wanted, out, overwrite=overwrite, say=say, progress=Bars()
    )
    if json_:
        return print_json(report)
    print("\n".join(report_lines(report)))
    print(f"run folder: {path} (open {path / 'report.html'})")
