"""`tamis search`: hyperparameter search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.app import app, command, print_json
from tamis.cli.console import say
from tamis.cli.option_groups import compute_settings, data_settings, option_groups
from tamis.cli.options import (
    BackboneOption,
    DataArgument,
    Json,
    RecipeOption,
    Seed,
    Settings,
    recipe_from,
)
from tamis.cli.progress import Bars
from tamis.evaluation.report.text_table import table

__all__ = ["app"]


@command
@option_groups(rows=data_settings, compute=compute_settings)
def search(
    data: DataArgument,
    rows: dict[str, Any],
    trials: Annotated[
        int,
        typer.Option(
            "--trials", min=1, help="Total number of trials, including those of earlier calls."
        ),
    ] = 20,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0,
            help="Start no new trial after this many minutes. Repeat the same command to continue.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Folder of the search.", show_default="runs/search-<data>"
        ),
    ] = None,
    backbone: BackboneOption = None,
    recipe: RecipeOption = None,
    settings: Settings = None,
    *,
    compute: dict[str, Any],
    seed: Seed = None,
    json_: Json = False,
) -> None:
    """Search for the best training settings.

    Each trial trains with other settings: what is trained, learning rate, regularization. Trials
    are compared on held-out training rows; the test rows are not used. Repeat the same command to
    resume an interrupted search.

    Example: tamis search sms-spam --trials 20 -o runs/search
    """
    wanted = recipe_from(recipe, {"backbone": backbone, "seed": seed} | rows | compute, settings)
    from tamis.workflows.hyperparameter_search import BEST, METRIC_NAMES
    from tamis.workflows.hyperparameter_search import search as run_search

    folder = out or Path("runs") / f"search-{Path(data).stem}"
    found = run_search(
        data, wanted, folder, trials=trials, minutes=minutes, say=say, progress=Bars()
    )
    if json_:
        return print_json(found)
    print(
        table(
            [_cells(row, found["metric"]) for row in found["trials"]],
            header=("trial", METRIC_NAMES[found["metric"]], "seconds", "tune", "settings"),
        )
    )
    print(_gained(found, METRIC_NAMES[found["metric"]]))
    print(f"best recipe: {folder / BEST} (to use it: tamis train {data} --recipe {folder / BEST})")


def _cells(row: dict[str, Any], metric: str) -> list[str]:
    settings = dict(row["settings"])
    tune = str(settings.pop("tune", "unchanged recipe"))
    shown = ", ".join(
        f"{key.rpartition('.')[2]} {value:.2g}"
        if isinstance(value, float)
        else f"{key.rpartition('.')[2]} {value}"
        for key, value in settings.items()
    )
    figure = "stopped" if row[metric] is None else f"{row[metric]:.4f}"
    return [str(row["trial"]), figure, f"{row['seconds'] or 0:.1f}", tune, shown]


def _gained(found: dict[str, Any], metric: str) -> str:
    gain, rows = found["gain"], found["rows"]["confirming"]
    if found["best"]["trial"] == found["trials"][0]["trial"]:
        return "No trial was better than the unchanged recipe."
    low, high = gain["ci95"]
    verdict = (
        "significantly better"
        if low > 0
        else "not significant on these rows"
        if high >= 0
        else "significantly worse"
    )
    return (
        f"Trial {found['best']['trial']} compared with the unchanged recipe, on {rows:,} rows "
        f"that were not used to choose it: {metric} "
        f"{gain['after']:.4f} instead of {gain['before']:.4f}, difference "
        f"{gain['difference']:+.4f} (95 % interval {low:+.4f} to {high:+.4f}): {verdict}."
    )
