"""`tamis data`: what is in a table, and which of its rows a person should look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.app import app, command, print_json
from tamis.cli.console import say
from tamis.cli.options import (
    BackboneOption,
    DataArgument,
    Json,
    LabelColumn,
    Positive,
    Seed,
    Split,
    TestFile,
    TextColumn,
    data_settings,
    recipe_from,
)
from tamis.cli.progress import Bars

__all__ = ["app"]


@command
def data(
    data: DataArgument,
    split: Split = None,
    test: TestFile = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    positive: Positive = None,
    backbone: BackboneOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="folder for train.csv (without the validation rows), validation.csv, test.csv",
        ),
    ] = None,
    label_issues: Annotated[
        Path | None,
        typer.Option(
            "--label-issues",
            help="write the rows to review here: doubted labels, near-repeats, texts unlike the "
            "others; e.g. review.csv",
        ),
    ] = None,
    seed: Seed = None,
    json_: Json = False,
) -> None:
    """Show what is in a table: classes, lengths in tokens, batches, repeats, leaks and doubtful
    labels, for each part.

    Example: tamis data sms-spam --split tp2 --out parts
    """
    from tamis.workflows.audit import audit_data

    options = data_settings(split, test, text, label, positive) | {
        "backbone": backbone,
        "seed": seed,
    }
    recipe = recipe_from(None, options)
    prepared, found = audit_data(data, recipe)
    if out is not None:
        from tamis.data.audit import write_split

        for path in write_split(prepared.split, out):
            say(f"wrote {path}")
    if label_issues is not None:
        from tamis.workflows.audit import review_data

        say(review_data(prepared, recipe, label_issues, progress=Bars()))
    if json_:
        return print_json(found.to_dict())
    print("\n".join(found.lines()))
