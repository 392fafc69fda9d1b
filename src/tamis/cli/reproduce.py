"""`tamis reproduce`: repeat the reference experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.app import command, print_json
from tamis.cli.console import say
from tamis.cli.options import (
    DATA,
    BackboneOption,
    Device,
    Dtype,
    Json,
    Settings,
    Threads,
    compute_settings,
    recipe_from,
)
from tamis.cli.progress import Bars
from tamis.evaluation.report.text_table import table


@command
def reproduce(
    experiment: Annotated[
        str,
        typer.Argument(help="Name of the experiment; only tp2 is available.", metavar="EXPERIMENT"),
    ],
    backbone: BackboneOption = None,
    data: Annotated[
        str,
        typer.Option(
            "--data", help="Labelled table, or the name of a known data set.", rich_help_panel=DATA
        ),
    ] = "sms-spam",
    quick: Annotated[
        bool, typer.Option("--quick", help="Answer only questions 1 to 10; skip the improvements.")
    ] = False,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    settings: Settings = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the plots of question 9.")
    ] = None,
    json_: Json = False,
) -> None:
    """Repeat the reference experiment and compare the results.

    Prints the reported and the obtained result for questions 1 to 10. Then trains with each
    improvement alone, and with all of them.

    Example: tamis reproduce tp2 --backbone gpt2
    """
    if experiment != "tp2":
        raise typer.BadParameter(f"experiment: expected tp2, got {experiment!r}")
    compute = compute_settings(device, threads, dtype)
    recipe = recipe_from("tp2", {"backbone": backbone, **compute}, settings)
    from tamis.workflows.reproduce_tp2 import reproduce_tp2

    rows = reproduce_tp2(recipe, data, remedies=not quick, plots=out, say=say, progress=Bars())
    if json_:
        return print_json([row.to_dict() for row in rows])
    print(
        table(
            [[row.question, row.item, row.reported, row.obtained, row.mark] for row in rows],
            header=("", "item", "reported", "obtained", ""),
        )
    )
