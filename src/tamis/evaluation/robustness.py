"""Robustness: recall and false positive rate on perturbed texts.

The perturbations are defined in text/perturbations.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.evaluation.metrics import wilson
from tamis.text.perturbations import PERTURBATIONS, perturb


@dataclass(frozen=True)
class PerturbationResult:
    """Recall and false positive rate at one threshold under one perturbation; `perturbation` is
    "clean" for the original texts.

    `changed` is the fraction of texts that the perturbation changed. `recall` is a fraction of the
    `positives` rows, `false_positive_rate` of the `negatives` rows, each with Wilson's 95 %
    interval; None if there are no such rows.
    """

    perturbation: str
    description: str
    strength: float | None
    positives: int
    negatives: int
    changed: float
    recall: float | None
    recall_ci95: tuple[float, float] | None
    false_positive_rate: float | None
    false_positive_rate_ci95: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        plain = asdict(self)
        for key in ("recall_ci95", "false_positive_rate_ci95"):
            plain[key] = None if plain[key] is None else list(plain[key])
        return plain


def evaluate_robustness(
    score: Callable[[list[str]], NDArray[Any]],
    texts: Sequence[str],
    is_positive: NDArray[Any],
    *,
    threshold: float,
    seed: int,
    ham: Sequence[str] = (),
    perturbations: Sequence[str] | None = None,
) -> list[PerturbationResult]:
    """Recall and false positive rate of a scorer at a threshold, first on the original texts, then
    under each perturbation.

    Shapes (N rows): `texts` N, `is_positive` (N,) bool. `score` takes texts and returns P(positive)
    (N,); a row is positive if that is at least `threshold`. `perturbations`: names; by default all
    of `PERTURBATIONS`, without those that insert good words if there is no `ham`.

    Raises:
        DataError: there are no rows, or labels or scores have another length.
        ConfigError: a perturbation is unknown.
    """
    truth = np.asarray(is_positive, dtype=bool)
    if truth.shape != (len(texts),) or len(texts) == 0:
        raise DataError(
            "expected at least one text and one value of is_positive per text, got "
            f"{len(texts)} texts and shape {truth.shape}"
        )
    names = (
        [name for name, attack in PERTURBATIONS.items() if ham or not attack.needs_ham]
        if perturbations is None
        else list(perturbations)
    )
    results = []
    for name in ["clean", *names]:
        changed = list(texts) if name == "clean" else perturb(texts, name, seed=seed, ham=ham)
        scores = np.asarray(score(changed), dtype=np.float64)
        if scores.shape != truth.shape or not np.isfinite(scores).all():
            raise DataError(
                f"perturbation {name!r}: expected {len(texts)} finite scores, got shape "
                f"{scores.shape}; check the scorer"
            )
        flagged = scores >= threshold
        attack = PERTURBATIONS.get(name)
        recall, recall_ci95 = _share(flagged[truth])
        blocked, false_positive_rate_ci95 = _share(flagged[~truth])
        results.append(
            PerturbationResult(
                perturbation=name,
                description="original texts" if attack is None else attack.description,
                strength=None if attack is None else attack.strength,
                positives=int(truth.sum()),
                negatives=int((~truth).sum()),
                changed=sum(a != b for a, b in zip(texts, changed, strict=True)) / len(texts),
                recall=recall,
                recall_ci95=recall_ci95,
                false_positive_rate=blocked,
                false_positive_rate_ci95=false_positive_rate_ci95,
            )
        )
    return results


def robustness_rows(results: Sequence[PerturbationResult]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table as strings; shares in percent with their intervals."""
    header = [
        "perturbation",
        "description",
        "texts changed %",
        "recall % [95 %]",
        "false positive rate % [95 %]",
    ]
    rows = [
        [
            result.perturbation,
            result.description,
            f"{100 * result.changed:.0f}",
            _shown(result.recall, result.recall_ci95),
            _shown(result.false_positive_rate, result.false_positive_rate_ci95),
        ]
        for result in results
    ]
    return header, rows


def _share(flagged: NDArray[np.bool_]) -> tuple[float | None, tuple[float, float] | None]:
    if not len(flagged):
        return None, None
    return float(flagged.mean()), wilson(int(flagged.sum()), len(flagged))


def _shown(share: float | None, interval: tuple[float, float] | None) -> str:
    if share is None or interval is None:
        return "-"
    return f"{100 * share:.1f} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
