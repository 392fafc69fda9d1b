"""What is unlike the training texts is told behind the answers: right, on a sample, in a small
share of the time.
"""

from __future__ import annotations

import copy
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tamis.classifier.text_classifier import TextClassifier
from tamis.decision.out_of_distribution import OODLimit
from tamis.serving.drift_monitor import AT_ONCE, CHARS, Drift
from tests.serving import served

LIMIT = OODLimit(
    mean=0.0, mean_by_length=0.0, variance=1.0, variance_by_length=0.0, deviations=9.0, texts=100
)


class Reader:
    """Stands in for a classifier and its detector: texts with a z are out-of-distribution; a look
    waits for a gate.
    """

    def __init__(self) -> None:
        self.ood_detector_ = self
        self.limit: OODLimit | None = LIMIT
        self.looks: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()

    def scores(self, texts: Sequence[str]) -> list[float]:
        self.looks.append(list(texts))
        self.gate.wait(5)
        if "fault" in texts:
            raise ValueError
        return [10.0 * ("z" in text) for text in texts]

    def is_ood(self, texts: Sequence[str], scores: Sequence[float]) -> list[bool | None]:
        return [score >= 9 for score in scores]

    @property
    def classifier(self) -> TextClassifier:
        return cast("TextClassifier", self)


@pytest.fixture
def told() -> list[tuple[str, list[bool]]]:
    return []


@pytest.fixture
def drift(told: list[tuple[str, list[bool]]]):
    found = Drift(lambda model, ood: told.append((model, ood)), share=0.5)
    found.start()
    yield found
    found.close()


def until(true: Any) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_each_text_of_the_sample_is_told_of(
    drift: Drift, told: list[tuple[str, list[bool]]]
) -> None:
    reader = Reader()
    drift.offer("mine", reader.classifier, ["a", "z", "b" * (CHARS + 5)])
    until(lambda: told)
    assert told == [("mine", [False, True, False])] and reader.looks == [["a", "z", "b" * CHARS]]


def test_of_many_texts_some_are_looked_at_and_what_comes_meanwhile_is_passed_over(
    drift: Drift, told: list[tuple[str, list[bool]]]
) -> None:
    first, second = Reader(), Reader()
    first.gate.clear()
    drift.offer("first", first.classifier, [str(n) for n in range(100)])
    until(lambda: first.looks)
    drift.offer("first", first.classifier, ["passed over"])
    drift.offer("second", second.classifier, ["z"])
    drift.offer("first", first.classifier, [])
    first.gate.set()
    until(lambda: len(told) == 2)
    assert (
        len(set(first.looks[0])) == AT_ONCE
        and len(first.looks) == 1
        and told[1] == ("second", [True])
    )


def test_looking_keeps_to_its_share_of_the_time(told: list[tuple[str, list[bool]]]) -> None:
    drift, reader = Drift(lambda model, ood: told.append((model, ood)), share=0.1), Reader()
    drift.start()
    reader.gate.clear()
    drift.offer("mine", reader.classifier, ["a"])
    until(lambda: reader.looks)
    time.sleep(0.05)
    reader.gate.set()
    until(lambda: told)
    looked = time.monotonic()
    while len(told) < 2:
        drift.offer("mine", reader.classifier, ["b"])
        assert time.monotonic() < looked + 5
    assert time.monotonic() - looked > 0.4  # nine times the 0.05 s, less the clock's grain
    drift.close()


def test_without_a_limit_nothing_is_looked_at_and_a_failure_stops_nothing(
    drift: Drift, told: list[tuple[str, list[bool]]]
) -> None:
    unknown, reader = Reader(), Reader()
    unknown.limit = None
    drift.offer("unknown", unknown.classifier, ["a"])
    drift.offer("mine", reader.classifier, ["fault"])
    until(lambda: told)
    drift.offer("other", reader.classifier, ["a"])
    until(lambda: len(told) == 2)
    assert told == [("mine", []), ("other", [False])] and not unknown.looks


def test_the_metrics_tell_the_share_of_what_the_model_has_not_learnt(tmp_path: Path) -> None:
    models = served.models(tmp_path / "s.sqlite")
    (model,) = models
    reading: Any = copy.copy(model.loaded.classifier)
    texts = sorted(
        ["win a prize", "\u4f60\u597d\u4e16\u754c"], key=reading.ood_detector_.bits_per_byte
    )
    low, high = reading.ood_detector_.bits_per_byte(texts)
    assert 0 < low < high
    limit = OODLimit(0.0, 0.0, 1.0, 0.0, deviations=(low + high) / 2, texts=100)
    reading.ood_detector_ = replace(reading.ood_detector_, limit=limit)
    object.__setattr__(model.loaded, "classifier", reading)
    with served.client(models) as client:

        def figures(name: str) -> dict[str, float]:
            found = re.findall(
                rf'^{name}\{{kind="(\w+)",model="small"\}} (\S+)',
                client.get("/metrics").text,
                re.MULTILINE,
            )
            return {kind: float(value) for kind, value in found}

        for text, kind in zip(texts, ("in_distribution", "ood"), strict=True):
            end = time.monotonic() + 10
            while not figures("tamis_ood_total").get(kind):
                client.post(
                    "/v1/predict", json={"texts": [text]}
                )  # again, as what comes while the thread rests is passed over
                assert time.monotonic() < end
        time.sleep(0.1)
        client.app.state.service.drift.close()  # type: ignore[attr-defined]
        counts, shares = figures("tamis_ood_total"), figures("tamis_ood_share")
    assert min(counts.values()) > 0 and shares == {
        name: count / sum(counts.values()) for name, count in counts.items()
    }
