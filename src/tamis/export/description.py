"""What a verdict needs beside the logits of an exported model, as JSON. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
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
                    "labels": tuple(map(str, _list_of_labels(values["labels"]))),
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
        labels = self.labels
        if self.label_type not in LABEL_TYPES:
            kinds = ", ".join(LABEL_TYPES)
            wrong: str | None = f"label_type must be one of {kinds}, got {self.label_type!r}"
        elif len(labels) < 2 or len(set(labels)) < len(labels):
            wrong = f"expected two or more different labels, got {', '.join(labels)}"
        elif not self._convertible():
            wrong = f"the labels {', '.join(labels)} are not all of the type {self.label_type}"
        else:
            wrong = self.rule.fault(labels) or self._wrong_value() or self._wrong_window()
        if wrong is not None:
            raise CheckpointError(f"{where}: {wrong}; export the model again")

    def _convertible(self) -> bool:
        if self.label_type == "bool":
            return set(self.labels) <= {"True", "False"}
        try:
            converted(self)
        except ValueError:
            return False
        return True

    def _wrong_value(self) -> str | None:
        for name in ("network", "precision", "calibration", "source"):
            if not isinstance(getattr(self, name), Mapping):
                return f"{name} must be an object, got {getattr(self, name)!r:.40}"
        if not _is_id(self.empty_id):
            return f"empty_id must be a token id, got {self.empty_id!r:.40}"
        if self.dropped_id is not None and not _is_id(self.dropped_id):
            return f"dropped_id must be a token id or null, got {self.dropped_id!r:.40}"
        for name in ("vocab_size", "n_positions"):
            if name in self.network and not _is_id(self.network[name]):
                return f"{name} of the network must be a number, got {self.network[name]!r:.40}"
        temperature = self.calibration.get("temperature", 1.0)
        if not _is_number(temperature):
            return f"temperature must be a number, got {temperature!r:.40}"
        return None

    def _wrong_window(self) -> str | None:
        cut = self.windows
        longest = self.network.get("n_positions", cut.context)
        sizes = (cut.begin, cut.size, cut.context)
        if not all(map(_is_id, sizes)) or not cut.begin < cut.size <= cut.context <= longest:
            told = ", ".join(f"{size!r:.20}" for size in sizes)
            return (
                "windows: expected begin below size, and size up to context, which ends at "
                f"{longest}; got {told}"
            )
        if not _is_number(cut.overlap) or not 0 <= cut.overlap < 1:
            return f"windows: overlap must be a number in [0, 1), got {cut.overlap!r:.40}"
        if not _is_number(cut.penalty):
            return f"windows: penalty must be a number, got {cut.penalty!r:.40}"
        place = cut.positive
        if place is not None and not (_is_id(place) and place < 2):
            return f"windows: positive must be 0, 1 or null, got {place!r:.40}"
        return None


def _list_of_labels(values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise TypeError(f"labels must be a list, got {values!r:.40}")
    return values


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def converted(description: ModelDescription) -> list[Any]:
    """Return the labels in the type that `fit` was given."""
    convert = LABEL_TYPES[description.label_type]
    return [convert(label) for label in description.labels]
