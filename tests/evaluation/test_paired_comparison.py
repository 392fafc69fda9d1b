"""Average precision by hand and as scikit-learn has it, and a difference whose interval narrows
with rows and holds zero by chance.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tamis.evaluation.paired_comparison import average_precision, paired_difference

LABELS = ["ham", "spam", "ham", "spam"]
GOOD = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])


def test_average_precision_by_hand() -> None:
    assert average_precision(LABELS, GOOD, ["ham", "spam"], "spam") == 1.0
    # Ranked the wrong way round, the two spam come third and fourth: (1/3 + 2/4) / 2.
    assert average_precision(LABELS, GOOD[:, ::-1], ["ham", "spam"], "spam") == pytest.approx(
        5 / 12
    )


def test_many_classes_are_averaged_as_scikit_learn_has_each() -> None:
    random = np.random.default_rng(4)
    labels = random.choice(["a", "b", "c"], 50).tolist()
    probabilities = random.dirichlet(np.ones(3), 50)
    each = [
        average_precision_score(np.array(labels) == name, probabilities[:, k])
        for k, name in enumerate("abc")
    ]
    assert average_precision(labels, probabilities, ["a", "b", "c"], None) == pytest.approx(
        np.mean(each)
    )


def noisy(rows: int, skill: float, seed: int) -> tuple[list[str], np.ndarray]:
    random = np.random.default_rng(seed)
    labels = ["spam" if row % 5 == 0 else "ham" for row in range(rows)]
    score = 1 / (
        1
        + np.exp(
            -(skill * np.array([label == "spam" for label in labels]) + random.normal(size=rows))
        )
    )
    return labels, np.stack([1 - score, score], 1)


def test_a_real_gain_is_beyond_chance_and_the_same_model_has_none() -> None:
    labels, before = noisy(400, 0.5, 1)
    _, after = noisy(400, 3.0, 2)
    found = paired_difference(labels, before, after, ["ham", "spam"], "spam")
    assert (
        found.difference == pytest.approx(found.after - found.before)
        and 0 < found.ci95[0] < found.difference < found.ci95[1]
    )
    few = paired_difference(*noisy(40, 0.5, 1), noisy(40, 3.0, 2)[1], ["ham", "spam"], "spam")
    assert few.ci95[1] - few.ci95[0] > found.ci95[1] - found.ci95[0]
    level = paired_difference(labels, after, after, ["ham", "spam"], "spam")
    assert level.difference == 0 and level.ci95 == (0.0, 0.0)
    turned = paired_difference(labels, after, before, ["ham", "spam"], "spam")
    assert turned.ci95 == pytest.approx((-found.ci95[1], -found.ci95[0]))
