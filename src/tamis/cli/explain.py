"""`tamis explain`: explain the verdict on a text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.app import command, print_json
from tamis.cli.console import say
from tamis.cli.option_groups import computing, option_groups
from tamis.cli.options import Json, RunArgument


@command
@option_groups(compute=computing)
def explain(
    run: RunArgument,
    text: Annotated[
        str, typer.Argument(help="Text to explain.", metavar="TEXT", show_default=False)
    ],
    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            help="Label to explain: positive values raise its score, negative values lower it.",
            show_default="the positive label",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Also write an HTML page. Example: --out why.html."),
    ] = None,
    *,
    compute: dict[str, Any],
    json_: Json = False,
) -> None:
    """Show which words led to a verdict.

    Prints the probability of the label after each token, and the contribution of each word.

    Example: tamis explain runs/demo "You have won a prize, call now" --out why.html
    """
    from tamis.classifier.explain import explain as explain_text
    from tamis.classifier.explain.render_html import page
    from tamis.export.loading import load_classifier
    from tamis.files import write_text

    found = explain_text(load_classifier(run, **compute), text, label=label)
    if out is not None:
        write_text(out, page(found))
        say(f"wrote {out}")
    if json_:
        return print_json(found.to_dict())
    print(found.to_text())
