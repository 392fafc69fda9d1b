"""Form dropout: variants of a text without capitals, digits or punctuation as training input.

The meaning of a text hardly depends on these, but a network uses them as features, which then do
not transfer from text messages to e-mails. The student reads a share of its texts in another form;
its target is the teacher's vector of the original text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

_DIGITS = re.compile(r"\d+")
_SIGNS = re.compile(r"[^\w\s']|_")


def without_digits(text: str) -> str:
    """A text without digits; the text itself if nothing would remain."""
    return _squeezed(_DIGITS.sub(" ", text)) or text


def without_punctuation(text: str) -> str:
    """A text without signs except apostrophes; the text itself if nothing would remain."""
    return _squeezed(_SIGNS.sub(" ", text)) or text


def words_only(text: str) -> str:
    """The words of a text in lower case, without digits and punctuation.

    >>> words_only("WINNER! Call 0900 555 now, it's free.")
    "winner call now it's free"
    """
    return without_punctuation(without_digits(text.lower()))


def _squeezed(text: str) -> str:
    return " ".join(text.split())


FORMS: tuple[Callable[[str], str], ...] = (
    str.lower,
    str.upper,
    without_digits,
    without_punctuation,
    words_only,
)
"""The forms, drawn with equal probability."""


def vary_forms(texts: Sequence[str], seed: int) -> list[str]:
    """Each text in a randomly drawn form."""
    drawn = np.random.default_rng([seed, len(FORMS)]).integers(0, len(FORMS), len(texts))
    return [FORMS[form](text) for form, text in zip(drawn, texts, strict=True)]
