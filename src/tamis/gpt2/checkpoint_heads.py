"""Which head a checkpoint of transformers has: the head of a sequence classifier, or another one,
which is named in errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tamis.errors import CheckpointError

SCORE = "score.weight"
OTHER_HEADS = re.compile(r"(lm_head|score|classifier|qa_outputs|multiple_choice_head)\.")
"""Names of heads that a trunk does not have."""
_LANGUAGE_MODEL = "a language model, not a classifier"
_BY_TENSOR = {
    "classifier": "a token classifier (GPT2ForTokenClassification), which labels single tokens",
    "qa_outputs": "a model for question answering (GPT2ForQuestionAnswering), not a classifier",
    "multiple_choice_head": (
        "a language model with a head for multiple choice (GPT2DoubleHeadsModel), not a classifier"
    ),
}
_BY_CLASS = {
    "GPT2ForTokenClassification": _BY_TENSOR["classifier"],
    "GPT2ForQuestionAnswering": _BY_TENSOR["qa_outputs"],
    "GPT2DoubleHeadsModel": _BY_TENSOR["multiple_choice_head"],
    "GPT2ForSequenceClassification": "a sequence classifier whose head is missing",
}


def score_of(tensors: Mapping[str, Tensor], channels: int, where: str) -> Tensor | None:
    """Return the (K, C) head of a sequence classifier in fp32, or None if there is none.

    Raises:
        CheckpointError: the head has a bias, more than one layer, or another shape.
    """
    further = sorted(name for name in tensors if name.startswith("score.") and name != SCORE)
    if further:
        raise CheckpointError(
            f"{where}: the head of the classifier is not that of GPT2ForSequenceClassification, "
            f"one matrix without a bias: {further[0]} would be ignored; save the model with "
            "transformers' own class"
        )
    score = tensors.get(SCORE)
    if score is None:
        return None
    if score.ndim != 2 or score.shape[1] != channels or not len(score):
        raise CheckpointError(
            f"{where}: score.weight: expected shape (classes, {channels}), got {tuple(score.shape)}"
        )
    return score.float()


def describe_head(raw: Mapping[str, Any], names: frozenset[str]) -> str:
    """Return what a checkpoint without `score.weight` is, in words.

    Args:
        raw: its `config.json`.
        names: names of its tensors that belong to heads.
    """
    heads = {name.split(".")[0] for name in names}
    found = next((text for head, text in _BY_TENSOR.items() if head in heads), None)
    if found is not None:
        return found
    classes = raw.get("architectures")
    for name in classes if isinstance(classes, list) else []:
        if name in _BY_CLASS:
            return _BY_CLASS[name]
    return _LANGUAGE_MODEL
