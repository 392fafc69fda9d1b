"""`tamis suggest`: suggest texts to label."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.app import app, command, print_json
from tamis.cli.console import say, say_what_is_read
from tamis.cli.option_groups import computing, feedback_choice, option_groups
from tamis.cli.options import COMPUTE, Header, Json, RunArgument
from tamis.cli.progress import Bars
from tamis.evaluation.report.text_table import table

__all__ = ["app"]

SHOWN = 90
"""Number of characters shown of each text."""


@command
@option_groups(compute=computing, feedback=feedback_choice)
def suggest(
    run: RunArgument,
    unlabelled: Annotated[
        Path | None,
        typer.Argument(
            help="File with unlabelled texts: .txt (one text per line), a table, .eml or mbox. "
            "Without it, lines are read from stdin.",
            metavar="UNLABELLED",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of texts.")] = 50,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write the texts to this file (.csv, .tsv, .jsonl or .parquet), with an empty "
            "column `label` to fill in.",
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="Text column. Detected by default.")
    ] = None,
    header: Header = None,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy",
            help="Query strategy: clusters (uncertain texts from different clusters), margin "
            "(most uncertain texts) or random.",
        ),
    ] = "clusters",
    seed: Annotated[
        int,
        typer.Option(
            "--seed", min=0, help="Seed of all random generators.", rich_help_panel=COMPUTE
        ),
    ] = 42,
    *,
    feedback: Any,
    compute: dict[str, Any],
    json_: Json = False,
) -> None:
    """Suggest which texts to label next.

    The suggested texts are those with uncertain verdicts that differ from each other and are not
    labelled yet.

    Example: tamis suggest runs/mine inbox.txt -n 50 --out to-label.csv
    """
    from tamis.cache import cache_directory
    from tamis.classifier.active_learning import QueryStrategy, choose_messages
    from tamis.classifier.model_folder import find_model, training_columns
    from tamis.classifier.query_strategies import STRATEGIES
    from tamis.data.files.message_reader import read_messages
    from tamis.data.files.row_writer import beside_own, write_rows
    from tamis.feedback.loading import load_with_feedback
    from tamis.gpt2.feature_cache import FeatureCache
    from tamis.workflows.active_learning import labelled_already

    if strategy not in STRATEGIES:
        raise typer.BadParameter(
            f"--strategy: expected one of {', '.join(STRATEGIES)}, got {strategy!r}"
        )
    find_model(run)  # raises for an exported folder
    loaded = load_with_feedback(run, feedback, **compute)
    for note in loaded.feedback.notes:
        say(note)
    classifier: Any = loaded.classifier
    if unlabelled is None or str(unlabelled) == "-":
        say_what_is_read("texts, one per line,")
    messages = read_messages(
        unlabelled if unlabelled is not None else sys.stdin,
        text=text or training_columns(run)[0],
        header=header,
    )
    for note in messages.notes:
        say(note)
    store = FeatureCache(cache_directory() / "states")
    found = choose_messages(
        classifier,
        messages,
        count,
        labelled=labelled_already(run, [item.text for item in loaded.feedback.used]),
        strategy=QueryStrategy(next(one for one in STRATEGIES if one == strategy), seed),
        cache=store,
        progress=Bars(),
    )
    for note in messages.ending_notes():
        say(note)
    say(
        f"{found.seen:,} texts, of which {found.labelled:,} are already labelled and "
        f"{found.repeated:,} are empty or near-duplicates; strategy: {found.strategy}"
    )
    if len(found.suggestions) < count:
        say(f"only {len(found.suggestions):,} texts are left to suggest")
    if out is not None:
        to_fill = "label"
        while any(
            to_fill in one.columns for one in found.suggestions
        ):  # the input has a column of that name
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
        say(f"wrote {len(found.suggestions):,} texts to {out}; fill in the column {to_fill}")
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
        print(table(lines, header=("line", "probability", "predicted label", "text")))
