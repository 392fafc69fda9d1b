"""Attacks on texts: the suite, and one seeded draw a text.

Owns the attacks; the single edits are perturbation_edits.py's, the figures under attack
evaluation/robustness.py's. How texts are hardened is normalizer.py's and training's business, and
the tables of look-alikes here are a sender's own, not the remedy's. Synonyms and paraphrases are
out of scope.
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

    `strength` is the default; `unit` says what it counts. `needs_ham` marks attacks that draw from
    a pool of negatives' texts, `always_changes` those that change every text that has a letter (the
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
                f"whole texts drawn from negatives {place}",
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
    """The texts under one attack; the same seed gives the same texts, whatever other texts stand
    beside them.

    A text's draw depends on the seed, the attack, the text's row and the text. No text becomes
    empty, none gets a lone surrogate that it did not have. Attacks that work on letters change at
    least one character of a text with an ASCII letter.

    Args:
        texts: what to disguise.
        name: a key of `PERTURBATIONS`.
        seed: of the draws.
        ham: texts of negatives for the good-word attacks, best training rows; no text is padded
            with itself where there are others.
        strength: share of letters, of words or number of texts as `PERTURBATIONS[name].unit` says;
            None takes the attack's own.

    Raises:
        ConfigError: the attack is unknown or the strength is not above 0 (for shares also not above
            1).
        DataError: a good-word attack without any `ham` text that has a word.
    """
    attack = PERTURBATIONS.get(name)
    if attack is None:
        raise ConfigError(f"the attack must be one of {', '.join(PERTURBATIONS)}; got {name!r}")
    amount = attack.strength if strength is None else strength
    if not 0 < amount <= (100 if attack.needs_ham else 1):
        most = "100 texts" if attack.needs_ham else "1 (a share)"
        raise ConfigError(
            f"the strength of {name!r} counts {attack.unit} and must be above 0 and at most "
            f"{most}; got {amount}"
        )
    pool = [text.strip() for text in ham if text.strip()] if attack.needs_ham else []
    if attack.needs_ham and not pool:
        raise DataError(
            f"the attack {name!r} draws words from negatives' texts and got none; pass training "
            "texts of the negative class"
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
            )  # padded with itself it would say no more
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
