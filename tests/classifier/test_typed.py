"""Code of users: mypy checks it with every other file (`make lint`), and nothing needs a cast or an
ignored error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, assert_type, get_type_hints

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

import tamis
from tamis import NotFittedError, TextClassifier

TEXTS = ["win", "hello", "prize", "lunch"]
LABELS = [1, 0, 1, 0]


class Mine(TextClassifier):
    """A class of a user."""


def texts() -> Iterator[str]:
    yield from TEXTS


def labels() -> Iterator[int]:
    yield from LABELS


def fitting(classifier: TextClassifier) -> None:
    assert_type(classifier.fit(texts(), labels()), TextClassifier)
    classifier.fit(pd.Series(TEXTS), pd.Series(LABELS), sample_weight=np.ones(4))
    classifier.fit(pd.DataFrame({"text": TEXTS}), pd.DataFrame({"label": LABELS}))
    classifier.fit(pl.DataFrame({"text": TEXTS}), pl.Series([True, False, True, False]))
    column = np.array(TEXTS).reshape(-1, 1)
    classifier.fit(column, np.array(["a", "b", "a", "b"]), groups=[1, 2, 3, 4])
    assert_type(Mine.load(Path("model")), Mine)
    assert_type(Mine.load("model").set_params(max_fpr=0.1).partial_fit(TEXTS, labels()), Mine)


def answering(classifier: TextClassifier) -> None:
    assert_type(classifier.predict(TEXTS), NDArray[Any])
    assert_type(classifier.predict_proba(tuple(TEXTS)), NDArray[np.float64])
    assert_type(classifier.predict_log_proba(np.array(TEXTS)), NDArray[np.float64])
    assert_type(classifier.decision_function(texts()), NDArray[np.float64])
    assert_type(classifier.embed(pl.Series(TEXTS)), NDArray[np.float32])
    assert_type(classifier.score(pd.DataFrame({"text": TEXTS}), LABELS), float)
    assert_type(classifier.verdicts(TEXTS)[0].label, str)
    try:
        classifier.save(Path("model"))
    except NotFittedError as error:
        assert_type(error.args, tuple[Any, ...])


def test_parameters_take_what_users_have() -> None:
    classifier = TextClassifier(
        Path("backbone"),
        class_weight={0: 1, np.int64(1): 5.0},
        positive=True,
        max_fpr=0.01,
        random_state=np.random.RandomState(3),
        settings={"train.epochs": 3},
    )
    recipe = classifier.recipe(np.array([0, 1]))
    assert (recipe.backbone, recipe.data.positive) == ("backbone", "1")
    assert recipe.train.class_weight == {"0": 1.0, "1": 5.0}


def test_what_type_checkers_read_is_there_at_run_time() -> None:
    assert get_type_hints(TextClassifier.load)["return"] is Self
    for name in ("predict", "predict_proba", "embed", "decision_function", "score", "partial_fit"):
        assert get_type_hints(getattr(TextClassifier, name))["return"] is not Any
    assert (Path(tamis.__file__).parent / "py.typed").is_file()
