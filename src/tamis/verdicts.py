"""From probabilities to labels and verdicts: the stored threshold, the unsure band, the floor for many classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNSURE = "unsure"


@dataclass(frozen=True)
class Rule:
    """How a classifier decides; it is stored with the model."""

    positive: str | None = None
    """The label that the threshold is about (two classes)."""
    threshold: float | None = None
    """P(positive) from which a text is `positive`; None: the most probable label."""
    low: float | None = None
    high: float | None = None
    """Ends of the unsure band on P(positive), both inside; None: no band."""
    floor: float | None = None
    """More than two classes: a most probable label below this is unsure; None: no floor."""

    def labels(self, probabilities: NDArray[np.float64], classes: list[str]) -> NDArray[np.int64]:
        """(N, K) -> (N,) class numbers; never unsure."""
        if self.positive is None or self.threshold is None or len(classes) != 2:
            return np.asarray(probabilities.argmax(1), dtype=np.int64)
        place = classes.index(self.positive)
        return np.where(probabilities[:, place] >= self.threshold, place, 1 - place).astype(np.int64)

    def unsure(self, probabilities: NDArray[np.float64], classes: list[str]) -> NDArray[np.bool_]:
        """(N, K) -> (N,) whether the verdict is `unsure`."""
        if self.positive is not None and self.low is not None and self.high is not None and len(classes) == 2:
            score = probabilities[:, classes.index(self.positive)]
            return np.asarray((score >= self.low) & (score <= self.high))
        if self.floor is not None:
            return np.asarray(probabilities.max(1) < self.floor)
        return np.zeros(len(probabilities), dtype=bool)

    def verdicts(self, texts: Sequence[str], probabilities: NDArray[np.float64], classes: list[str]) -> list[Verdict]:
        """N texts and (N, K) probabilities -> N verdicts, in order."""
        labels, unsure = self.labels(probabilities, classes), self.unsure(probabilities, classes)
        return [
            Verdict(text, classes[k], UNSURE if doubt else classes[k], dict(zip(classes, row.tolist(), strict=True)))
            for text, k, doubt, row in zip(texts, labels, unsure, probabilities, strict=True)
        ]


@dataclass(frozen=True)
class Verdict:
    """What a classifier says of one text."""

    text: str
    label: str
    """By the threshold; never `unsure`."""
    verdict: str
    """The label, or `unsure`."""
    probabilities: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Keys and values of one line of `predict --json`."""
        return {"text": self.text, "label": self.label, "verdict": self.verdict, "probabilities": self.probabilities}
