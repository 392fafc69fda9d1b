"""Groups of options that several commands have, declared once.

A group is a function whose parameters are the options and whose result is what the command gets:
`@option_groups(compute=compute_settings)` gives a command the options `--device`, `--threads` and
`--dtype` in the place of its parameter `compute`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import typer

from tamis.cli.options import (
    Device,
    Dtype,
    FeedbackStore,
    FeedbackUser,
    Header,
    LabelColumn,
    NoFeedback,
    Positive,
    SkipUnlabelled,
    Split,
    TestFile,
    TextColumn,
    Threads,
    recipe_from,
)

if TYPE_CHECKING:
    from tamis.feedback.loading import FeedbackChoice

Command = Callable[..., None]


def option_groups(**groups: Callable[..., Any]) -> Callable[[Command], Command]:
    """Return a decorator that replaces parameters of a command by groups of options.

    Args:
        groups: the group of each parameter, by name; the command is called with their results.
    """

    def decorate(function: Command) -> Command:
        own = _parameters(function, without=groups)
        options = {name: _parameters(group) for name, group in groups.items()}
        shown = [
            option
            for name, parameter in own.items()
            for option in (options[name].values() if name in groups else [parameter])
        ]

        @functools.wraps(function)
        def with_groups(**given: Any) -> None:
            for name, group in groups.items():
                given[name] = group(**{option: given.pop(option) for option in options[name]})
            function(**given)

        # Typer reads the options off the signature and the annotations.
        del with_groups.__wrapped__
        with_groups.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        with_groups.__annotations__ = {option.name: option.annotation for option in shown}
        return with_groups

    return decorate


def _parameters(
    function: Callable[..., Any], without: Iterable[str] = ()
) -> Mapping[str, inspect.Parameter]:
    """Return the parameters with their annotations evaluated, as Typer needs them.

    The result and `without` may be annotated with names that only type checkers import.
    """
    for name in ("return", *without):
        function.__annotations__.pop(name, None)
    return inspect.signature(function, eval_str=True).parameters


def compute_settings(
    device: Device = None, threads: Threads = None, dtype: Dtype = None
) -> dict[str, Any]:
    """Return the settings of a recipe for device, threads and dtype."""
    return {"compute.device": device, "compute.threads": threads, "compute.dtype": dtype}


def computing(
    device: Device = None, threads: Threads = None, dtype: Dtype = None
) -> dict[str, Any]:
    """Return validated `device`, `threads` and `dtype`, for commands that use a trained model."""
    return recipe_from(None, compute_settings(device, threads, dtype)).compute.model_dump()


def column_settings(
    text: TextColumn = None,
    label: LabelColumn = None,
    header: Header = None,
    skip_unlabelled: SkipUnlabelled = None,
) -> dict[str, Any]:
    """Return the settings of a recipe for reading a labelled table."""
    return {
        "data.text": text,
        "data.label": label,
        "data.header": header,
        "data.skip_unlabelled": skip_unlabelled,
    }


def data_settings(
    split: Split = None,
    test: TestFile = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    header: Header = None,
    skip_unlabelled: SkipUnlabelled = None,
    positive: Positive = None,
) -> dict[str, Any]:
    """Return the settings of a recipe for reading and splitting a labelled table."""
    return {
        "data.split": split,
        "data.test": test and str(test),
        **column_settings(text, label, header, skip_unlabelled),
        "data.positive": positive,
    }


def feedback_choice(
    no_feedback: NoFeedback = False,
    store: FeedbackStore = None,
    user: FeedbackUser = "",
) -> FeedbackChoice:
    """Return which corrections a command uses."""
    if no_feedback and (store is not None or user):
        raise typer.BadParameter("--no-feedback: expected no --store and no --user beside it")
    from tamis.feedback.loading import FeedbackChoice

    return FeedbackChoice(not no_feedback, store, user)
