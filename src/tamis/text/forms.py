"""Forms of a text: the same words without links, digits, punctuation or capitals.

The meaning of a text hardly depends on these, but a network uses them as features. Pretraining and
the training of a classifier show it texts in other forms (form dropout), so that it relies on them
less. The words-only normalizer (words_normalizer.py) removes them for good.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_LINKS = re.compile(
    r"""(?:https?://|www\.)[^\s<>"]+                # an address with its beginning
      | [\w.+-]+@[\w-]+(?:\.[\w-]+)+                # of e-mail
      # a host name with a known ending; the sentence "see you.come in" has none
      | (?<![\w.@])(?:[\w-]+\.)+(?:com|net|org|info|biz|co|io|me|tv|uk|us|eu|de|fr)
        \b(?:/[^\s<>"]*)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_DIGITS = re.compile(r"\d+")
_SIGNS = re.compile(r"[^\w\s']|_")


def without_links(text: str) -> str:
    """A text without web and e-mail addresses; the text itself if nothing would remain.

    >>> without_links("Claim at www.win.com/now or mail me@win.com today")
    'Claim at or mail today'
    """
    return _squeezed(_LINKS.sub(" ", text)) or text


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


EDITS: tuple[Callable[[str], str], ...] = (
    without_links,
    without_digits,
    without_punctuation,
    str.lower,
)
"""What a plainer form may leave out, in the order in which it is left out: a link is no longer
recognized without its punctuation."""


def plainer_form(text: str, draw: random.Random) -> str:
    """Return a text with one or more of `EDITS`, every combination equally probable.

    A text that the drawn edits do not change is returned as it is.
    """
    chosen = draw.randrange(1, 2 ** len(EDITS))
    for place, edit in enumerate(EDITS):
        if chosen >> place & 1:
            text = edit(text)
    return text


def _squeezed(text: str) -> str:
    return " ".join(text.split())
