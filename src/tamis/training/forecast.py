"""Seconds that the parts of a training take, from the tokens of the table and a measured speed; and
the training that fits into a time budget.

The forecast counts passes over the rows. It does not know early stopping, so a training may end
sooner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tamis.config import Recipe
from tamis.training.defaults import BLOCKS as BLOCK_DEFAULTS
from tamis.training.measured_speed import Speed
from tamis.training.prepare import exact_head
from tamis.training.time_estimate import MOST_STATES, copies_of

HEAD_ROW_S = 1e-3
"""Seconds a row of the exact head: out-of-fold scores for each penalty; for two classes."""
SELECTION = 4.0
"""How much longer the head takes where it chooses among layers and poolings."""
TFIDF_ROW_S = 1.5e-4
PLOTS_S = 4.0
"""Seconds of plots, intervals and files at the end."""
OOD_TEXTS = 1000
"""Texts, of training and test rows each, whose features the out-of-distribution limit needs. A
frozen trunk has computed them already."""
LORA_SHARE = 0.8
"""Of the time of training everything."""


@dataclass(frozen=True)
class Work:
    """What there is to read and to train."""

    rows: int
    """training rows"""
    test_rows: int
    classes: int
    tokens: float
    """of the training rows"""
    test_tokens: float
    copied: float
    """the training rows with their augmented copies, as a multiple of the rows"""
    blocks: int
    """of the backbone, with the one that pools"""
    channels: int

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        rows: tuple[Sequence[str], Sequence[str]],
        test_texts: Sequence[str],
        *,
        positive: str | None,
        tokens_per_byte: float,
        shape: tuple[int, int],
    ) -> Work:
        """Count the work of a resolved recipe.

        Args:
            recipe: with its augmentations.
            rows: training texts and their labels.
            test_texts: texts of the test rows.
            positive: label of the positive class of two.
            tokens_per_byte: as `Speed` has it.
            shape: blocks and channels of the backbone.
        """
        texts, labels = rows
        copies = {label: copies_of(recipe.train, label, positive) for label in set(labels)}
        return cls(
            rows=len(texts),
            test_rows=len(test_texts),
            classes=len(copies),
            tokens=_bytes(texts) * tokens_per_byte,
            test_tokens=_bytes(test_texts) * tokens_per_byte,
            copied=sum(1 + copies[label] for label in labels) / max(1, len(labels)),
            blocks=shape[0] + 1,
            channels=shape[1],
        )


@dataclass(frozen=True)
class Forecast:
    """Seconds of the parts of a run."""

    work: Work
    speed: Speed
    tune: str
    """what `speed.training_s` was measured with"""

    def reading(self) -> float:
        """Seconds of reading the training rows and their copies once."""
        return self.work.tokens * self.work.copied * self.speed.reading_s

    def head(self, *, selection: bool) -> float:
        """Seconds of the exact head, with the reading; `selection`: it chooses a layer."""
        solving = HEAD_ROW_S * self.work.rows * self.work.copied * self.work.classes / 2
        return self.reading() + solving * (SELECTION if selection else 1.0)

    def evaluation(self, *, ood: bool = True) -> float:
        """Seconds of scoring the test rows, the TF-IDF baseline, the out-of-distribution limit, and
        writing the run.
        """
        work = self.work
        read = work.test_tokens
        if ood:
            for rows, tokens in ((work.rows, work.tokens), (work.test_rows, work.test_tokens)):
                share = min(1.0, OOD_TEXTS / max(1, rows))
                read += share * tokens
        baseline = TFIDF_ROW_S * (work.rows + work.test_rows) * max(1.0, work.classes / 2)
        return read * self.speed.reading_s + baseline + PLOTS_S

    def tuning(self, recipe: Recipe) -> float:
        """Seconds of the training of a resolved recipe, without evaluation."""
        if exact_head(recipe):
            return self.head(selection=recipe.text.layers == "auto")
        work, train, folds = self.work, recipe.train, recipe.decision.cv_folds or 0
        # Validation rows after every epoch, the held-out rows and the features at the end.
        held_out = 0.0 if folds else recipe.data.validation_share * (train.epochs or 1)
        scored = work.tokens * self.speed.reading_s * (held_out + 2.0)
        # States below the trained blocks, or the head that the training starts from, in each fold.
        before = (1 + folds) * self.head(selection=False)
        adapted = train.adapt_passes * work.tokens * 3 * self.speed.reading_s
        return self.steps(recipe) + scored + before + adapted

    def steps(self, recipe: Recipe) -> float:
        """Seconds of the steps of all epochs, in the trainings of folds too."""
        passes = (recipe.train.epochs or 1) * max(1, recipe.decision.cv_folds or 0)
        step_s = self.speed.training_s * self._share(recipe.tune) / self._share(self.tune)
        return self.work.tokens * self.work.copied * passes * step_s

    def _share(self, tune: str) -> float:
        if tune.startswith("blocks:"):
            return min(1.0, int(tune.removeprefix("blocks:")) / self.work.blocks)
        if tune == "head":
            return 0.5 / self.work.blocks
        return LORA_SHARE if tune.startswith("lora:") else 1.0

    def slower(self, factor: float) -> Forecast:
        """Return the forecast for a training that is `factor` times slower than measured."""
        speed = replace(self.speed, training_s=self.speed.training_s * factor)
        return replace(self, speed=speed)


@dataclass(frozen=True)
class Choice:
    """A training that fits into a budget."""

    tune: str
    epochs: int
    cv_folds: int
    seconds: float
    """forecast, without evaluation"""

    def apply(self, asked: Recipe) -> Recipe:
        """Return the recipe that was asked for, with what was chosen."""
        return asked.changed(
            {
                "tune": self.tune,
                "train.epochs": self.epochs,
                "decision.cv_folds": self.cv_folds,
            }
        )


FEWEST_EPOCHS = 2
"""Fewer passes are taken only where somebody asked for what is trained."""


def choose_within(
    seconds: float, asked: Recipe, resolved: Recipe, forecast: Forecast
) -> Choice | None:
    """Return the most thorough training that fits; None if none does, and the quick model stays.

    In this order: everything as planned, without the folds of cross-validation, with fewer epochs;
    then the last two blocks, then the last one. What the user asked for is not changed, except that
    epochs become fewer.

    Args:
        seconds: there are for the training.
        asked: the recipe as it was requested.
        resolved: the recipe as it was planned.
        forecast: of the resolved recipe.
    """
    for choice in _choices(asked, resolved, forecast):
        if choice.seconds <= seconds:
            return choice
    return None


def _choices(asked: Recipe, resolved: Recipe, forecast: Forecast) -> Iterator[Choice]:
    folds, most = resolved.decision.cv_folds or 0, resolved.train.epochs or 1
    if exact_head(resolved):
        yield Choice("head", most, folds, forecast.tuning(resolved))
        return
    auto = asked.tune == "auto"
    fewest = min(most, FEWEST_EPOCHS) if auto else 1

    def choice(tune: str, epochs: int, cv_folds: int) -> Choice:
        changes: dict[str, Any] = {"tune": tune, "train.epochs": epochs}
        recipe = resolved.changed({**changes, "decision.cv_folds": cv_folds})
        return Choice(tune, epochs, cv_folds, forecast.tuning(recipe))

    yield choice(resolved.tune, most, folds)
    fewer = folds if asked.decision.cv_folds is not None else 0
    for epochs in range(most, fewest - 1, -1):
        yield choice(resolved.tune, epochs, fewer)
    if not auto or resolved.tune != "full":
        return
    passes = asked.train.epochs or BLOCK_DEFAULTS.epochs
    states = forecast.work.tokens * forecast.work.copied * forecast.work.channels * 4.0
    for blocks in (2, 1):
        if blocks < forecast.work.blocks and states <= MOST_STATES:
            for epochs in range(passes, min(passes, FEWEST_EPOCHS) - 1, -1):
                yield choice(f"blocks:{blocks}", epochs, fewer)


def _bytes(texts: Sequence[str]) -> int:
    return sum(len(text.encode("utf-8", "replace")) for text in texts)
