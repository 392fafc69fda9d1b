"""Training: read and split a labelled table, train a quick and a tuned model, evaluate with
baselines, write a run folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tamis.cache import cache_directory
from tamis.compute import torchrun
from tamis.config import Recipe
from tamis.evaluation.report.evaluation_report import EvaluationReport
from tamis.gpt2.feature_cache import FeatureCache
from tamis.progress import once
from tamis.training.callbacks import Callbacks, Tracker
from tamis.training.resolve import check_rows
from tamis.training.trackers import HistoryTracker, tracker
from tamis.workflows.dataset import ReadTable, load_dataset
from tamis.workflows.environment import Clock, Listener
from tamis.workflows.fitted_run import TrainingInputs
from tamis.workflows.run_folder import opened, slug
from tamis.workflows.run_result import RunResult
from tamis.workflows.training_options import Extent
from tamis.workflows.training_stages import TrainingStages


def train(
    data: Any,
    recipe: Recipe,
    run: Path | None = None,
    *,
    overwrite: bool = False,
    listener: Listener | None = None,
    log: Sequence[str | Tracker] = (),
    extent: Extent | None = None,
) -> RunResult:
    """Train, evaluate and write a run folder. An unfinished run with the same recipe and data is
    resumed.

    Args:
        data: a file, the name of a known data set, a table in memory, or what `read_data` read.
        recipe: all settings.
        run: the run folder.
        overwrite: replace the run in the folder.
        listener: receives messages and progress.
        log: experiment trackers, by name (`training.trackers.tracker`) or as objects.
        extent: whether to stop after the quick model, and the time budget.

    Raises:
        MissingExtraError: a tracker is not installed.
        RunError: the folder contains a finished run or another run, or another process uses it.
        TamisError: data, settings or backbone are invalid.
    """
    begun, clock = time.monotonic(), Clock()
    listener, extent = listener or Listener(), extent or Extent()
    extent.check(recipe)
    if isinstance(data, ReadTable):
        begun, clock.seconds["data"] = begun - data.seconds, data.seconds
    with clock.phase("data"):
        prepared = load_dataset(data, recipe)
        parts = prepared.split
        check_rows(recipe, parts.labels("train"))
    for note in prepared.notes:
        listener.say(note)
    part = "quick" if extent.quick else recipe.tune
    path = run or Path("runs") / slug(f"{prepared.name}-{recipe.backbone}-{part}")
    test_mark = None if parts.test_table is None else parts.test_table.fingerprint
    asked: dict[str, Any] = {
        "data": parts.table.fingerprint,
        "test": test_mark,
        "recipe": recipe.model_dump(),
    }
    if recipe.data.exclude is not None:
        asked["exclude"] = list(prepared.excluded)
    if extent.minutes is not None:
        asked["minutes"] = extent.minutes
    if torchrun.restarted() and _begun(path, asked):
        overwrite = False  # of the first attempt, whose work goes on
    named = [tracker(one, path) if isinstance(one, str) else one for one in log]
    with opened(path, asked, overwrite=overwrite) as folder, ExitStack() as trackers:
        hooks = Callbacks(
            progress=listener.progress,
            on_notice=once(listener.say),
            trackers=[trackers.enter_context(one) for one in (HistoryTracker(path), *named)],
            checkpoint=folder.checkpoint,
            cache=FeatureCache(cache_directory() / "states"),
        )
        stages = TrainingStages(folder, TrainingInputs(prepared), recipe, extent, hooks, clock)
        found = stages.run(begun)
        for one in hooks.trackers:
            one.finish(found.report)
    return RunResult(path, found.classifier, EvaluationReport(found.report, found.inputs))


def _begun(path: Path, asked: dict[str, Any]) -> bool:
    """Whether the folder has the beginning of the very run that is asked for."""
    try:
        before = json.loads((path / "checkpoint" / "asked.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(before == json.loads(json.dumps(asked)))
