"""Attacked copies of training rows: what teaches a classifier that a disguised text is still what
it was.

Copies are made of training rows of every class, never of rows that are held out: spam under an
attack stays spam, ham under the same attacks stays ham. Owns which copies are made; the attacks are
perturbations.py's.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.config import TrainSettings
from tamis.text.perturbations import PERTURBATIONS, perturb

GOOD_WORDS = 0.6
"""Share of the positives' copies that get other texts' words; as many of the negatives' copies get
them, so that length tells nothing."""
WHOLE = 0.15
"""Share of the copies whose letters are all of one case, or each of a case of its own, whatever
else is done to them."""
BOTH = 0.3
"""Share of the copies with good words that are also edited."""
DRAWS = 6
"""An edit that the normaliser undoes teaches nothing that the row does not: another one is drawn,
at the most so often."""
DIGITS = 3
"""How much likelier the edit is that brings digits into words: digits speak for spam, so ham needs
more of its copies not to be blocked."""
MOST_TEXTS = 7
"""Texts put around a copy, at the most."""


@dataclass(frozen=True)
class AugmentedCopies:
    """M attacked copies."""

    texts: list[str]
    of: NDArray[np.int64]
    """(M,) the row that each was made of"""

    def __len__(self) -> int:
        """M."""
        return len(self.texts)


def augmented_copies(
    texts: Sequence[str],
    targets: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    positive: int | None,
    settings: TrainSettings,
    seed: int,
    normalize: Callable[[str], str] = str,
    fold_ids: NDArray[np.int64] | None = None,
) -> AugmentedCopies:
    """Copies of some rows, each under an attack drawn for it; the same seed gives the same copies.

    Args:
        texts: R texts.
        targets: (R,) class numbers.
        rows: numbers of the rows that are trained on; nothing is taken from any other.
        positive: class number of the positive class; None for more than two classes: all are copied
            alike, and none gets good words.
        settings: `augment_positives` and `augment_negatives`, copies of a row; a fraction is a
            chance.
        seed: of the draws.
        normalize: what the tokenizer makes of a text before it cuts it.
        fold_ids: (R,) the fold of each row; texts put around a copy are then of its row's fold: a
            fold's texts go out with its rows.
    """
    draw = random.Random(f"attacked copies {seed}")
    made, of = [], []
    part = np.zeros(len(texts), dtype=np.int64) if fold_ids is None else fold_ids
    ham: dict[int, list[str]] = defaultdict(list)
    for row in rows.tolist():
        if positive is not None and targets[row] != positive and texts[row].strip():
            ham[part[row]].append(texts[row])
    for row in rows.tolist():
        share = (
            settings.augment_negatives
            if positive is not None and targets[row] != positive
            else settings.augment_positives
        )
        for _ in range(int(share) + (draw.random() < share % 1)):
            made.append(_copy(texts[row], ham[part[row]], draw, normalize))
            of.append(row)
    return AugmentedCopies(made, np.array(of, dtype=np.int64))


_EDITS = [name for name, attack in PERTURBATIONS.items() if not attack.needs_ham]
_WEIGHTS = [DIGITS if name == "leetspeak" else 1 for name in _EDITS]


def _copy(text: str, ham: list[str], draw: random.Random, normalize: Callable[[str], str]) -> str:
    if draw.random() < WHOLE:
        text = _other_case(text, draw)
    padded = bool(ham) and draw.random() < GOOD_WORDS
    if not padded or draw.random() < BOTH:
        before = normalize(text)
        for _ in range(DRAWS):
            (name,) = draw.choices(_EDITS, _WEIGHTS)
            strength = min(1.0, PERTURBATIONS[name].strength * draw.uniform(0.5, 2.0))
            edited = perturb([text], name, seed=draw.getrandbits(32), strength=strength)[0]
            if normalize(edited) != before:
                break
        text = edited
    if padded:
        words = [draw.choice(ham).strip() for _ in range(draw.randint(1, MOST_TEXTS))]
        place = draw.choice([0, len(words), draw.randint(0, len(words))])
        text = draw.choice([" ", " ", "\n"]).join([*words[:place], text, *words[place:]])
    return text


def _other_case(text: str, draw: random.Random) -> str:
    way = draw.choice(["upper", "upper", "lower", "mixed"])
    if way == "mixed":
        return "".join(draw.choice([c.upper(), c.lower()]) for c in text)
    return text.upper() if way == "upper" else text.lower()
