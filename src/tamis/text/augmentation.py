"""Changed copies of training rows: perturbed ones, which train a classifier to recognize disguised
texts, and plainer ones, which train it to judge by words rather than by form.

Copies are made of training rows of every class, never of held-out rows: a copy of spam is labelled
spam, a copy of ham is labelled ham. Owns the choice of copies; perturbations.py owns the
perturbations, forms.py the forms.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.config import TrainSettings
from tamis.text.forms import plainer_form
from tamis.text.perturbations import PERTURBATIONS, perturb

GOOD_WORDS = 0.6
"""Share of the positives' copies that get words of other texts. The same number of the negatives'
copies get them, so that length does not indicate the class."""
WHOLE = 0.15
"""Share of the copies with all letters in one case, or each letter in a random case, in addition
to any other change."""
BOTH = 0.3
"""Share of the copies with good words that are edited too."""
DRAWS = 6
"""Most attempts to draw an edit: an edit that the normalizer undoes adds nothing to the row, so
another one is drawn."""
DIGITS = 3
"""Factor on the probability of edits that put digits into words: digits indicate spam, so ham needs
more copies with them to keep false positives low."""
MOST_TEXTS = 7
"""Most texts that are added around a copy."""


@dataclass(frozen=True)
class AugmentedCopies:
    """M changed copies."""

    texts: list[str]
    of: NDArray[np.int64]
    """(M,) source row of each copy"""

    def __len__(self) -> int:
        """M."""
        return len(self.texts)


@dataclass(frozen=True)
class CopySource:
    """R rows that copies are made of."""

    texts: Sequence[str]
    targets: NDArray[np.int64]
    """(R,) class numbers"""
    positive: int | None
    """Class number of the positive class; None for more than two classes: all are copied alike, and
    none gets good words."""
    fold_ids: NDArray[np.int64] | None = None
    """(R,) fold of each row; texts put around a copy are then of its row's fold, so that they leave
    with it. None: all rows are of one fold."""
    normalize: Callable[[str], str] = str
    """What the tokenizer makes of a text before it cuts it."""


def augmented_copies(
    source: CopySource, rows: NDArray[np.int64], settings: TrainSettings, *, seed: int
) -> AugmentedCopies:
    """Copies of some rows, each with a perturbation or a form drawn for it; the same seed gives the
    same copies.

    Args:
        source: R rows.
        rows: numbers of the rows that are trained on; nothing is taken from any other.
        settings: `augment_positives`, `augment_negatives` and `augment_forms`, copies of a row; a
            fraction is a chance.
        seed: of the draws.
    """
    texts, targets, positive = source.texts, source.targets, source.positive
    draw = random.Random(f"attacked copies {seed}")
    made, of = [], []
    fold = np.zeros(len(texts), dtype=np.int64) if source.fold_ids is None else source.fold_ids
    ham: dict[int, list[str]] = defaultdict(list)
    for row in rows.tolist():
        if positive is not None and targets[row] != positive and texts[row].strip():
            ham[fold[row]].append(texts[row])
    for row in rows.tolist():
        share = perturbed_copies(settings, positive is not None and targets[row] != positive)
        for _ in range(_whole(share, draw)):
            made.append(_copy(texts[row], ham[fold[row]], draw, source.normalize))
            of.append(row)
    # A generator of its own: the perturbed copies do not depend on whether there are others.
    forms = random.Random(f"forms {seed}")
    for row in rows.tolist():
        for _ in range(_whole(settings.augment_forms, forms)):
            made.append(plainer_form(texts[row], forms))
            of.append(row)
    return AugmentedCopies(made, np.array(of, dtype=np.int64))


def perturbed_copies(settings: TrainSettings, negative: bool) -> float:
    """Number of perturbed copies of a row; `negative`: it is of the negative class of two."""
    return settings.augment_negatives if negative else settings.augment_positives


def augments(settings: TrainSettings) -> bool:
    """Return whether there are copies of any kind."""
    return bool(settings.augment_positives or settings.augment_negatives or settings.augment_forms)


def _whole(share: float, draw: random.Random) -> int:
    """A number of copies with the mean `share`."""
    return int(share) + (draw.random() < share % 1)


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
