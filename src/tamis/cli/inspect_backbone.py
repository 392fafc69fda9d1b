"""`tamis inspect`: show the content of a checkpoint."""

from __future__ import annotations

from typing import Annotated

import typer

from tamis.cli.app import command, print_json
from tamis.cli.options import (
    Json,
)


@command
def inspect(
    backbone: Annotated[
        str,
        typer.Argument(
            help="Backbone name, folder, or OpenAI checkpoint folder.", metavar="BACKBONE"
        ),
    ],
    json_: Json = False,
) -> None:
    """Show settings and tensor shapes of a checkpoint.

    Also shows how the settings map to the configuration of the model.

    Example: tamis inspect gpt2
    """
    from tamis.workflows.inspect_backbone import inspect_backbone

    found = inspect_backbone(backbone)
    if json_:
        return print_json(found.to_dict())
    print(found.text())
