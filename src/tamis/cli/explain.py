"""`tamis explain`: explain the verdict on a text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.app import command, print_json
from tamis.cli.console import say
from tamis.cli.option_groups import computing, feedback_choice, option_groups
from tamis.cli.options import Json, RunArgument


@command
@option_groups(compute=computing, feedback=feedback_choice)
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
    feedback: Any,
    compute: dict[str, Any],
    json_: Json = False,
) -> None:
    """Show which words led to a verdict.

    Prints the probability of the label after each token, and the contribution of each word.

    Example: tamis explain runs/demo "Your free prize is waiting. Call 0900 555 0123 now"
    """
    from tamis.classifier.explain import explain as explain_text
    from tamis.classifier.explain.render_html import page
    from tamis.feedback.loading import load_with_feedback
    from tamis.files import write_text

    loaded = load_with_feedback(run, feedback, **compute)
    for note in loaded.feedback.notes:
        say(note)
    found = explain_text(loaded.classifier, text, label=label)
    if out is not None:
        write_text(out, page(found))
        say(f"wrote {out}")
    if json_:
        used = len(loaded.feedback.used)
        return print_json({**found.to_dict(), **({"corrections": used} if used else {})})
    print(found.to_text())
