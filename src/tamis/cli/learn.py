"""`tamis learn`: learn from corrections in a table, list them, or undo them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.cli.app import app, command, print_json
from tamis.cli.console import say
from tamis.cli.option_groups import column_settings, computing, option_groups
from tamis.cli.options import Json, RunArgument
from tamis.errors import DataError
from tamis.evaluation.report.text_table import table

if TYPE_CHECKING:
    from tamis.feedback.store import CorrectionStore

__all__ = ["app"]

SHOWN = 60
"""Number of characters shown of each text in the list."""


@command
@option_groups(columns=column_settings, compute=computing)
def learn(
    run: RunArgument,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Table of texts with their correct labels. Without FILE, the stored corrections "
            "are listed.",
            show_default=False,
        ),
    ] = None,
    undo: Annotated[
        str | None,
        typer.Option(
            "--undo",
            metavar="ID|all",
            help="Remove one correction by its id, or all corrections of this model (with --user: "
            "of this user).",
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            help="SQLite file with the corrections.",
            show_default="RUN.feedback.sqlite beside RUN",
        ),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            "--user",
            help="User whose own model learns the corrections, or whose corrections --undo "
            "removes.",
            show_default="all users",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also accept corrections of verdicts in which the model is confident."
        ),
    ] = False,
    *,
    columns: dict[str, Any],
    compute: dict[str, Any],
    json_: Json = False,
) -> None:
    """Learn from corrected labels, or undo corrections.

    Corrections are stored in a separate file, which tamis serve also reads; RUN itself is not
    changed.

    Example: tamis learn runs/mine corrections.csv
    """
    if undo is not None and (file is not None or not (undo == "all" or undo.isdecimal())):
        raise typer.BadParameter("--undo: expected the id of a correction, or all, and no FILE")
    from tamis.classifier.model_folder import find_model
    from tamis.feedback.store import CorrectionStore, default_store, model_name

    path, model = store or default_store(run), model_name(run)
    if file is None and not path.is_file():
        if undo is None:
            find_model(run)  # raises if RUN does not exist
        raise DataError(
            f"{path} does not exist, so there are no corrections; add some with: tamis learn "
            f"{run} FILE, or give another file with --store"
        )
    if file is not None:
        find_model(run)  # raises if RUN does not exist, before the store is created
    kept = CorrectionStore(path)
    try:
        if undo is not None:
            return _undo(kept, model, undo, user, json_)
        if file is None:
            return _list(kept, model, json_)
        _learn(kept, model, run, file, columns, user or "", force, compute, json_)
    finally:
        kept.close()


def _undo(kept: CorrectionStore, model: str, undo: str, user: str | None, json_: bool) -> None:
    """Remove corrections. The model need not be loaded: it is refitted from the store at the next
    start.
    """
    if undo == "all":
        removed = kept.remove_all(model=model, user=user)
    elif any(item.id == int(undo) for item in kept.all(model=model)):
        removed = int(kept.remove(int(undo)))
    else:
        raise DataError(
            f"{kept.path} has no correction with id {undo} for model {model!r}; list the "
            "corrections with: tamis learn RUN"
        )
    if json_:
        return print_json({"removed": removed})
    print(f"Removed {removed:,} correction{'s' * (removed != 1)}.")


def _list(kept: CorrectionStore, model: str, json_: bool) -> None:
    items = kept.all(model=model)
    if json_:
        return print_json(
            {
                "items": [
                    {
                        "id": i.id,
                        "label": i.label,
                        "user": i.user,
                        "created": i.created,
                        "text": i.text,
                    }
                    for i in items
                ]
            }
        )
    rows = [
        [str(i.id), i.label, i.user, i.created, " ".join(i.text.split())[:SHOWN]] for i in items
    ]
    print(
        table(rows, header=("id", "label", "user", "created", "text"))
        if rows
        else f"{kept.path} has no corrections for model {model!r}."
    )


def _learn(
    kept: CorrectionStore,
    model: str,
    run: Path,
    file: Path,
    columns: dict[str, Any],
    user: str,
    force: bool,
    compute: dict[str, object],
    json_: bool,
) -> None:
    from tamis.classifier.model_folder import training_columns
    from tamis.classifier.text_classifier import TextClassifier
    from tamis.data.known_labels import with_known_labels
    from tamis.data.tables import read_table
    from tamis.feedback.learning import FeedbackLearner
    from tamis.feedback.store import NewCorrection

    text, label = training_columns(run)
    rows = read_table(
        file,
        text=columns["data.text"] or text,
        label=columns["data.label"] or label,
        header=columns["data.header"],
        skip_unlabelled=bool(columns["data.skip_unlabelled"]),
    )
    for note in rows.notes:
        say(note)
    classifier = TextClassifier.load(run, **compute)  # type: ignore[arg-type]  # checked by `computing`
    rows = with_known_labels(rows, classifier.classes_)
    learning = FeedbackLearner(classifier, run, kept, model=model)
    new = [
        NewCorrection(text, name, user=user, force=force)
        for text, name in zip(rows.texts, rows.labels, strict=True)
    ]
    ids = learning.add(new)
    learned = learning.learn()
    if json_:
        return print_json(
            {
                "ids": ids,
                "learned": learned.learned,
                "reason": learned.reason,
                "figures": learned.figures,
            }
        )
    print(
        f"Stored {len(set(ids)):,} corrections in {kept.path}. To undo the first: tamis learn "
        f"{run} --undo {ids[0]}"
    )
    print(f"learned: {'yes' if learned.learned else 'no'} ({learned.reason})")
    for name, figures in learned.figures.items():
        if figures.get("held_out"):
            parts = [figures["held_out"][when]["wrong"] for when in ("before", "after")]
            cells = [
                [label, f"{100 * parts[0][label]:.2f}", f"{100 * parts[1][label]:.2f}"]
                for label in parts[0]
            ]
            whose = f"model of user {name!r}" if name else "shared model"
            header = (f"error rate on held-out rows, {whose}", "before %", "after %")
            print(table(cells, header=header))
