"""Default values of open settings, by what is trained, whether the backbone is pretrained, and the
number of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tamis.config import Recipe
from tamis.errors import ConfigError
from tamis.training.time_estimate import BLOCKS as LAST_BLOCKS
from tamis.training.time_estimate import LONG_S, MOST_STATES, Duration


@dataclass(frozen=True)
class Defaults:
    """Default values of the training settings."""

    epochs: int
    learning_rate: float
    head_learning_rate: float
    dropout: float
    lm_loss_weight: float = 0.0
    token_dropout: float = 0.0
    bpe_dropout: float = 0.0
    batch_tokens: int = 1024
    head_init: str = "random"
    wise_ft: float | str = 0.0


SCRATCH_FULL = Defaults(
    epochs=5,
    learning_rate=5e-4,
    head_learning_rate=1e-3,
    dropout=0.1,
    lm_loss_weight=1.0,
    token_dropout=0.25,
)
PRETRAINED_FULL = Defaults(
    epochs=4,
    learning_rate=3e-4,
    head_learning_rate=3e-3,
    dropout=0.1,
    bpe_dropout=0.1,
    batch_tokens=512,
    head_init="linear_probe",
)
BLOCKS = Defaults(epochs=5, learning_rate=3e-4, head_learning_rate=3e-3, dropout=0.0)
LORA = Defaults(epochs=5, learning_rate=1e-3, head_learning_rate=3e-3, dropout=0.0)
HEAD = Defaults(epochs=1, learning_rate=5e-5, head_learning_rate=5e-5, dropout=0.0)
"""The reference's own: one epoch at 5e-5."""

_EPOCHS, _MOST_EPOCHS, _FEWEST_EPOCHS, _MORE = 60, 20, 2, 1.6
"""Few rows need more passes: of two classes 20 at 8 rows a class, 11 at 32, 5 at 128, 4 from 180
on; of more classes 1.6 times as many."""


def epochs_for(rows: int, classes: int) -> int:
    """Return the default number of epochs of full fine-tuning of a pretrained backbone.

    More than two classes need more epochs.

    Args:
        rows: number of training rows.
        classes: number of classes.
    """
    wanted = max(PRETRAINED_FULL.epochs, _EPOCHS / math.sqrt(max(1, rows) / classes)) * (
        _MORE if classes > 2 else 1.0
    )
    return min(_MOST_EPOCHS, round(wanted))


FEW_ROWS, _KEPT = 100, 0.5


def is_low_data(rows: int, classes: int) -> bool:
    """Return whether there are fewer than 100 training rows per class."""
    return rows < FEW_ROWS * classes


def default_bpe_dropout(rows: int, classes: int) -> float:
    """Return the default BPE-dropout of full fine-tuning of a pretrained backbone: 0 below 100 rows
    per class, where it had no effect on the results.
    """
    return 0.0 if is_low_data(rows, classes) else PRETRAINED_FULL.bpe_dropout


def default_wise_ft(rows: int, classes: int) -> float | str:
    """Return the default WiSE-FT share of full fine-tuning of a pretrained backbone: one half below
    100 rows per class, otherwise `auto` (chosen on the validation rows).

    With few rows, results vary from sample to sample, and the average with the initial weights
    varies less. With many rows, some labels may be wrong, and the last epochs memorize them.
    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
    """
    return _KEPT if is_low_data(rows, classes) else "auto"


_FASTER = 2.0
"""What the learning rate of a small backbone with many rows of more than two classes is multiplied
by: they have more to learn."""


def default_learning_rate(rows: int, classes: int, *, small: bool) -> float:
    """Return the default peak learning rate of full fine-tuning of a pretrained backbone; `small`
    as in `resolve_tune`.
    """
    return PRETRAINED_FULL.learning_rate * (
        _FASTER if small and classes > 2 and not is_low_data(rows, classes) else 1.0
    )


_FOLDS, _FOLDS_OF_FEW, _FEW = 3, 5, 300
"""Many rows: a third of them less in each fold's training, and three trainings. Few rows are
missed, and trained on in seconds."""


def resolve_cv_folds(
    recipe: Recipe, *, pretrained: bool, small: bool, rows: int, classes: int
) -> int:
    """Return the number of cross-validation folds.

    This is the setting, if it is set. By default, full fine-tuning of a small pretrained backbone
    with a maximum false positive rate uses 3 folds, or 5 for few rows: a validation part of a tenth
    of the rows is too small to measure a rate of 0.1 %. `pretrained` and `small` as in
    `resolve_tune`, `rows` and `classes` as in `resolve_defaults`.
    """
    if (
        resolve_tune(recipe.tune, pretrained=pretrained, small=small)[0] == "head"
        and recipe.train.head_solver == "lbfgs"
    ):
        return 0
    if recipe.decision.cv_folds is not None:
        return 0 if recipe.decision.cv_folds < 2 else recipe.decision.cv_folds
    if not (small and pretrained):
        return 0
    if rows <= _FEW and is_low_data(rows, classes):
        return _FOLDS_OF_FEW
    return _FOLDS if recipe.decision.max_fpr is not None else 0


FEW_LABELS_OF_TWO, FEW_LABELS = 150, 20
"""Rows per class, of two classes and of more, up to which `tune = auto` takes the exact head of a
small backbone: with fewer rows it is about as good as everything trained, in seconds
(docs/decisions.md)."""


def few_labels(classes: int) -> int:
    """Return the number of rows per class up to which `tune = auto` takes the exact head."""
    return FEW_LABELS_OF_TWO if classes <= 2 else FEW_LABELS


def resolve_tune(
    tune: str,
    *,
    pretrained: bool,
    small: bool,
    duration: Duration | None = None,
    rows: float = math.inf,
    classes: int = 2,
) -> tuple[str, str]:
    """Return what `tune = auto` stands for, and the reason.

    A random backbone is trained fully. Of a small pretrained one only the head is trained if there
    are few rows (`few_labels`), and everything if that takes at most half an hour (`LONG_S`).
    Otherwise the last two blocks are trained, if that takes at most as long and
    the states below them fit into memory. Otherwise, and for every large backbone, the head alone
    is trained.

    Args:
        tune: the setting.
        pretrained: whether the backbone is pretrained.
        small: whether full fine-tuning takes minutes on two cores for a few thousand rows (an
            embedded backbone).
        duration: estimated time of full fine-tuning of a small backbone; None means minutes.
        rows: number of training rows; infinite if a setting of the training loop is asked for.
        classes: number of classes.
    """
    if tune != "auto":
        return tune, "requested"
    if not pretrained:
        return "full", "auto: the backbone has random weights, so everything is trained"
    if not small:
        return (
            "head",
            "auto: the backbone is pretrained and large, so only the head is trained",
        )
    if rows <= few_labels(classes) * classes:
        return (
            "head",
            f"auto: with at most {few_labels(classes)} labels per class the exact head alone is "
            "about as good, in seconds; to train everything, use --tune full",
        )
    if duration is not None and duration.seconds + duration.adaptation > LONG_S:
        some = duration.share * duration.seconds + duration.adaptation
        blocks = some <= LONG_S and duration.states <= MOST_STATES
        found, what = (
            (f"blocks:{LAST_BLOCKS}", "only the last blocks are trained")
            if blocks
            else ("head", "only the head is trained")
        )
        return (
            found,
            f"auto: full training would take about {duration.words()}, so {what}; to train "
            "everything, use --tune full",
        )
    return "full", "auto: the backbone is small, so everything is trained"


def attention_fallback(recipe: Recipe, *, pretrained: bool) -> tuple[str, str] | None:
    """Return the `text.pooling` to use instead of `attention` if attention pooling cannot be
    trained, and the reason; None if it can. `tune` is resolved.
    """
    if recipe.tune == "head" and recipe.train.head_solver == "lbfgs":
        return "auto", "the lbfgs head cannot train attention (use --tune blocks:1)"
    if recipe.tune == "head":
        return "mean", "--tune head does not train attention (use --tune blocks:1)"
    full = PRETRAINED_FULL if pretrained else SCRATCH_FULL
    weight = recipe.train.lm_loss_weight
    if recipe.tune == "full" and (full.lm_loss_weight if weight is None else weight):
        return (
            "mean",
            "the next-token loss needs mean pooling (train.lm_loss_weight=0 disables that loss)",
        )
    return None


def resolve_defaults(
    recipe: Recipe, *, pretrained: bool, rows: int, classes: int, small: bool = False
) -> Recipe:
    """Return the recipe with every open setting resolved. `tune` is resolved before, by
    `resolve_tune`.

    Args:
        recipe: the recipe.
        pretrained: whether the backbone is pretrained.
        rows: number of training rows.
        classes: number of classes.
        small: as in `resolve_tune`.

    Raises:
        ConfigError: two settings exclude each other, or `tune` is `auto`.
    """
    if recipe.tune == "auto":
        raise ConfigError("tune is still auto; call resolve_tune first")
    tune = recipe.tune
    full = PRETRAINED_FULL if pretrained else SCRATCH_FULL
    defaults = (
        HEAD if tune == "head" else full if tune == "full" else LORA if recipe.rank else BLOCKS
    )
    changes: dict[str, Any] = {
        "tune": tune,
        "decision.cv_folds": resolve_cv_folds(
            recipe, pretrained=pretrained, small=small, rows=rows, classes=classes
        ),
    }
    instead = (
        attention_fallback(recipe, pretrained=pretrained)
        if recipe.text.pooling == "attention"
        else None
    )
    if instead is not None:
        changes["text.pooling"] = instead[0]
    elif recipe.text.pooling == "auto" and not (
        tune == "head" and recipe.train.head_solver == "lbfgs"
    ):
        changes["text.pooling"] = "mean"
    for name in Defaults.__dataclass_fields__:
        if getattr(recipe.train, name) is None:
            changes[f"train.{name}"] = getattr(defaults, name)
    if recipe.train.epochs is None and defaults is PRETRAINED_FULL:
        # A row's copies are passes over it too: what every row has of them at least counts.
        copies = recipe.train.augment_forms + min(
            recipe.train.augment_positives, recipe.train.augment_negatives
        )
        changes["train.epochs"] = max(
            _FEWEST_EPOCHS, round(epochs_for(rows, classes) / (1 + copies))
        )
    if recipe.train.learning_rate is None and defaults is PRETRAINED_FULL:
        changes["train.learning_rate"] = default_learning_rate(rows, classes, small=small)
    if recipe.train.bpe_dropout is None and defaults is PRETRAINED_FULL:
        changes["train.bpe_dropout"] = default_bpe_dropout(rows, classes)
    if (
        recipe.train.wise_ft is None
        and defaults is PRETRAINED_FULL
        and changes.get("train.head_init", recipe.train.head_init) == "linear_probe"
    ):
        changes["train.wise_ft"] = default_wise_ft(rows, classes)
    settled = recipe.changed(changes)
    if settled.train.lm_loss_weight and tune != "full":
        raise ConfigError(f"train.lm_loss_weight: expected tune = full, got tune = {tune}")
    return settled
