"""From probabilities to labels and verdicts: threshold, unsure band, and confidence floor for many
classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.decision.calibration import softmax
from tamis.errors import ConfigError

if TYPE_CHECKING:
    from tamis.text.encoder import TextEncoder

UNSURE = "unsure"
NO_LABEL = "none"
"""Verdict of a multi-label model on a text to which no label applies."""
APPLIES = 0.5
"""Probability from which a label of a multi-label model applies."""


@dataclass(frozen=True)
class DecisionRule:
    """The decision rule of a classifier; it is stored with the model."""

    positive: str | None = None
    """The label that the threshold is about (two classes)."""
    threshold: float | None = None
    """P(positive) from which a text is `positive`; None: the most probable label."""
    low: float | None = None
    high: float | None = None
    """Ends of the unsure band on P(positive), both inside; None: no band."""
    confidence_floor: float | None = None
    """More than two classes: a most probable label below this is unsure; None: no floor."""
    multi_label: bool = False
    """Every label is decided by itself: it applies where its probability is at least 1/2. Models of
    transformers with `problem_type = multi_label_classification`."""

    def fault(self, labels: Sequence[str]) -> str | None:
        """Return why the rule cannot be used with these labels, in a part of a sentence, or None;
        for rules that come from a file.
        """
        for name in ("threshold", "low", "high", "confidence_floor"):
            value = getattr(self, name)
            # A threshold just above 1 flags no text, and ends of a band lie just beside one.
            if value is not None and not (_is_number(value) and -0.01 <= value <= 1.01):
                return f"{name} of the rule must be a probability or null, got {value!r:.40}"
        several: Any = self.multi_label
        if not isinstance(several, bool):
            return f"multi_label of the rule must be true or false, got {several!r:.40}"
        if self.positive is not None and self.positive not in labels:
            return f"the positive label {self.positive!r} is not one of {', '.join(labels)}"
        return None

    def probabilities(self, logits: NDArray[Any]) -> NDArray[np.float64]:
        """Return (N, K) probabilities for (N, K) logits: their softmax, or the sigmoid of each."""
        if not self.multi_label:
            return softmax(logits)
        small = np.exp(-np.abs(np.asarray(logits, dtype=np.float64)))  # without overflow
        return np.asarray(np.where(np.asarray(logits) >= 0, 1.0, small) / (1.0 + small))

    def require_one_label(self, what: str) -> None:
        """Refuse a model that gives a text several labels.

        Args:
            what: what needs exactly one label a text.

        Raises:
            ConfigError: the model is a multi-label one.
        """
        if self.multi_label:
            raise ConfigError(
                f"{what} needs a model that gives every text exactly one label, but this model is "
                "a multi-label one (problem_type multi_label_classification): use its "
                "probabilities (predict --json, predict_proba)"
            )

    def labels(self, probabilities: NDArray[np.float64], classes: list[str]) -> NDArray[np.int64]:
        """Return the (N,) class numbers for (N, K) probabilities; never unsure."""
        if self.positive is None or self.threshold is None or len(classes) != 2:
            return np.asarray(probabilities.argmax(1), dtype=np.int64)
        place = classes.index(self.positive)
        return np.where(probabilities[:, place] >= self.threshold, place, 1 - place).astype(
            np.int64
        )

    def unsure(self, probabilities: NDArray[np.float64], classes: list[str]) -> NDArray[np.bool_]:
        """Return (N,) whether the verdict is `unsure`, for (N, K) probabilities."""
        if (
            self.positive is not None
            and self.low is not None
            and self.high is not None
            and len(classes) == 2
        ):
            score = probabilities[:, classes.index(self.positive)]
            return np.asarray((score >= self.low) & (score <= self.high))
        if self.confidence_floor is not None:
            return np.asarray(probabilities.max(1) < self.confidence_floor)
        return np.zeros(len(probabilities), dtype=bool)

    def verdicts(
        self, texts: Sequence[str], probabilities: NDArray[np.float64], classes: list[str]
    ) -> list[Verdict]:
        """Return N verdicts for N texts and (N, K) probabilities."""
        labels, unsure = self.labels(probabilities, classes), self.unsure(probabilities, classes)
        if self.multi_label:
            return [
                _several(text, classes, k, row)
                for text, k, row in zip(texts, labels, probabilities, strict=True)
            ]
        return [
            Verdict(
                text,
                classes[k],
                UNSURE if doubt else classes[k],
                dict(zip(classes, row.tolist(), strict=True)),
            )
            for text, k, doubt, row in zip(texts, labels, unsure, probabilities, strict=True)
        ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _several(text: str, classes: list[str], best: int, row: NDArray[np.float64]) -> Verdict:
    """The verdict of a multi-label model; `label` is the most probable one."""
    applying = tuple(label for label, p in zip(classes, row.tolist(), strict=True) if p >= APPLIES)
    shown = dict(zip(classes, row.tolist(), strict=True))
    return Verdict(text, classes[best], ", ".join(applying) or NO_LABEL, shown, labels=applying)


@dataclass(frozen=True)
class Window:
    """The window that determined the verdict on a long text."""

    number: int
    """From 0, of `of` windows."""
    of: int
    first_token: int
    stop_token: int
    """Tokens of the text, counted as the tokenizer gives them; `stop_token` is behind the last."""
    start: int
    end: int
    """Its characters in the text."""


@dataclass(frozen=True)
class Verdict:
    """The result of a classifier for one text."""

    text: str
    label: str
    """By the threshold; never `unsure`."""
    verdict: str
    """The label, or `unsure`."""
    probabilities: dict[str, float]
    window: Window | None = None
    """What decided, where the text is longer than the model's context; None for a text that is read
    whole."""
    ood: bool | None = None
    """Whether the text is out-of-distribution (`decision.out_of_distribution`); None where that was
    not asked, or is not known."""
    ood_score: float | None = None
    """By how many standard deviations the text is further from the training texts than texts like
    them are in the mean; None where that was not asked, or is not known."""
    labels: tuple[str, ...] | None = None
    """All labels that apply, of a multi-label model; None for a model with one label a text."""

    def _repr_html_(self) -> str:
        """Return the verdict for a notebook."""
        return Verdicts([self])._repr_html_()

    def counted(self) -> list[str]:
        """Return what a counter of verdicts counts: the verdict, or each label that applies."""
        return [self.verdict] if self.labels is None else list(self.labels) or [NO_LABEL]

    def to_dict(self, *, windows: bool = False, ood: bool = False) -> dict[str, Any]:
        """Return the keys and values of one line of `predict --json`; with `windows` also the
        window, with `ood` also `ood` and `ood_score`.
        """
        plain: dict[str, Any] = {
            "text": self.text,
            "label": self.label,
            "verdict": self.verdict,
            "probabilities": self.probabilities,
        }
        if self.labels is not None:
            plain["labels"] = list(self.labels)
        if ood:
            plain |= {"ood": self.ood, "ood_score": self.ood_score}
        return (
            plain | {"window": None if self.window is None else asdict(self.window)}
            if windows
            else plain
        )


class Verdicts(list[Verdict]):
    """A list of verdicts that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        """Return the verdicts for a notebook."""
        from tamis.decision.notebook_html import verdicts_html

        return verdicts_html([verdict.to_dict(ood=True) for verdict in self])


def deciding_window(encoder: TextEncoder, text: str, number: int) -> Window | None:
    """Return the position of window `number` of a text; None for a text of one window."""
    offsets: list[tuple[int, int]] = encoder.tokenizer.offsets(text)
    spans = encoder.window_spans(len(offsets))
    if len(spans) == 1:
        return None
    first, stop = spans[number]
    return Window(number, len(spans), first, stop, offsets[first][0], offsets[stop - 1][1])


def with_windows(
    encoder: TextEncoder,
    verdicts: Sequence[Verdict],
    deciding: NDArray[np.int64],
    long: Sequence[bool],
) -> list[Verdict]:
    """Return N verdicts, those on long texts with their deciding window.

    Args:
        encoder: how the model reads texts.
        verdicts: N verdicts.
        deciding: (N,) index of the deciding window within each text.
        long: whether each of N texts has more than one window.
    """
    return [
        replace(verdict, window=deciding_window(encoder, verdict.text, number)) if many else verdict
        for verdict, number, many in zip(verdicts, deciding.tolist(), long, strict=True)
    ]
