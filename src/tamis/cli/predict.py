"""`tamis predict`: verdicts on texts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.app import command, debugging, one_line
from tamis.cli.console import say
from tamis.cli.options import (
    Device,
    Dtype,
    Json,
    RunArgument,
    Threads,
    computing,
)
from tamis.errors import TamisError


@command
def predict(
    run: RunArgument,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="texts; without any (and without --file) lines from stdin", show_default=False
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help=".txt (a text a line), a table, .eml or mbox")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="write here (.csv, .tsv, .jsonl, .parquet), own columns kept"),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="column of the texts in --file")
    ] = None,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code",
            help="one text, or a mail on stdin: exit 0 positive, 1 negative, 2 unsure, 3 error",
        ),
    ] = False,
    ood: Annotated[
        bool,
        typer.Option(
            "--ood",
            help="also tell whether each text is like what was learnt, and its bits per byte "
            "(slower)",
        ),
    ] = False,
    windows: Annotated[
        bool,
        typer.Option(
            "--windows",
            help="with --json: also the window that decided, for texts longer than the model's "
            "context",
        ),
    ] = False,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    json_: Json = False,
) -> None:
    """Verdicts on texts: verdict, probability and text, tab-separated, or one JSON object a line
    with --json.

    Example: tamis predict runs/demo "You have won a prize, call now"
    """
    compute = computing(device, threads, dtype)
    if texts and file:
        raise typer.BadParameter("give texts or --file, not both")
    if exit_code and (file or len(texts or []) > 1 or (not texts and sys.stdin.isatty())):
        raise typer.BadParameter("--exit-code judges exactly one text; give one, or pipe a mail in")
    from tamis.workflows.predict import predict_command

    try:
        code = predict_command(
            run,
            texts,
            file=file,
            out=out,
            column=text,
            as_json=json_,
            compute=compute,
            one=exit_code,
            windows=windows,
            ood=ood,
            say=say,
        )
    except (TamisError, OSError) as error:
        if not exit_code or debugging():
            raise
        say(f"tamis: {one_line(error)}")
        raise typer.Exit(3) from None
    if exit_code:
        raise typer.Exit(code)
