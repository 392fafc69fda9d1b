"""`tamis learn`: learn from corrections in a table, list them, or undo them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.cli.app import app, command, print_json
from tamis.cli.console import say
from tamis.cli.option_groups import column_settings, computing, option_groups
from tamis.cli.options import Json, RunArgument
from tamis.errors import DataError, TamisError
from tamis.evaluation.report.text_table import table
from tamis.feedback.in_effect import counted

if TYPE_CHECKING:
    from tamis.data.tables import Table
    from tamis.feedback.learning import FeedbackLearner
    from tamis.feedback.store import CorrectionStore
    from tamis.feedback.stored_head import StoredLearning

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
    pending: Annotated[
        bool,
        typer.Option(
            "--pending",
            help="Without FILE: learn the stored corrections that are not in effect (the run was "
            "trained again, or a server stopped before it learned them).",
        ),
    ] = False,
    *,
    columns: dict[str, Any],
    compute: dict[str, Any],
    json_: Json = False,
) -> None:
    """Learn from corrected labels, or undo corrections.

    Corrections are stored in a separate file, which tamis predict, explain, evaluate, export and
    serve also read; RUN itself is not changed.

    Example: tamis learn runs/mine corrections.csv
    """
    if undo is not None and (file is not None or not (undo == "all" or undo.isdecimal())):
        raise typer.BadParameter("--undo: expected the id of a correction, or all, and no FILE")
    if pending and (file is not None or undo is not None):
        raise typer.BadParameter("--pending: expected no FILE and no --undo beside it")
    from tamis.classifier.model_folder import find_model
    from tamis.feedback.store import CorrectionStore, default_store, model_name, unusable

    path, model = store or default_store(run), model_name(run)
    if file is None and not path.is_file():
        if undo is None:
            find_model(run)  # raises if RUN does not exist
        raise DataError(
            f"{path} does not exist, so there are no corrections; add some with: tamis learn "
            f"{run} FILE, or give another file with --store"
        )
    if file is not None or pending:
        find_model(run)  # raises if RUN does not exist, before the store is created
    kept = CorrectionStore(path)
    target = _Target(kept, model, run, compute)
    try:
        if undo is not None:
            return _undo(target, undo, user, json_)
        if file is None and not pending:
            return _list(target, json_)
        rows = None if file is None else _rows(run, file, columns)
        _learn(target, rows, user or "", force, json_)
    except sqlite3.Error as error:  # while the store is used: another process holds it, or no room
        raise unusable(path, error) from error
    finally:
        kept.close()


@dataclass(frozen=True)
class _Target:
    """What corrections are for."""

    store: CorrectionStore
    model: str
    """its name in the store"""
    run: Path
    compute: dict[str, Any]

    def learner(self, *, learn: bool = True) -> FeedbackLearner:
        """Load the model with what it has learned."""
        from tamis.classifier.text_classifier import TextClassifier
        from tamis.feedback.learning import FeedbackLearner

        classifier = TextClassifier.load(self.run, **self.compute)
        return FeedbackLearner(classifier, self.run, self.store, model=self.model, learn=learn)


def _undo(target: _Target, undo: str, user: str | None, json_: bool) -> None:
    """Remove corrections, then solve the head for the remaining ones, so that predictions need not.
    The texts are gone even if the run no longer exists.
    """
    kept, model = target.store, target.model
    if undo == "all":
        removed = kept.remove_all(model=model, user=user)
    elif any(item.id == int(undo) for item in kept.all(model=model)):
        removed = int(kept.remove(int(undo)))
    else:
        raise DataError(
            f"{kept.path} has no correction with id {undo} for model {model!r}; list the "
            "corrections with: tamis learn RUN"
        )
    state = _state(target) if removed else None
    if state is not None and state.in_effect:
        target.learner(learn=False)
    if json_:
        return print_json({"removed": removed})
    print(f"Removed {counted(removed)}.")


def _state(target: _Target) -> StoredLearning | None:
    """Return which corrections are in effect; None if the run no longer exists."""
    from tamis.classifier.model_folder import find_model
    from tamis.classifier.training_features import weights_mark
    from tamis.feedback.stored_head import ModelKey, read_learning

    try:
        mark = weights_mark(find_model(target.run))
    except TamisError:
        return None
    key = ModelKey(target.model, mark, str(target.compute.get("dtype", "fp32")))
    return read_learning(target.store.path, key)


def _list(target: _Target, json_: bool) -> None:
    from tamis.feedback.excerpts import excerpts

    items, state = target.store.all(model=target.model), _state(target)
    effective = None if state is None else state.in_effect
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
                        "in_effect": None if effective is None else i.id in effective,
                    }
                    for i in items
                ]
            }
        )
    if not items:
        print(f"{target.store.path} has no corrections for model {target.model!r}.")
        return
    several = any(item.user for item in items)
    rows = [
        [
            str(i.id),
            i.label,
            *([i.user] if several else []),
            i.created.replace("T", " ").removesuffix("+00:00"),
            "unknown" if effective is None else "yes" if i.id in effective else "no",
            shown,
        ]
        for i, shown in zip(items, excerpts([i.text for i in items], SHOWN), strict=True)
    ]
    users = ("user",) if several else ()
    print(table(rows, header=("id", "label", *users, "created (UTC)", "in effect", "text")))


def _rows(run: Path, file: Path, columns: dict[str, Any]) -> Table:
    """Read the labelled texts of a table, by default from the columns of the training."""
    from tamis.classifier.model_folder import training_columns
    from tamis.data.tables import read_table

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
    return rows


def _learn(target: _Target, rows: Table | None, user: str, force: bool, json_: bool) -> None:
    """Store the rows of a table as corrections, learn everything that is stored, and say what is
    in effect.
    """
    from tamis.data.known_labels import with_known_labels
    from tamis.feedback.store import NewCorrection

    learner, ids = target.learner(learn=False), []
    if rows is not None:
        known = with_known_labels(rows, learner.classifier_for().classes_)
        ids = learner.add(
            [
                NewCorrection(text, name, user=user, force=force)
                for text, name in zip(known.texts, known.labels, strict=True)
            ]
        )
    learned = learner.learn()
    if json_:
        return print_json(
            {
                "ids": ids,
                "learned": learned.learned,
                "reason": learned.reason,
                "corrections": learned.corrections,
                "in_effect": learned.in_effect,
                "held_back": learned.held_back,
                "figures": learned.figures,
            }
        )
    if ids:
        print(
            f"Stored {counted(len(set(ids)))} in {target.store.path}. To undo the first: tamis "
            f"learn {target.run} --undo {ids[0]}"
        )
    whole = "yes" if learned.learned else "in part" if learned.in_effect else "no"
    print(f"learned: {whole} ({learned.reason})")
    for name, figures in learned.figures.items():
        if figures.get("held_out") and figures["in_effect"]:
            whose = f"model of user {name!r}" if name else "shared model"
            print(_held_out(figures["held_out"], whose))


def _held_out(figures: dict[str, Any], whose: str) -> str:
    """Return the error rates before and after; one line if none has changed."""
    before, after = (figures[when]["wrong"] for when in ("before", "after"))
    cells = [[label, *(f"{100 * part[label]:.2f}" for part in (before, after))] for label in before]
    if all(cell[1] == cell[2] for cell in cells):
        rates = ", ".join(f"{label} {rate} %" for label, rate, _ in cells)
        return f"error rate on held-out rows, {whose}: unchanged ({rates})"
    header = (f"error rate on held-out rows, {whose}", "before %", "after %")
    return table(cells, header=header)
