"""What a verdict needs beside the logits of an exported model, as JSON. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tamis.classifier.model_folder import LABEL_TYPES
from tamis.decision.verdict import DecisionRule
from tamis.errors import CheckpointError

FORMAT = 1
ENGINE = "onnx"
FP32, INT8 = "fp32", "int8"


@dataclass(frozen=True)
class WindowCut:
    """How a text with more than `context` ids is cut into windows, and how their logits become one
    score.

    A window has the first `begin` ids of the text and `size - begin` further ones. n windows start
    at the whole numbers below evenly spaced ones from `begin` to the last place where a window
    fits; n is the smallest number at which neighbours share at least `overlap` of those ids. With
    `positive`, the window with the largest logit[positive] - logit[other] counts, and `penalty` *
    log(n) is subtracted from its logit[positive]. Otherwise the mean of the logits counts.
    """

    context: int
    size: int
    begin: int
    overlap: float
    positive: int | None
    penalty: float


@dataclass(frozen=True)
class ModelDescription:
    """The description of an exported model."""

    labels: tuple[str, ...]
    """K labels, in the order of the logits"""
    label_type: str
    """type of the labels given to fit: `str`, `int`, `float` or `bool`"""
    rule: DecisionRule
    windows: WindowCut
    empty_id: int
    """the only id of a text without tokens"""
    dropped_id: int | None
    """id that is removed from the end of a text, though never the only one; None: none"""
    network: dict[str, Any]
    """sizes of the network, by the names of `config.json`; `opset`, `pooling`"""
    precision: dict[str, Any]
    """`type` (`fp32` or `int8`); for int8 also `int8_matrices`, `fp32_matrices`, and `agreement`
    with fp32 on the texts that chose them"""
    calibration: dict[str, Any] = field(default_factory=dict)
    """`temperature`, already part of the logits"""
    source: dict[str, Any] = field(default_factory=dict)
    """for people: the backbone, how it was trained, fingerprints of data and weights, versions"""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"format": FORMAT, "engine": ENGINE, **asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, values: Any, where: str) -> ModelDescription:
        """Return the description from its JSON values.

        Args:
            values: parsed JSON.
            where: file and entry, for errors.

        Raises:
            CheckpointError: a newer version wrote it, or a value is missing or malformed.
        """
        if not isinstance(values, Mapping) or values.get("engine") != ENGINE:
            raise CheckpointError(
                f"{where}: expected the description of an exported model, got {values!r:.60}; "
                "export the model again"
            )
        if values.get("format") != FORMAT:
            raise CheckpointError(
                f"{where}: expected format {FORMAT}, got {values.get('format')!r}; a newer tamis "
                "wrote it, upgrade"
            )
        try:
            found = cls(
                **{
                    **{one.name: values[one.name] for one in fields(cls)},
                    "labels": tuple(map(str, values["labels"])),
                    "rule": DecisionRule(**values["rule"]),
                    "windows": WindowCut(**values["windows"]),
                }
            )
            found.check(where)
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                f"{where} cannot be used ({type(error).__name__}: {error}); export the model again"
            ) from None
        return found

    def check(self, where: str) -> None:
        """Check that the parts fit each other.

        Raises:
            CheckpointError: they do not.
        """
        labels, rule = self.labels, self.rule
        wrong = None
        if self.label_type not in LABEL_TYPES:
            wrong = f"label_type must be one of {', '.join(LABEL_TYPES)}, got {self.label_type!r}"
        elif len(labels) < 2 or len(set(labels)) < len(labels):
            wrong = f"expected two or more different labels, got {', '.join(labels)}"
        elif rule.positive is not None and rule.positive not in labels:
            wrong = f"the positive label {rule.positive!r} is not one of {', '.join(labels)}"
        if wrong is not None:
            raise CheckpointError(f"{where}: {wrong}; export the model again")


def converted(description: ModelDescription) -> list[Any]:
    """Return the labels in the type that `fit` was given."""
    convert = LABEL_TYPES[description.label_type]
    return [convert(label) for label in description.labels]
