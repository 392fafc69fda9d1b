"""Form dropout: variants of a text without capitals, digits or punctuation as training input.

The meaning of a text hardly depends on these, but a network uses them as features, which then do
not transfer from text messages to e-mails. The student reads a share of its texts in another form;
its target is the teacher's vector of the original text. Owns the choice; text/forms.py owns the
forms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tamis.text.forms import without_digits, without_punctuation, words_only

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
