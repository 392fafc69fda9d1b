"""Attacks on a classifier's texts, and what it still catches under each: the suite, one seeded draw a text, and the figures.

Owns the attacks and their table; how texts are hardened is text/normalizer.py's and training's business, and the tables of look-alikes
here are a sender's own, not the remedy's. Synonyms and paraphrases are out of scope.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import ConfigError, DataError
from tamis.evaluation.metrics import wilson
from tamis.text.perturbation_edits import EDITS, Edit


@dataclass(frozen=True)
class Attack:
    """One way to disguise a text.

    `strength` is the default; `unit` says what it counts. `needs_ham` marks attacks that draw from a pool of negatives' texts,
    `always_changes` those that change every text that has a letter (the others need a number or a link).
    """

    name: str
    description: str
    strength: float
    unit: str
    needs_ham: bool = False
    always_changes: bool = True


@dataclass(frozen=True)
class AttackResult:
    """Positives caught and negatives blocked at one threshold, under one attack; `attack` is "clean" for the texts as they are.

    `changed` is the share of texts that the attack altered. `recall` and `blocked` are shares of `positives` and `negatives` rows, each
    with Wilson's 95 % interval; None where there are no such rows.
    """

    attack: str
    description: str
    strength: float | None
    positives: int
    negatives: int
    changed: float
    recall: float | None
    recall_ci95: tuple[float, float] | None
    blocked: float | None
    blocked_ci95: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        plain = asdict(self)
        for key in ("recall_ci95", "blocked_ci95"):
            plain[key] = None if plain[key] is None else list(plain[key])
        return plain


def _suite() -> dict[str, Attack]:
    attacks = [Attack(e.name, e.description, e.strength, e.unit, always_changes=e.always_changes) for e in EDITS.values()]
    for place in ("appended", "prepended"):
        attacks.append(Attack(f"good_words_{place}", f"whole texts drawn from negatives {place}", 3.0, "texts drawn", needs_ham=True))
    return {attack.name: attack for attack in attacks}


ATTACKS: dict[str, Attack] = _suite()
"""The suite by name, in the order of its tables."""


def attacked(texts: Sequence[str], name: str, *, seed: int, ham: Sequence[str] = (), strength: float | None = None) -> list[str]:
    """The texts under one attack; the same seed gives the same texts, whatever other texts stand beside them.

    A text's draw depends on the seed, the attack, the text's row and the text. No text becomes empty, none gets a lone surrogate that it
    did not have. Attacks that work on letters change at least one character of a text with an ASCII letter.

    Args:
        texts: what to disguise.
        name: a key of `ATTACKS`.
        seed: of the draws.
        ham: texts of negatives for the good-word attacks, best training rows; no text is padded with itself where there are others.
        strength: share of letters, of words or number of texts as `ATTACKS[name].unit` says; None takes the attack's own.

    Raises:
        ConfigError: the attack is unknown or the strength is not above 0 (for shares also not above 1).
        DataError: a good-word attack without any `ham` text that has a word.
    """
    attack = ATTACKS.get(name)
    if attack is None:
        raise ConfigError(f"the attack must be one of {', '.join(ATTACKS)}; got {name!r}")
    amount = attack.strength if strength is None else strength
    if not 0 < amount <= (100 if attack.needs_ham else 1):
        most = "100 texts" if attack.needs_ham else "1 (a share)"
        raise ConfigError(f"the strength of {name!r} counts {attack.unit} and must be above 0 and at most {most}; got {amount}")
    pool = [text.strip() for text in ham if text.strip()] if attack.needs_ham else []
    if attack.needs_ham and not pool:
        raise DataError(f"the attack {name!r} draws words from negatives' texts and got none; pass training texts of the negative class")
    known = set(pool)
    result = []
    for row, text in enumerate(texts):
        draw = random.Random(f"{seed}\x1f{name}\x1f{row}\x1f{text.encode('utf-8', 'surrogatepass').hex()}")
        if attack.needs_ham:
            own = text.strip()
            others = pool if own not in known else [one for one in pool if one != own] or pool  # padded with itself it would say no more
            words = " ".join(draw.choice(others) for _ in range(max(1, round(amount))))
            result.append(f"{text} {words}" if name.endswith("appended") else f"{words} {text}")
        else:
            result.append(_edited(text, EDITS[name], amount, draw))
    return result


def _edited(text: str, edit: Edit, amount: float, draw: random.Random) -> str:
    changed = edit.apply(text, amount, draw)
    if changed == text and edit.always_changes:
        # A weak draw may have hit nothing: then everything that can be hit is.
        changed = edit.apply(text, 1.0, draw)
    return changed


def under_attack(
    score: Callable[[list[str]], NDArray[Any]],
    texts: Sequence[str],
    is_positive: NDArray[Any],
    *,
    threshold: float,
    seed: int,
    ham: Sequence[str] = (),
    attacks: Sequence[str] | None = None,
) -> list[AttackResult]:
    """What a scorer catches and blocks at its own threshold, first of the clean texts, then under each attack.

    Shapes (N rows): `texts` N, `is_positive` (N,) bool; `score` takes texts and returns (N,) P(positive); positive where it is at or above
    `threshold`. `attacks`: names, all of `ATTACKS` by default, without the good-word attacks where there is no `ham`.

    Raises:
        DataError: no rows, or lengths that differ, of the truth or of the scores.
        ConfigError: an unknown attack.
    """
    truth = np.asarray(is_positive, dtype=bool)
    if truth.shape != (len(texts),) or len(texts) == 0:
        raise DataError(f"attacks need one truth a text and at least one text, got {len(texts)} texts and truth of shape {truth.shape}")
    names = [name for name, attack in ATTACKS.items() if ham or not attack.needs_ham] if attacks is None else list(attacks)
    results = []
    for name in ["clean", *names]:
        changed = list(texts) if name == "clean" else attacked(texts, name, seed=seed, ham=ham)
        scores = np.asarray(score(changed), dtype=np.float64)
        if scores.shape != truth.shape or not np.isfinite(scores).all():
            raise DataError(f"under {name!r}: expected {len(texts)} finite scores, got shape {scores.shape}; check the scorer")
        flagged = scores >= threshold
        attack = ATTACKS.get(name)
        recall, recall_ci95 = _share(flagged[truth])
        blocked, blocked_ci95 = _share(flagged[~truth])
        results.append(
            AttackResult(
                attack=name,
                description="texts as they are" if attack is None else attack.description,
                strength=None if attack is None else attack.strength,
                positives=int(truth.sum()),
                negatives=int((~truth).sum()),
                changed=sum(a != b for a, b in zip(texts, changed, strict=True)) / len(texts),
                recall=recall,
                recall_ci95=recall_ci95,
                blocked=blocked,
                blocked_ci95=blocked_ci95,
            )
        )
    return results


def attack_rows(results: Sequence[AttackResult]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table, all of them strings; shares in per cent with their intervals."""
    header = ["attack", "what it does", "texts changed %", "caught % [95 %]", "blocked % [95 %]"]
    rows = [
        [
            result.attack,
            result.description,
            f"{100 * result.changed:.0f}",
            _shown(result.recall, result.recall_ci95),
            _shown(result.blocked, result.blocked_ci95),
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
