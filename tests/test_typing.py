"""The types that users see: mypy in strict mode over scripts as users write them."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GOOD = """
from pathlib import Path
from typing import assert_type, Any

import numpy as np
from numpy.typing import NDArray

import tamis
from tamis import TextClassifier
from tamis.training.callbacks import Callbacks


class Mine(TextClassifier):
    pass


classifier = TextClassifier(backbone=Path("model"), class_weight={0: 1.0, 1: 5.0}, positive=1)
classifier.fit(["a", "b"], [0, 1], callbacks=Callbacks())
assert_type(Mine.load(Path("run")), Mine)
assert_type(TextClassifier.load("run"), TextClassifier)
assert_type(Mine().fit(["a"], ["b"]), Mine)
labels = classifier.predict(["a"])
assert_type(labels, NDArray[Any])
probabilities: NDArray[np.float64] = classifier.predict_proba(("a", "b"))
report = classifier.evaluate(["a"], [1])
f1: float = report["f1"]
low, high = report.intervals["f1"]
width: float = high - low
page: str = report.to_html()
report.save(Path("report.html"))
explanation = classifier.explain("a", label="1")
words: list[float] = [word.attribution for word in explanation.words]
for suggestion in classifier.suggest(["a", "b"], 1, strategy="margin"):
    text: str = suggestion.text
classifier.set_threshold(0.5).set_threshold(max_fpr=0.01).set_threshold(rows=(["a"], [1]))
for verdict in classifier.verdicts(["a"], ood=True):
    odd: bool | None = verdict.ood
classifier.save(Path("model"))
result = tamis.train(
    {"text": ["a"], "label": [1]},
    Path("run"),
    backbone=Path("nano"),
    class_weight={0: 1.0},
    settings={"train.epochs": 3},
    log=["tensorboard"],
)
assert_type(result.classifier, TextClassifier)
table = tamis.read_table(Path("a.csv"))
assert_type(table.texts, tuple[str, ...])
"""
BAD = """
from tamis import TextClassifier, train

TextClassifier(backbone=3)
TextClassifier().predict(5)
f1: int = TextClassifier.load("run").explain("a").log_odds
train("a.csv", tune=3)
"""


def checked(text: str, folder: Path) -> list[str]:
    """The errors of mypy in strict mode; the library comes from the cache of `make lint`."""
    from mypy import api

    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    options = ["--strict", "--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary"]
    found, problems, _ = api.run([*options, "--cache-dir", str(ROOT / ".mypy_cache"), str(script)])
    assert problems == ""
    return [line for line in found.splitlines() if ": error:" in line]


@pytest.mark.slow
def test_a_script_with_paths_and_numbers_as_labels_passes_in_strict_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert checked(GOOD, tmp_path) == []


@pytest.mark.slow
def test_wrong_types_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = [error.split(":")[1] for error in checked(BAD, tmp_path)]
    assert lines == ["4", "5", "6", "7"]


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "src" / "tamis" / "py.typed").is_file()
