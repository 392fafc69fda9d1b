"""Labels, head and decision of a folder that transformers wrote, from its `config.json`.

As in transformers' text-classification pipeline, scores are the softmax of the logits, or sigmoids
where `problem_type` is `multi_label_classification` or there is one label only. Source:
transformers 5.24, pipelines/text_classification.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tamis.decision.verdict import DecisionRule
from tamis.errors import CheckpointError

MULTI_LABEL = "multi_label_classification"
_SINGLE_LABEL = "single_label_classification"
_REGRESSION = "regression"


@dataclass(frozen=True)
class SavedHead:
    """The head of a sequence classifier with the meaning of its outputs."""

    labels: list[str]
    """K names, in the order of the rows of `score`"""
    score: Tensor
    """(K, C)"""
    rule: DecisionRule


def saved_head(path: Path, raw: Mapping[str, Any], score: Tensor) -> SavedHead:
    """Return the head that a `config.json` describes, with the classes in sorted order.

    A head of one label becomes a head of two classes, the label and its negation: the softmax of
    the logits 0 and z is the sigmoid of z.

    Args:
        path: the `config.json`, for errors.
        raw: its content.
        score: (K, C) rows in the order of `id2label`.

    Raises:
        CheckpointError: the model is a regression, or its labels do not fit the head.
    """
    labels = labels_of(path, raw, len(score))
    kind = raw.get("problem_type")
    if kind not in (None, MULTI_LABEL, _SINGLE_LABEL, _REGRESSION):
        raise CheckpointError(
            f"{path}: problem_type: expected {_SINGLE_LABEL!r} or {MULTI_LABEL!r}, got {kind!r}"
        )
    if kind == _REGRESSION:
        raise CheckpointError(
            f"{path}: problem_type is 'regression': the model's output is a number, not a class, "
            "and tamis only classifies; use it with transformers"
        )
    if len(labels) == 1:
        if kind == _SINGLE_LABEL:
            raise CheckpointError(
                f"{path}: problem_type {_SINGLE_LABEL!r} needs at least two labels, got one; "
                "transformers refuses this file too"
            )
        label = labels[0]
        labels, score = [f"not {label}", label], torch.cat([torch.zeros_like(score), score])
        rule = DecisionRule(positive=label, threshold=0.5)
    else:
        rule = DecisionRule(multi_label=kind == MULTI_LABEL)
    order = sorted(range(len(labels)), key=lambda place: labels[place])
    return SavedHead([labels[place] for place in order], score[order].contiguous(), rule)


def labels_of(path: Path, raw: Mapping[str, Any], classes: int) -> list[str]:
    """Return the K names of `id2label`, or LABEL_0, LABEL_1, ... where there are none.

    `label2id` is not read: transformers does not use it for predictions either.

    Raises:
        CheckpointError: the names do not fit the head, or two classes have one name.
    """
    given = raw.get("id2label")
    if given is None or given == {}:
        return [f"LABEL_{number}" for number in range(classes)]
    try:
        names = {int(number): _name(label) for number, label in given.items()}
    except (AttributeError, TypeError, ValueError):
        raise CheckpointError(
            f"{path}: id2label: expected an object from class numbers to labels, such as "
            f'{{"0": "ham", "1": "spam"}}, got {given!r:.80}'
        ) from None
    if sorted(names) != list(range(classes)) or len(names) < len(given):
        raise CheckpointError(
            f"{path}: id2label names {len(names)} classes, score.weight has {classes}; they must "
            f"be numbered from 0 to {classes - 1}"
        )
    labels = [names[number] for number in range(classes)]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise CheckpointError(
            f"{path}: id2label gives {twice!r} to more than one class; give each class a name of "
            "its own"
        )
    return labels


def _name(label: Any) -> str:
    if not isinstance(label, (str, int, float)):
        raise TypeError
    return str(label)
