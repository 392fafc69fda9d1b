"""`tamis reproduce`: repeat the reference experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.app import command, print_json
from tamis.cli.console import say, terminal_width
from tamis.cli.option_groups import compute_settings, option_groups
from tamis.cli.options import (
    DATA,
    BackboneOption,
    Json,
    Settings,
    recipe_from,
)
from tamis.cli.progress import Bars


@command
@option_groups(compute=compute_settings)
def reproduce(
    experiment: Annotated[
        str,
        typer.Argument(help="Name of the experiment; only tp2 is available.", metavar="EXPERIMENT"),
    ],
    backbone: BackboneOption = None,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Labelled table, or the name of a known data set. The reported figures need the "
            "whole file SMSSpamCollection.",
            rich_help_panel=DATA,
        ),
    ] = "sms-spam",
    quick: Annotated[
        bool, typer.Option("--quick", help="Answer only questions 1 to 10; skip the improvements.")
    ] = False,
    *,
    compute: dict[str, Any],
    settings: Settings = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Folder for the page tp2.html, the plots of loss, accuracy and recall, and "
            "tp2.json. An interrupted run is resumed by the same command.",
        ),
    ] = Path("runs/tp2"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results in the folder of --out.")
    ] = False,
    json_: Json = False,
) -> None:
    """Repeat the reference experiment and compare the results.

    Prints each of the ten questions (in French and in English), the reported and the obtained
    results, and the answer. Then trains with each improvement alone, and with all of them. The
    reported figures need the whole SMS Spam Collection and GPT-2 124M.

    Example: tamis reproduce tp2 --backbone gpt2 --data SMSSpamCollection
    """
    if experiment != "tp2":
        raise typer.BadParameter(f"experiment: expected tp2, got {experiment!r}")
    recipe = recipe_from("tp2", {"backbone": backbone, **compute}, settings)
    from tamis.workflows.reproduce_tp2 import reproduce_tp2

    lesson = reproduce_tp2(
        recipe,
        data,
        out=out,
        remedies=not quick,
        overwrite=overwrite,
        say=say,
        progress=Bars(),
    )
    if json_:
        return print_json([row.to_dict() for row in lesson.rows])
    from tamis.workflows.reproduce_tp2.terminal_text import WIDEST, terminal_text

    print(terminal_text(lesson, columns=terminal_width() or WIDEST))
