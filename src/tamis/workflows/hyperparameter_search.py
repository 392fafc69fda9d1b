"""Hyperparameter search: Optuna suggests settings, each trial is a training, and trials that are
worse than the median are pruned.

Test rows are not used. A fifth of the training rows is held out, by groups of near-duplicates. One
half of them selects the best trial (and is used for early stopping and pruning); the other half
measures the improvement. The metric is average precision or macro F1, by `decision.scoring`. Trials
are stored in FOLDER/trials.sqlite. A resumed search makes the same trials as one without
interruption.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tamis.cache import cache_directory
from tamis.classifier.text_classifier import TextClassifier
from tamis.config import Recipe
from tamis.data.labels import typed_labels
from tamis.errors import ConfigError, MissingExtraError, RunError
from tamis.evaluation.model_selection import Scores
from tamis.files import holder, is_temporary, locked, write_text
from tamis.gpt2.feature_cache import FeatureCache
from tamis.progress import Progress, Silent
from tamis.training.callbacks import Callbacks, ignore
from tamis.workflows.dataset import load_dataset
from tamis.workflows.environment import Say, silent
from tamis.workflows.search_space import suggested
from tamis.workflows.search_split import SearchSplit, TrialScores, search_split

STARTUP_TRIALS = 5
METRIC_NAMES = {"average_precision": "average precision", "f1_macro": "macro F1"}
"""The metrics that compare trials, as they are shown."""
BEST, TRIALS, ASKED, STORAGE = "best.toml", "trials.json", "asked.json", "trials.sqlite"


def fitted(
    rows: SearchSplit,
    recipe: Recipe,
    on_epoch: Callable[[int, Scores], None] | None,
    progress: Progress | None,
) -> TrialScores:
    """Train with a recipe. The choosing rows are used for early stopping, which the `lbfgs` head
    does not need.
    """
    exact = recipe.tune == "head" and recipe.train.head_solver == "lbfgs"
    used = rows.fit if exact else np.concatenate([rows.fit, rows.choosing])
    asked = [
        [rows.texts[row] for row in part.tolist()] for part in (rows.choosing, rows.confirming)
    ]
    classifier = TextClassifier.from_recipe(recipe)
    cache = FeatureCache(cache_directory() / "states")
    classifier.fit(
        [rows.texts[row] for row in used.tolist()],
        typed_labels([rows.labels[row] for row in used.tolist()]),
        validation=None if exact else np.arange(len(rows.fit), len(used)),
        groups=rows.groups[used],
        callbacks=Callbacks(
            progress=progress or Silent(), on_epoch=on_epoch or ignore, cache=cache
        ),
    )
    kept = cache if recipe.tune == "head" else None
    return TrialScores(*(classifier.predictor_.probabilities(texts, cache=kept) for texts in asked))


def search(
    data: str,
    recipe: Recipe,
    folder: Path,
    *,
    trials: int = 20,
    minutes: float | None = None,
    say: Say = silent,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Search for settings and write FOLDER/best.toml and FOLDER/trials.json. Returns the content of
    trials.json.

    Args:
        data: file or name of a known data set.
        recipe: the settings that trials start from; the first trial uses them unchanged.
        folder: is created if it does not exist. A search with the same data and recipe is resumed.
        trials: total number of trials, including earlier ones.
        minutes: start no trial after this many minutes; None for no limit.
        say: receives messages for the user.
        progress: receives progress updates.

    Raises:
        RunError: the folder contains another search, or another process uses it.
        MissingExtraError: Optuna is not installed.
        DataError: there are too few rows.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("optuna", "search", "tamis search") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    begun = time.monotonic()
    prepared = load_dataset(data, recipe)
    rows = search_split(prepared, recipe)
    for note in prepared.notes:
        say(note)
    asked = {
        "data": prepared.split.table.fingerprint,
        "recipe": recipe.model_dump(),
        "rows": len(rows.texts),
    }
    _open(folder, asked)
    lock = folder / "lock"
    with locked(lock) as mine:
        if not mine:
            raise RunError(
                f"{folder} is in use by {holder(lock)}; wait until it ends, or choose another "
                "folder with -o"
            )
        study = optuna.create_study(
            study_name="tamis",
            storage=f"sqlite:///{folder.resolve() / STORAGE}",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=STARTUP_TRIALS - 1, n_warmup_steps=1
            ),
        )
        for left in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(
                left.number, state=optuna.trial.TrialState.FAIL
            )  # killed during the trial: repeated below
        while (done := len(_ended(study))) < trials:
            if minutes is not None and done and time.monotonic() - begun > 60 * minutes:
                say(
                    f"stopped after {minutes:g} minutes and {done} trials; repeat the same command "
                    "to continue"
                )
                break
            # The seed depends on the number of finished trials, so that a resumed search draws the
            # same settings as one without interruption.
            study.sampler = optuna.samplers.TPESampler(
                seed=recipe.seed + done, n_startup_trials=STARTUP_TRIALS
            )
            say(_tried(study, rows, recipe, first=done == 0, progress=progress))
        found: dict[str, Any] = json.loads(json.dumps(_outcome(study, rows, recipe, prepared.name)))
        write_text(folder / BEST, recipe.changed(found["best"]["settings"]).to_toml())
        write_text(folder / TRIALS, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return found


def _tried(
    study: Any, rows: SearchSplit, recipe: Recipe, *, first: bool, progress: Progress | None
) -> str:
    """Run one trial; returns a message for the user."""
    import optuna

    trial, metric = study.ask(), METRIC_NAMES[rows.metric]
    settings = {} if first else suggested(trial, recipe.backbone)
    trial.set_user_attr("settings", settings)

    def on_epoch(epoch: int, scores: Scores) -> None:
        value = rows.of_epoch(scores)
        if value is not None and not first:
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned(f"epoch {epoch}: {metric} {value:.4f}")

    begun = time.monotonic()
    name = f"trial {trial.number}"
    same = next(
        (
            t
            for t in _ended(study)
            if t.state.name == "COMPLETE" and t.user_attrs["settings"] == settings
        ),
        None,
    )
    if same is not None:  # the same settings were already trained
        for key in ("seconds", "choosing", "confirming"):
            trial.set_user_attr(key, same.user_attrs[key])
        study.tell(trial, same.value)
        return f"{name}: {_words(settings)}: the same as trial {same.number}"
    try:
        scores = fitted(rows, recipe.changed(settings), on_epoch, progress)
    except optuna.TrialPruned as cut:
        trial.set_user_attr("seconds", time.monotonic() - begun)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return f"{name}: {_words(settings)}: pruned at {cut}"
    except ConfigError as error:
        if first:
            raise
        trial.set_user_attr("seconds", time.monotonic() - begun)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return f"{name}: {_words(settings)}: {error}"
    value = rows.merit(rows.choosing, scores.choosing)
    trial.set_user_attr("seconds", time.monotonic() - begun)
    trial.set_user_attr("choosing", scores.choosing.tolist())
    trial.set_user_attr("confirming", scores.confirming.tolist())
    study.tell(trial, value)
    return f"{name}: {_words(settings)}: {metric} {value:.4f}, {time.monotonic() - begun:.0f} s"


def _ended(study: Any) -> list[Any]:
    """Finished and pruned trials, in order."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state.name in ("COMPLETE", "PRUNED")
    ]


def _outcome(study: Any, rows: SearchSplit, recipe: Recipe, name: str) -> dict[str, Any]:
    """All trials, the best trial, and its improvement over the first one on the confirming rows."""
    ended = _ended(study)
    finished = [trial for trial in ended if trial.state.name == "COMPLETE"]
    best = max(finished, key=lambda trial: (trial.value, -trial.number))
    before, after = (
        TrialScores(*(np.asarray(trial.user_attrs[half]) for half in ("choosing", "confirming")))
        for trial in (finished[0], best)
    )
    table = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            rows.metric: trial.value if trial.state.name == "COMPLETE" else None,
            "seconds": trial.user_attrs.get("seconds"),
            "settings": trial.user_attrs["settings"],
        }
        for trial in ended
    ]
    return {
        "data": name,
        "positive": rows.positive,
        "metric": rows.metric,
        "rows": {
            "fit": len(rows.fit),
            "choosing": len(rows.choosing),
            "confirming": len(rows.confirming),
        },
        "best": next(row for row in table if row["trial"] == best.number),
        "gain": asdict(rows.gain(before, after, seed=recipe.seed)),
        "trials": table,
    }


def _words(settings: dict[str, Any]) -> str:
    shown = (
        f"{key.rpartition('.')[2]} {value:.3g}" if isinstance(value, float) else f"{value}"
        for key, value in settings.items()
    )
    return ", ".join(shown) or "unchanged recipe"


def _open(folder: Path, asked: dict[str, Any]) -> None:
    marks, wanted = folder / ASKED, json.loads(json.dumps(asked))
    others = folder.is_dir() and any(not is_temporary(file) for file in folder.iterdir())
    if folder.exists() and (not folder.is_dir() or (others and not marks.is_file())):
        raise RunError(
            f"{folder} exists and is not a search folder; choose another folder with -o (its "
            "content was not changed)"
        )
    if marks.is_file() and json.loads(marks.read_text(encoding="utf-8")) != wanted:
        raise RunError(
            f"{folder} contains a search with other data or another recipe; choose another folder "
            "with -o"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(marks, json.dumps(wanted, indent=2, ensure_ascii=False))
