"""`tamis reproduce`: the reference experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.app import command, print_json
from tamis.cli.console import say
from tamis.cli.options import (
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
    experiment: Annotated[str, typer.Argument(help="the only one so far: tp2")],
    backbone: BackboneOption = None,
    data: Annotated[str, typer.Option("--data", help="file or name of the catalog")] = "sms-spam",
    quick: Annotated[
        bool, typer.Option("--quick", help="questions 1-10 only, without the remedies")
    ] = False,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    settings: Settings = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder for the plots of question 9")
    ] = None,
    json_: Json = False,
) -> None:
    """Run the reference experiment: its questions 1-10, reported beside obtained, then each remedy
    alone and all together.

    Example: tamis reproduce tp2 --backbone gpt2
    """
    if experiment != "tp2":
        raise typer.BadParameter(f"known experiments: tp2; got {experiment!r}")
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
