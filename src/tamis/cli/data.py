"""`tamis data`: describe a table and list rows that should be reviewed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.app import app, command, print_json
from tamis.cli.console import say
from tamis.cli.option_groups import data_settings, option_groups
from tamis.cli.options import BackboneOption, DataArgument, Json, Seed, recipe_from
from tamis.cli.progress import Bars
from tamis.evaluation.report.text_table import TABLE_WIDTH, table

__all__ = ["app"]


@command
@option_groups(rows=data_settings)
def data(
    data: DataArgument,
    rows: dict[str, Any],
    backbone: BackboneOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write train.csv (without the validation rows), validation.csv and test.csv to "
            "this folder.",
        ),
    ] = None,
    label_issues: Annotated[
        Path | None,
        typer.Option(
            "--label-issues",
            help="Write the rows to review to this file: probable label errors, near-duplicates "
            "and out-of-distribution texts. Example: --label-issues review.csv.",
        ),
    ] = None,
    seed: Seed = None,
    json_: Json = False,
) -> None:
    """Show classes, lengths, duplicates and leaks of a table.

    Also shows batch shapes and the number of label issues. All figures are given for each part of
    the split; lengths are in tokens.

    Example: tamis data sms-spam --split tp2 --out parts
    """
    from tamis.workflows.audit import audit_data

    recipe = recipe_from(None, rows | {"backbone": backbone, "seed": seed})
    prepared, found = audit_data(data, recipe)
    if out is not None:
        from tamis.data.audit import write_split

        for path in write_split(prepared.split, out):
            say(f"wrote {path}")
    if label_issues is not None:
        from tamis.workflows.audit import review_data

        say(review_data(data, prepared, recipe, label_issues, progress=Bars()))
    if json_:
        return print_json(found.to_dict())
    fits = TABLE_WIDTH.get() is None
    print("\n".join(found.lines() if fits else found.lines(_fitted)))


def _fitted(rows: Sequence[Sequence[str]]) -> list[str]:
    return table(rows[1:], header=rows[0]).splitlines()
