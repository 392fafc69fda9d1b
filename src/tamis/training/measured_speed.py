"""How fast a backbone reads and is trained on this machine: a few rows of the table, for about a
second each.

The sample is a training of its own, whose weights are thrown away. Nothing of it reaches the
training that follows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median

import numpy as np
from numpy.typing import NDArray

from tamis.compute.isolation import isolated
from tamis.config import Recipe
from tamis.gpt2.features import last_tokens
from tamis.gpt2.freezing import with_pooling
from tamis.gpt2.inference.dtype import in_dtype
from tamis.gpt2.model import GPT2Classifier
from tamis.training.callbacks import Callbacks, ignore
from tamis.training.depth import chooses_depth, expected_depth
from tamis.training.finetune import TrainingJob, prepared_training
from tamis.training.prepare import LabelledTexts, TrainingPlan, exact_head, prepare
from tamis.training.time_estimate import backbone_shape

SAMPLE_ROWS, MOST_CHARACTERS = 48, 2000
"""Rows of the sample, and characters of each."""
READ_ROWS = 4
"""Rows that are read at a time, if the whole sample takes too long."""
LIMIT_S, HEAD_LIMIT_S = 1.0, 0.2
"""Seconds for reading, and again for training; a step that has begun is finished. The exact head of
few rows takes seconds itself, and only reading is measured for it."""


@dataclass(frozen=True)
class Speed:
    """The speed of a backbone on this machine."""

    tokens_per_byte: float
    """of UTF-8, the leading `<|endoftext|>` included"""
    reading_s: float
    """seconds a token without gradients"""
    training_s: float
    """seconds a token of a step of the recipe's training; 0 for the exact head"""


def measured_speed(recipe: Recipe, texts: Sequence[str], labels: Sequence[str]) -> Speed:
    """Measure the speed of a training on a sample of its rows.

    Args:
        recipe: resolved, with device and threads.
        texts: R training texts.
        labels: (R,) their labels.

    Raises:
        ConfigError, CheckpointError, DownloadError: the backbone cannot be loaded.
    """
    rows = sample_rows(labels, recipe.seed)
    classes = tuple(sorted(set(labels)))
    some = [texts[row][:MOST_CHARACTERS] or " " for row in rows.tolist()]
    targets = np.array([classes.index(labels[row]) for row in rows.tolist()], dtype=np.int64)
    # No copies, no folds, nothing held out: what is measured is seconds a token.
    sampled = recipe.changed(
        {
            "decision.cv_folds": 0,
            "data.validation_share": 0,
            "train.adapt_passes": 0,
            "train.augment_positives": 0,
            "train.augment_negatives": 0,
            "train.augment_forms": 0,
        }
    )
    if chooses_depth(recipe):
        blocks = backbone_shape(recipe.backbone)
        assert blocks is not None  # an embedded backbone has files
        sampled = sampled.changed({"text.layers": expected_depth(recipe, blocks[0])})
    plan = prepare(sampled, LabelledTexts(some, targets, classes), Callbacks(on_notice=ignore))
    compute = plan.recipe.compute
    with isolated(compute.device, compute.threads, seed=recipe.seed):
        model = GPT2Classifier(with_pooling(plan.recipe, plan.backbone.model), len(classes))
        model = model.to(compute.device)
        limit = HEAD_LIMIT_S if exact_head(recipe) else LIMIT_S
        reading = seconds_a_token(_read(plan, model, some), limit)
        training = 0.0 if exact_head(recipe) else seconds_a_token(_train(plan, model), LIMIT_S)
    letters = sum(len(text.encode("utf-8", "replace")) for text in some)
    return Speed(sum(plan.data.texts.tokens.tolist()) / letters, reading, training)


def sample_rows(labels: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Return the numbers of the rows to measure with: some at random, at least one of each
    class.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    first: dict[str, int] = {}
    for row in order.tolist():
        first.setdefault(labels[row], row)
    taken = set(first.values())
    rest = [row for row in order.tolist() if row not in taken]
    return np.array([*first.values(), *rest][: max(SAMPLE_ROWS, len(first))], dtype=np.int64)


def _read(plan: TrainingPlan, model: GPT2Classifier, texts: Sequence[str]) -> Iterator[int]:
    """Read rows, all at a time if that is quick; yields their tokens."""
    trunk = in_dtype(model.transformer, plan.recipe.compute.dtype)

    def read(some: Sequence[str]) -> int:
        encoded = plan.encoder.encode(list(some))
        last_tokens(trunk, encoded)
        return int(sum(encoded.tokens.tolist()))

    begun = time.perf_counter()
    yield read(texts[:READ_ROWS])
    seconds = (time.perf_counter() - begun) * len(texts) / READ_ROWS
    size = len(texts) if seconds < LIMIT_S else READ_ROWS
    for start in cycle(range(0, len(texts), size)):
        yield read(texts[start : start + size])


def _train(plan: TrainingPlan, model: GPT2Classifier) -> Iterator[int]:
    """Take steps of the training; yields their tokens."""
    job = TrainingJob(plan.recipe, plan.data, Callbacks(on_notice=ignore), plan.data.validation)
    training = prepared_training(job, model)
    model.transformer.set_dropout(plan.recipe.train.dropout or 0.0)
    for rows in cycle(list(training.steps_of(0))):
        training.train_step(rows, training.states)
        yield int(training.states.messages.tokens[rows].sum())


def seconds_a_token(work: Iterator[int], limit_s: float) -> float:
    """Return the median over pieces of work, without the first: it pays for buffers and kernels.

    Args:
        work: does a piece at each step, and yields its tokens.
        limit_s: seconds after which no further piece begins, but two are done at least.
    """
    found: list[float] = []
    begun = at = time.perf_counter()
    for tokens in work:
        now = time.perf_counter()
        found.append((now - at) / max(1, tokens))
        at = now
        if now - begun > limit_s and len(found) > 1:
            break
    return median(found[1:])
