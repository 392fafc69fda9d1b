"""`tamis.train`: from a file or a data frame to a run folder, as `tamis train`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from tamis.config import Recipe
from tamis.progress import Bars, Silent, show
from tamis.training.callbacks import Tracker
from tamis.workflows import train as workflow
from tamis.workflows.environment import Listener
from tamis.workflows.run_result import RunResult
from tamis.workflows.training_options import Extent, TrainingOptions, training_recipe

logger = logging.getLogger("tamis.workflows")


def train(
    data: Any,
    out: str | Path | None = None,
    *,
    recipe: Recipe | str | Path | None = None,
    overwrite: bool = False,
    log: str | Tracker | Sequence[str | Tracker] = (),
    verbose: bool = False,
    **options: Unpack[TrainingOptions],
) -> RunResult:
    """Train a classifier on a labelled table, evaluate it with baselines, and write a run folder.
    An unfinished run with the same settings and data is resumed.

    Args:
        data: a file, the name of a known data set, a DataFrame of pandas or polars, a pyarrow
            Table, a Hugging Face Dataset, or a mapping of columns.
        out: the run folder; by default `runs/<data>-<backbone>-<tune>`.
        recipe: included recipe by name, or TOML file with settings.
        overwrite: replace the run in the folder.
        log: experiment trackers: `tensorboard`, `mlflow`, `wandb`, or your own `Tracker`.
        verbose: show progress bars and notes. The notes also go to the logger `tamis.workflows`.
        options: those of `tamis train`, such as `backbone`, `tune`, `max_fpr`, `text`, `label`,
            `quick=True` (stop after the quick model), `minutes=5` (budget of the whole call); any
            setting by name goes into `settings`.

    Raises:
        RunError: the folder contains a finished run or another run, or another process uses it.
        MissingExtraError: a tracker is not installed.
        TamisError: data, settings or backbone are invalid.

    Examples:
        >>> texts = ["win cash now", "free prize, call now", "see you at six", "are you home?"] * 5
        >>> table = {"text": texts, "label": ["spam", "spam", "ham", "ham"] * 5}
        >>> import tempfile
        >>> options = {"backbone": "scratch:tiny", "tune": "head", "split": "none"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = train(table, f"{folder}/run", **options)
        >>> result.classifier.predict(["free prize, call now"])
        array(['spam'], dtype='<U4')
    """

    def say(sentence: str) -> None:
        logger.info("%s", sentence)
        if verbose:
            show(sentence)

    return workflow.train(
        str(data) if isinstance(data, Path) else data,
        training_recipe(recipe, options),
        None if out is None else Path(out),
        overwrite=overwrite,
        listener=Listener(say, Bars() if verbose else Silent()),
        log=list(log) if isinstance(log, Sequence) and not isinstance(log, str) else [log],
        extent=Extent(bool(options.get("quick", False)), options.get("minutes")),
    )
