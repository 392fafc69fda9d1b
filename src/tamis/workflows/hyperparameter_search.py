"""Hyperparameter search: Optuna suggests settings, each trial is a training, and trials that are
worse than the median are pruned.

Test rows are not used. A fifth of the training rows is held out, by groups of near-duplicates. One
half of them selects the best trial (and is used for early stopping and pruning); the other half
measures the improvement. Trials are stored in FOLDER/trials.sqlite. A resumed search makes the same
trials as one without interruption.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tamis.cache import cache_directory
from tamis.classifier.text_classifier import TextClassifier
from tamis.config import Recipe
from tamis.data.deduplication import near_repeat_groups
from tamis.data.labels import class_order, typed_labels
from tamis.data.splits import hold_out, positive_label
from tamis.errors import ConfigError, DataError, MissingExtraError, RunError
from tamis.evaluation.model_selection import Scores
from tamis.evaluation.paired_comparison import average_precision, paired_difference
from tamis.files import locked, write_text
from tamis.gpt2.backbones import is_scratch
from tamis.gpt2.feature_cache import FeatureCache
from tamis.progress import Progress, Silent
from tamis.training.callbacks import Callbacks, ignore
from tamis.workflows.dataset import Dataset, load_dataset
from tamis.workflows.environment import Say, silent

HELD_OUT, FEWEST = 0.2, 2
"""Fraction of the training rows that is held out, and minimum number of rows of each class in each
half of it."""
STARTUP_TRIALS = 5
DEPTHS = ("head", "blocks:1", "blocks:2", "lora:8", "full")
BEST, TRIALS, ASKED, STORAGE = "best.toml", "trials.json", "asked.json", "trials.sqlite"

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class SearchSplit:
    """The training rows of a search, as row numbers into `texts`: `fit` trains, `choosing` selects
    the best trial, `confirming` measures the improvement.
    """

    texts: list[str]
    labels: list[str]
    groups: Rows
    fit: Rows
    choosing: Rows
    confirming: Rows
    positive: str | None

    def merit(self, rows: Rows, probabilities: Floats) -> float:
        """Average precision of the positive class, or the mean over all classes, each against the
        others.
        """
        return average_precision(
            [self.labels[row] for row in rows.tolist()],
            probabilities,
            class_order(self.labels),
            self.positive,
        )


def search_split(dataset: Dataset, recipe: Recipe) -> SearchSplit:
    """Split the training part.

    Raises:
        DataError: there are too few rows to hold some out.
    """
    texts, labels = dataset.split.texts("train"), dataset.split.labels("train")
    groups = near_repeat_groups(texts)
    held = hold_out(labels, groups, HELD_OUT, seed=recipe.seed)
    own = [labels[row] for row in held.tolist()]
    confirming = held[hold_out(own, groups[held], 0.5, seed=recipe.seed + 1)]
    choosing = np.setdiff1d(held, confirming)
    for half in (choosing, confirming):
        counts = [sum(labels[row] == name for row in half.tolist()) for name in sorted(set(labels))]
        if min(counts) < FEWEST:
            raise DataError(
                f"{dataset.name}: {len(texts):,} training rows are too few for a search; each "
                f"class needs at least {round(2 * FEWEST / HELD_OUT)} rows that are not "
                "near-duplicates. Add rows, or use the default recipe: tamis train "
                f"{dataset.name}"
            )
    positive = positive_label(labels, recipe.data.positive) if len(set(labels)) == 2 else None
    return SearchSplit(
        texts,
        labels,
        groups,
        np.setdiff1d(np.arange(len(texts)), held),
        choosing,
        confirming,
        positive,
    )


def fitted(
    rows: SearchSplit,
    recipe: Recipe,
    on_epoch: Callable[[int, Scores], None] | None,
    progress: Progress | None,
) -> tuple[Floats, Floats]:
    """Train with a recipe. Returns probabilities of the choosing and of the confirming rows. The
    choosing rows are used for early stopping, which the `lbfgs` head does not need.
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
    choosing, confirming = (
        classifier.predictor_.probabilities(texts, cache=kept) for texts in asked
    )
    return choosing, confirming


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
    with locked(folder / "lock") as mine:
        if not mine:
            raise RunError(
                f"{folder} is in use by another process; wait until it ends, or choose another "
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

    trial = study.ask()
    settings = {} if first else suggested(trial, recipe.backbone)
    trial.set_user_attr("settings", settings)

    def on_epoch(epoch: int, scores: Scores) -> None:
        if scores.average_precision is not None and not first:
            trial.report(scores.average_precision, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned(
                    f"epoch {epoch}: average precision {scores.average_precision:.4f}"
                )

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
        for key in ("seconds", "confirming"):
            trial.set_user_attr(key, same.user_attrs[key])
        study.tell(trial, same.value)
        return f"{name}: {_words(settings)}: the same as trial {same.number}"
    try:
        choosing, confirming = fitted(rows, recipe.changed(settings), on_epoch, progress)
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
    value = rows.merit(rows.choosing, choosing)
    trial.set_user_attr("seconds", time.monotonic() - begun)
    trial.set_user_attr("confirming", confirming.tolist())
    study.tell(trial, value)
    return (
        f"{name}: {_words(settings)}: average precision {value:.4f}, "
        f"{time.monotonic() - begun:.0f} s"
    )


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
    truth = [rows.labels[row] for row in rows.confirming.tolist()]
    before, after = (
        np.asarray(trial.user_attrs["confirming"], dtype=np.float64)
        for trial in (finished[0], best)
    )
    table = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "average_precision": trial.value if trial.state.name == "COMPLETE" else None,
            "seconds": trial.user_attrs.get("seconds"),
            "settings": trial.user_attrs["settings"],
        }
        for trial in ended
    ]
    return {
        "data": name,
        "positive": rows.positive,
        "rows": {
            "fit": len(rows.fit),
            "choosing": len(rows.choosing),
            "confirming": len(rows.confirming),
        },
        "best": next(row for row in table if row["trial"] == best.number),
        "gain": asdict(
            paired_difference(
                truth, before, after, class_order(rows.labels), rows.positive, seed=recipe.seed
            )
        ),
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
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not marks.is_file())):
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


class Trial(Protocol):
    """The methods of an Optuna trial that suggest values."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number from a range."""
        ...

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """An integer from a range, both ends included."""
        ...

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of several values."""
        ...


def depths_of(backbone: str) -> tuple[str, ...]:
    """Values of `tune` to try. A backbone from scratch needs full training."""
    return ("full",) if is_scratch(backbone) else DEPTHS


def suggested(trial: Trial, backbone: str) -> dict[str, Any]:
    """Settings of one trial, by name. Each value of `tune` has its own search space, because a good
    learning rate for adapters is too high for a whole trunk.
    """
    depth = str(trial.suggest_categorical("tune", depths_of(backbone)))
    kind = depth.partition(":")[0]
    chosen: dict[str, Any] = {
        "tune": depth,
        "train.class_weight": trial.suggest_categorical(
            f"{kind}.class_weight", ("none", "balanced")
        ),
    }
    if kind == "head":
        return chosen | {
            "text.normalize": trial.suggest_categorical(
                "head.normalize", ("none", "nfkc", "robust")
            )
        }
    low, high = {"blocks": (3e-5, 2e-3), "lora": (1e-4, 5e-3), "full": (5e-5, 1e-3)}[kind]
    if is_scratch(backbone):
        low, high = 1e-4, 1e-2
    chosen |= {
        "train.learning_rate": trial.suggest_float(f"{kind}.learning_rate", low, high, log=True),
        "train.head_learning_rate": trial.suggest_float(
            f"{kind}.head_learning_rate", 3e-4, 3e-2, log=True
        ),
        "train.weight_decay": trial.suggest_float(f"{kind}.weight_decay", 1e-3, 0.3, log=True),
        "train.dropout": trial.suggest_float(f"{kind}.dropout", 0.0, 0.3),
        "train.label_smoothing": trial.suggest_float(f"{kind}.label_smoothing", 0.0, 0.1),
        "train.epochs": trial.suggest_int(f"{kind}.epochs", 2, 8),
    }
    return chosen
