"""`tamis predict`: classify texts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.app import command, debugging, one_line
from tamis.cli.console import say, say_what_is_read
from tamis.cli.option_groups import computing, feedback_choice, option_groups
from tamis.cli.options import Json, RunArgument
from tamis.errors import TamisError


@command
@option_groups(compute=computing, feedback=feedback_choice)
def predict(
    run: RunArgument,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts to classify. Without texts and --file, lines are read from stdin.",
            metavar="TEXT",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            help="File with texts: .txt (one text per line), a table, .eml, mbox or a Maildir "
            "folder, also compressed or a pipe; - for stdin.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write the results to this file (.csv, .tsv, .jsonl or .parquet). The columns of "
            "the input are kept.",
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", help="Text column of --file. Detected by default."),
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Whether the first row of --file, a table, names the columns. Detected by "
            "default.",
        ),
    ] = None,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code",
            help="Classify one text, or one e-mail from stdin. The exit code is 0 for positive, 1 "
            "for negative, 2 for unsure, 3 for an error.",
        ),
    ] = False,
    ood: Annotated[
        bool,
        typer.Option(
            "--ood",
            help="Also report whether each text is out-of-distribution, and its score: standard "
            "deviations from the training texts.",
        ),
    ] = False,
    windows: Annotated[
        bool,
        typer.Option(
            "--windows",
            help="With --json: for texts longer than the context, also report the window that "
            "determined the verdict.",
        ),
    ] = False,
    *,
    feedback: Any,
    compute: dict[str, Any],
    json_: Json = False,
) -> None:
    """Classify texts.

    Corrections that `tamis learn` or the server stored beside RUN count (--no-feedback: the model
    as trained). Prints verdict, probability and text separated by tabs, one line per text; with
    --json, one JSON object per line.

    Example: tamis predict runs/demo "Your free prize is waiting. Call 0900 555 0123 now"
    """
    if texts and file:
        raise typer.BadParameter("expected texts or --file, got both; leave one out")
    if exit_code and (file or len(texts or []) > 1 or (not texts and sys.stdin.isatty())):
        raise typer.BadParameter(
            "--exit-code: expected exactly one text; give one argument, or pipe one e-mail to stdin"
        )
    if not texts and (file is None or str(file) == "-"):
        say_what_is_read("texts, one per line," if file is None else "a table or a mail")
    from tamis.workflows.predict import PredictOptions, predict_command

    try:
        options = PredictOptions(file, text, header, exit_code, out, json_, windows, ood, feedback)
        code = predict_command(run, texts, options, compute=compute, say=say)
    except (TamisError, OSError) as error:
        if not exit_code or debugging():
            raise
        say(f"tamis: {one_line(error)}")
        raise typer.Exit(3) from None
    if exit_code:
        raise typer.Exit(code)
