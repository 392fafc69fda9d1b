"""`tamis compare`: compare runs on the test rows that all of them judged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.cli.app import command, print_json
from tamis.cli.options import COMPUTE, Json

if TYPE_CHECKING:
    from tamis.workflows.compare import RunComparison


@command
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of two or more finished runs. The first one is what the others are "
            "compared with.",
            metavar="RUN RUN...",
            show_default=False,
        ),
    ],
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of the bootstrap.", rich_help_panel=COMPUTE)
    ] = 42,
    json_: Json = False,
) -> None:
    """Compare runs on the test rows that all of them judged.

    Shows McNemar's test on the errors, and each metric with the 95 % bootstrap interval of its
    difference from the first run. Each run keeps its own threshold.

    Example: tamis compare runs/nano runs/gpt2
    """
    if len(runs) < 2:
        raise typer.BadParameter(f"RUN: expected two or more runs, got {len(runs)}")
    from tamis.workflows.compare import compare_runs

    found = compare_runs(runs, seed=seed)
    if json_:
        return print_json(found.to_dict())
    print("\n".join(lines(found)))


def lines(found: RunComparison) -> list[str]:
    """The comparison as text."""
    from tamis.evaluation.report.figure_columns import columns
    from tamis.evaluation.report.text_table import table

    plain = found.to_dict()
    shown = columns(plain)
    first, several = plain["runs"][0], len(plain["comparisons"]) > 1
    said = [f"{plain['rows']:,} test rows; differences are from {first}"]
    body: list[list[str]] = []
    for key, heading, percent in shown:
        values = [one["metrics"][key] for one in plain["comparisons"]]
        cells = [_number(values[0]["first"], percent)]
        for value in values:
            cells += [_number(value["second"], percent), _change(value, percent)]
        body.append([heading, *cells])
    header = ["", first]
    for run in plain["runs"][1:]:
        header += [run, "difference, 95 % interval"]
    said += ["", table(body, header=header), ""]
    for one in plain["comparisons"]:
        p_value = one["p_value_holm"] if several else one["p_value"]
        what = "McNemar's exact test, Holm-adjusted" if several else "McNemar's exact test"
        less = one["second"] if one["second_only_wrong"] < one["first_only_wrong"] else first
        said.append(
            f"{one['first_only_wrong']:,} rows are wrong only for {first}, "
            f"{one['second_only_wrong']:,} only for {one['second']} ({what}, "
            f"{'p < 0.001' if p_value < 0.001 else f'p = {p_value:.2g}'}): "
            + (
                f"{less} makes significantly fewer errors."
                if p_value < 0.05
                else "the difference is not significant."
            )
        )
    return [*said, *(f"note: {note}" for note in plain["notes"])]


def _number(value: float | None, percent: bool) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.2f} %" if percent else f"{value:.3f}"


def _change(value: dict[str, Any], percent: bool) -> str:
    if value["difference"] is None:
        return "-"
    factor, digits, unit = (100, 2, " points") if percent else (1, 3, "")
    text = f"{factor * value['difference']:+.{digits}f}"
    if value["ci95"] is None:
        return text + unit
    low, high = (f"{factor * end:+.{digits}f}" for end in value["ci95"])
    return f"{text} ({low} to {high}){unit}"
