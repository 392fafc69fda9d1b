"""From labelled texts to a training set: resolve the recipe, choose validation rows or folds, load
the backbone, make augmented copies, encode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.compute import device as devices
from tamis.compute.device import Compute
from tamis.config import Recipe
from tamis.data.deduplication import repeat_groups
from tamis.data.folds import FOLDS, fold_ids
from tamis.data.holdout import held_out
from tamis.errors import ConfigError
from tamis.gpt2.backbones import Backbone, is_scratch, load_backbone, scratch_backbone
from tamis.head.class_weights import class_weights
from tamis.head.result import Rows
from tamis.head.training_set import TrainingSet
from tamis.text.augmentation import CopySource, augmented_copies
from tamis.text.encoder import TextEncoder
from tamis.text.encoding import EncodedTexts
from tamis.text.tokenizer import Tokenizer, prepared_tokenizer
from tamis.text.windows import WindowAggregation
from tamis.training.callbacks import Callbacks, settings_by_name
from tamis.training.long_texts import (
    MOST_LONG,
    ConcatenatedNegatives,
    retokenizer,
    window_size,
)
from tamis.training.resolve import resolve_recipe


@dataclass(frozen=True)
class LabelledTexts:
    """R labelled texts."""

    texts: list[str]
    targets: Rows
    """(R,) class numbers"""
    classes: tuple[str, ...]
    """K labels"""
    validation: Rows | None = None
    """Numbers of the rows to hold out; None: chosen by the recipe."""
    groups: Rows | None = None
    """(R,) rows of one group never stand on both sides of a fold; None: repeats of a text."""
    weights: NDArray[np.float64] | None = None
    """(R,) weight of each row in the loss, above 0; None: 1."""


@dataclass(frozen=True)
class TrainingPlan:
    """The input of `tamis.training.fit.fit`, and facts about the recipe."""

    recipe: Recipe
    """resolved"""
    compute: Compute
    backbone: Backbone
    encoder: TextEncoder
    data: TrainingSet
    copied: Rows
    """(M,) row that each augmented copy was made of"""
    positive: str | None
    """label of the positive class; None for more than two classes"""
    folds: Rows | None
    """(R,) fold of each row; None where the rows are in no folds"""
    tune_reason: str
    """why `recipe.tune` is what it is"""
    notes: list[str]
    """sentences to show before training"""
    rows: LabelledTexts
    """the labelled texts themselves"""

    @property
    def fitted(self) -> Rows:
        """Rows that the model is fitted on; for the exact head including the validation rows."""
        return self.data.train if exact_head(self.recipe) else self.data.fitted


def exact_head(recipe: Recipe) -> bool:
    """Return whether the head alone is trained, with the L-BFGS solver."""
    return recipe.tune == "head" and recipe.train.head_solver == "lbfgs"


def prepare(recipe: Recipe, rows: LabelledTexts, callbacks: Callbacks) -> TrainingPlan:
    """Resolve a recipe for its rows, and load and encode what the training needs.

    Args:
        recipe: as requested.
        rows: R labelled texts.
        callbacks: `on_resolved` and `on_notice` are called before the backbone is loaded.

    Raises:
        ConfigError, DataError: a setting or a text is wrong.
        CheckpointError, DownloadError: the backbone cannot be loaded.
    """
    compute = devices.resolve(recipe.compute.device, recipe.compute.threads, recipe.compute.dtype)
    found = {f"compute.{name}": getattr(compute, name) for name in ("device", "threads", "dtype")}
    if rows.validation is not None:
        found["decision.cv_folds"] = 0
    labels = [rows.classes[target] for target in rows.targets.tolist()]
    settled = resolve_recipe(recipe.changed(found), rows.texts, labels)
    recipe = settled.recipe
    callbacks.on_resolved(recipe)
    for tracker in callbacks.trackers:
        tracker.begin(settings_by_name(recipe))
    for note in settled.notes:
        callbacks.on_notice(note)
    groups = repeat_groups(rows.texts) if rows.groups is None else np.asarray(rows.groups)
    exact, train = exact_head(recipe), np.arange(len(rows.texts))
    validation = rows.validation
    if validation is None:
        validation = train[:0] if exact else held_out(labels, groups, recipe)
    fitted = train if exact else np.setdiff1d(train, validation)
    backbone = _backbone(recipe, [rows.texts[row] for row in fitted.tolist()])
    tokenizer = prepared_tokenizer(recipe, backbone.tokenizer)
    wanted = FOLDS if exact else recipe.decision.cv_folds or 0
    folds = fold_ids(rows.targets, groups, len(rows.classes), wanted, recipe.seed)
    # The exact head has the copies' folds, or a single one: its own would part them.
    scored_in = train * 0 if exact and folds is None else folds
    place = None if settled.positive is None else rows.classes.index(settled.positive)
    source = CopySource(rows.texts, rows.targets, place, scored_in, tokenizer.normalized)
    copies = augmented_copies(source, fitted, recipe.train, seed=recipe.seed)
    recipe, encoder = _encoder(recipe, tokenizer, rows.texts, backbone, place)
    notes = list(settled.notes)
    if recipe.train.adapt_passes:
        from tamis.training.adaptation import adapt  # brings all of pretraining along

        own = [rows.texts[row] for row in fitted.tolist()]
        notes.append(adapt(backbone, own, tokenizer, recipe, compute, callbacks))
        callbacks.on_notice(notes[-1])
    every = [*rows.texts, *copies.texts]
    encoded = encoder.encode(every)
    data = TrainingSet(
        encoded,
        np.concatenate([rows.targets, rows.targets[copies.of]]),
        rows.classes,
        class_weights(recipe, rows.targets, rows.classes, rows.weights),
        np.concatenate([groups, groups[copies.of]]),
        train,
        copies=np.arange(len(train), len(every)),
        validation=validation,
        fold_ids=scored_in,
        retokenize=retokenizer(
            encoder, every, dropout=recipe.train.bpe_dropout or 0.0, seed=recipe.seed
        ),
        concatenate_negatives=_concatenation(recipe, rows, encoder, encoded),
        row_weights=(
            None
            if rows.weights is None
            else np.concatenate([rows.weights, rows.weights[copies.of]])
        ),
    )
    return TrainingPlan(
        recipe,
        compute,
        backbone,
        encoder,
        data,
        copies.of,
        settled.positive,
        folds,
        settled.tune_reason,
        notes,
        rows,
    )


def _backbone(recipe: Recipe, texts: list[str]) -> Backbone:
    """The recipe's backbone; a random one gets a tokenizer trained on `texts`."""
    if is_scratch(recipe.backbone):
        return scratch_backbone(recipe.backbone, texts, seed=recipe.seed)
    return load_backbone(recipe.backbone)


def _encoder(
    recipe: Recipe, tokenizer: Tokenizer, texts: list[str], backbone: Backbone, place: int | None
) -> tuple[Recipe, TextEncoder]:
    """The recipe with the size of a window settled, and how texts are encoded by it.

    Raises:
        ConfigError: texts are to be padded to more tokens than the context holds.
    """
    context = backbone.model.config.n_positions
    if recipe.text.window is None:
        recipe = recipe.changed({"text.window": window_size(tokenizer, texts, context)})
    if (recipe.text.fixed_length or 0) > context:
        raise ConfigError(
            f"text.padding = {recipe.text.padding}: expected at most {context} tokens, the context "
            "length of the backbone"
        )
    penalty = recipe.text.window_penalty
    aggregation = WindowAggregation(place, 1.0 if penalty is None else penalty)
    return recipe, TextEncoder(tokenizer, context, recipe.text.window, aggregation)


def _concatenation(
    recipe: Recipe, rows: LabelledTexts, encoder: TextEncoder, encoded: EncodedTexts
) -> Callable[[Rows], EncodedTexts] | None:
    """Gives windows of concatenated negatives.

    None where nothing is to be learnt from them: the penalty is given or has no meaning, or more
    than MOST_LONG of the training rows are long, so that threshold and probabilities hold for texts
    whose windows are pooled by theory's 1.
    """
    place, text, count = encoder.aggregation.positive, recipe.text, len(rows.texts)
    if place is None or text.window_penalty is not None or text.fixed_length:
        return None
    if sum(encoded.long[:count]) > MOST_LONG * count:
        return None
    return ConcatenatedNegatives(rows.texts, rows.targets != place, encoder, seed=recipe.seed)
