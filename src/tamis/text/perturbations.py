"""The perturbation suite, applied to texts with one random draw per text.

Owns the perturbations; perturbation_edits.py owns the single edits, evaluation/robustness.py the
figures. normalizer.py and training make a classifier robust; the homoglyph tables here are separate
from the normalizer's, so that the suite does not test the normalizer with its own table. Synonyms
and paraphrases are out of scope.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tamis.errors import ConfigError, DataError
from tamis.text.perturbation_edits import EDITS, Edit


@dataclass(frozen=True)
class Perturbation:
    """One way to disguise a text.

    `strength` is the default; `unit` says what it counts. `needs_ham` marks perturbations that draw
    from texts of negatives. `always_changes` marks those that change every text with a letter (the
    others need a number or a link).
    """

    name: str
    description: str
    strength: float
    unit: str
    needs_ham: bool = False
    always_changes: bool = True


def _suite() -> dict[str, Perturbation]:
    attacks = [
        Perturbation(e.name, e.description, e.strength, e.unit, always_changes=e.always_changes)
        for e in EDITS.values()
    ]
    for place in ("appended", "prepended"):
        attacks.append(
            Perturbation(
                f"good_words_{place}",
                f"{place} whole texts drawn from negatives",
                3.0,
                "texts drawn",
                needs_ham=True,
            )
        )
    return {attack.name: attack for attack in attacks}


PERTURBATIONS: dict[str, Perturbation] = _suite()
"""The suite by name, in the order of its tables."""


def perturb(
    texts: Sequence[str],
    name: str,
    *,
    seed: int,
    ham: Sequence[str] = (),
    strength: float | None = None,
) -> list[str]:
    """Apply one perturbation to texts; equal seeds give equal texts, whatever the others are.

    The random draw depends on the seed, the perturbation, the row number and the text. No text
    becomes empty; no lone surrogate is added. Perturbations of letters change at least one
    character of every text that has an ASCII letter.

    Args:
        texts: texts to disguise.
        name: a key of `PERTURBATIONS`.
        seed: seed of the random draws.
        ham: texts of negatives for the good-word perturbations, preferably training rows; a text is
            not added to itself if there are others.
        strength: share of letters, share of words, or number of texts, see
            `PERTURBATIONS[name].unit`; None: the perturbation's default.

    Raises:
        ConfigError: the perturbation is unknown, or the strength is not above 0 (for shares also:
            above 1).
        DataError: a good-word perturbation, but no `ham` text with a word.
    """
    attack = PERTURBATIONS.get(name)
    if attack is None:
        raise ConfigError(f"perturbation: expected one of {', '.join(PERTURBATIONS)}; got {name!r}")
    amount = attack.strength if strength is None else strength
    if not 0 < amount <= (100 if attack.needs_ham else 1):
        most = "100 texts" if attack.needs_ham else "1 (a share)"
        raise ConfigError(
            f"strength of {name!r} ({attack.unit}): expected a number above 0 and at most "
            f"{most}; got {amount}"
        )
    pool = [text.strip() for text in ham if text.strip()] if attack.needs_ham else []
    if attack.needs_ham and not pool:
        raise DataError(
            f"perturbation {name!r} needs texts of the negative class, got none with a word; "
            "pass training texts of that class as `ham`"
        )
    known = set(pool)
    result = []
    for row, text in enumerate(texts):
        draw = random.Random(
            f"{seed}\x1f{name}\x1f{row}\x1f{text.encode('utf-8', 'surrogatepass').hex()}"
        )
        if attack.needs_ham:
            own = text.strip()
            others = (
                pool if own not in known else [one for one in pool if one != own] or pool
            )  # a text added to itself adds no new words
            words = " ".join(draw.choice(others) for _ in range(max(1, round(amount))))
            result.append(f"{text} {words}" if name.endswith("appended") else f"{words} {text}")
        else:
            result.append(_edited(text, EDITS[name], amount, draw))
    return result


def _edited(text: str, edit: Edit, amount: float, draw: random.Random) -> str:
    changed = edit.apply(text, amount, draw)
    if changed == text and edit.always_changes:
        # If the draw changed nothing, everything that can be changed is changed.
        changed = edit.apply(text, 1.0, draw)
    return changed
