"""`tamis suggest`: what to label next."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.app import app, command, print_json
from tamis.cli.console import say
from tamis.cli.options import Device, Dtype, Json, RunArgument, Threads, computing
from tamis.cli.progress import Bars
from tamis.evaluation.report.text_table import table

__all__ = ["app"]

SHOWN = 90
"""Characters of a text in the table."""


@command
def suggest(
    run: RunArgument,
    unlabelled: Annotated[
        Path | None,
        typer.Argument(
            help=".txt (a text a line), a table, .eml or mbox; without it lines from stdin",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="messages to suggest")] = 50,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="write them here (.csv, .tsv, .jsonl, .parquet), with a column `label` to be "
            "filled in",
        ),
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="column of the texts")] = None,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy",
            help="clusters (uncertain and unlike each other), gradients, margin or random; see "
            "docs/labelling.md",
        ),
    ] = "clusters",
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, help="of what is drawn [default: 42]", show_default=False),
    ] = 42,
    device: Device = None,
    threads: Threads = None,
    dtype: Dtype = None,
    json_: Json = False,
) -> None:
    """Name the messages whose label would teach the model most: uncertain ones that are unlike each
    other and not labelled yet.

    Example: tamis suggest runs/mine inbox.txt -n 50 --out to-label.csv
    """
    compute = computing(device, threads, dtype)
    from tamis.cache import cache_directory
    from tamis.classifier.text_classifier import TextClassifier
    from tamis.data.files.message_reader import read_messages
    from tamis.data.files.row_writer import beside_own, write_rows
    from tamis.gpt2.feature_cache import FeatureCache
    from tamis.workflows.active_learning import suggest as found_in
    from tamis.workflows.query_strategies import STRATEGIES

    if strategy not in STRATEGIES:
        raise typer.BadParameter(
            f"--strategy: expected one of {', '.join(STRATEGIES)}, got {strategy!r}"
        )
    classifier = TextClassifier.load(run, **compute)
    messages = read_messages(unlabelled if unlabelled is not None else sys.stdin, text=text)
    for note in messages.notes:
        say(note)
    store = FeatureCache(cache_directory() / "states")
    found = found_in(
        classifier,
        messages,
        count,
        run=run,
        strategy=next(one for one in STRATEGIES if one == strategy),
        seed=seed,
        cache=store,
        progress=Bars(),
    )
    say(
        f"{found.seen:,} messages, {found.labelled:,} labelled already, {found.repeated:,} "
        f"empty or repeated; strategy {found.strategy}"
    )
    if len(found.suggestions) < count:
        say(f"only {len(found.suggestions):,} are left to suggest")
    if out is not None:
        to_fill = "label"
        while any(
            to_fill in one.columns for one in found.suggestions
        ):  # the messages have a column of that name already
            to_fill = f"new_{to_fill}"
        rows = (
            beside_own(
                one.columns or {"text": one.text},
                {
                    to_fill: "",
                    "suggested": one.label,
                    "uncertainty": round(one.uncertainty, 4),
                    "line": one.line,
                },
            )
            for one in found.suggestions
        )
        write_rows(out, rows)
        say(f"wrote {len(found.suggestions):,} messages to {out}; fill in the column {to_fill}")
    if json_:
        return print_json(found.to_dict())
    if out is None:
        lines = [
            [
                str(one.line),
                f"{one.probabilities[one.label]:.3f}",
                one.label,
                " ".join(one.text.split())[:SHOWN],
            ]
            for one in found.suggestions
        ]
        print(table(lines, header=("line", "p", "label now", "text")))
