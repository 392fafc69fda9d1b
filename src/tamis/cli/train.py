"""`tamis train`: train a classifier and write a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.app import command, print_json
from tamis.cli.console import say
from tamis.cli.option_groups import compute_settings, data_settings, option_groups
from tamis.cli.options import (
    DATA,
    DECISION,
    MODEL,
    BackboneOption,
    DataArgument,
    Json,
    RecipeOption,
    Seed,
    Settings,
    parse_setting,
    recipe_from,
    robust_help,
    setting_option,
)
from tamis.cli.progress import Bars
from tamis.compute import torchrun
from tamis.errors import ConfigError
from tamis.workflows.training_options import TRACKERS, Extent


@command
@option_groups(rows=data_settings, compute=compute_settings)
def train(
    data: DataArgument,
    rows: dict[str, Any],
    backbone: BackboneOption = None,
    tune: Annotated[str | None, setting_option("--tune", "tune", "blocks:2", panel=MODEL)] = None,
    exclude: Annotated[
        Path | None,
        setting_option("--exclude", "data.exclude", "review.csv", panel=DATA),
    ] = None,
    class_weight: Annotated[
        str | None,
        setting_option("--class-weight", "train.class_weight", "balanced", panel=MODEL),
    ] = None,
    max_fpr: Annotated[
        str | None,
        setting_option("--max-fpr", "decision.max_fpr", "0.2%", panel=DECISION),
    ] = None,
    cost: Annotated[
        str | None,
        setting_option("--cost", "decision.costs", "blocked=10,missed=1", panel=DECISION),
    ] = None,
    prior: Annotated[
        str | None, setting_option("--prior", "decision.prior", "2%", panel=DECISION)
    ] = None,
    robust: Annotated[
        bool, typer.Option("--robust", help=robust_help(), rich_help_panel=MODEL)
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Stop after the quick model: the exact head on frozen features, in seconds to a "
            "minute for a few thousand short texts.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            metavar="N",
            help="Time budget of the whole command. Chooses what is trained and for how many "
            "epochs, so that it ends in time on this machine; what was chosen is in recipe.toml. "
            "Example: --minutes 5.",
            show_default="no limit",
            rich_help_panel=MODEL,
        ),
    ] = None,
    recipe: RecipeOption = None,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Run folder.", show_default="runs/<data>-<backbone>-<tune>"
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in the folder.")
    ] = False,
    log: Annotated[
        list[str] | None,
        typer.Option(
            "--log",
            metavar="TRACKER",
            help="Experiment tracker: tensorboard, mlflow or wandb; may be repeated. Settings and "
            "metrics are sent, texts are not.",
            autocompletion=lambda: list(TRACKERS),
        ),
    ] = None,
    *,
    compute: dict[str, Any],
    seed: Seed = None,
    json_: Json = False,
) -> None:
    """Train a classifier on a labelled table.

    Says what it is going to do and how long it takes here. Writes a run folder with a quick model
    first, then replaces it by the tuned one, unless held-out rows say that the quick one is better.
    Evaluates the model and a TF-IDF baseline on the test rows. Repeat the same command to resume
    an interrupted training; until then the quick model can be used.

    Example: tamis train messages.csv --max-fpr 0.2% -o runs/mine
    """
    options = {
        "backbone": backbone,
        "tune": tune,
        "seed": seed,
        **rows,
        "data.exclude": exclude and str(exclude),
        "train.class_weight": class_weight,
        "decision.max_fpr": max_fpr,
        "decision.costs": cost,
        "decision.prior": prior and parse_setting(f"prior={prior}")[1],
        **compute,
    }
    for name in log or []:
        if name not in TRACKERS:
            raise typer.BadParameter(f"--log: expected one of {', '.join(TRACKERS)}, got {name!r}")
    wanted, extent = recipe_from(recipe, options, settings, robust=robust), Extent(quick, minutes)
    try:
        extent.check(wanted)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
    if torchrun.follows():
        from tamis.training.following import follow

        return follow()
    from tamis.workflows.dataset import read_data

    read = read_data(data, wanted)
    say(read.sentence())  # before torch and scikit-learn are imported, which takes seconds
    from tamis.training.distributed.team import team
    from tamis.workflows import train as experiment
    from tamis.workflows.environment import Listener

    with team():
        result = experiment.train(
            read,
            wanted,
            out,
            overwrite=overwrite,
            listener=Listener(say, Bars()),
            log=log or [],
            extent=extent,
        )
    if json_:
        return print_json(result.to_dict())
    print(result)
