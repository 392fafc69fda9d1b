"""`tamis inspect`: what is in a checkpoint."""

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
        str, typer.Argument(help="a name, a folder, or an OpenAI checkpoint folder")
    ],
    json_: Json = False,
) -> None:
    """Show a checkpoint's settings, its params with shapes, and how they map to the model's
    configuration.

    Example: tamis inspect gpt2
    """
    from tamis.workflows.inspect_backbone import inspect_backbone

    found = inspect_backbone(backbone)
    if json_:
        return print_json(found.to_dict())
    print(found.text())
