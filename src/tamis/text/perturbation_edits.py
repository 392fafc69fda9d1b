"""The edits of the perturbation suite: they disguise letters, words, numbers and links.

An edit takes a text, a strength and a random generator, and returns the changed text.
perturbations.py owns the draws and the good-word perturbations; evaluation/robustness.py computes
the figures. Sources: disguises reported in studies of SMS and mail filters (arXiv 2210.10451,
2505.03831).
"""

# ruff: noqa: RUF001 (look-alike letters are what this file is about)
from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

# Homoglyphs that a spammer uses, written independently of the normalizer's table: Cyrillic, Greek,
# Armenian, Cherokee and Latin-extended shapes.
_LOOK_ALIKES = {
    "a": "аɑα", "b": "Ьƅ", "c": "сϲⲥ", "d": "ԁɗ", "e": "еєҽ", "f": "ƒꬵ", "g": "ɡց", "h": "һհ",
    "i": "іıι", "j": "јϳ", "k": "ĸκк", "l": "ӏⅼ", "m": "мⅿ", "n": "ոп", "o": "оοօ", "p": "рρ",
    "q": "ԛզ", "r": "гᴦ", "s": "ѕꜱ", "t": "тτ", "u": "սυ", "v": "ѵν", "w": "ԝѡ", "x": "хχ",
    "y": "уү", "z": "ᴢʐ", "A": "АΑᎪ", "B": "ВΒᏴ", "C": "СϹᏟ", "D": "ᎠĐ", "E": "ЕΕᎬ", "F": "ϜƑ",
    "G": "ԌᏀ", "H": "НΗᎻ", "I": "ІΙӀ", "J": "ЈᎫ", "K": "КΚᏦ", "L": "ᏞԼ", "M": "МΜᎷ", "N": "ΝƝ",
    "O": "ОΟՕ", "P": "РΡᏢ", "Q": "ԚɊ", "R": "ᎡꓣƦ", "S": "ЅՏᏚ", "T": "ТΤᎢ", "U": "Սꓴ", "V": "ѴᏙ",
    "W": "ԜᎳ", "X": "ХΧ", "Y": "ҮΥ", "Z": "ΖᏃ",
}  # fmt: skip
_LEET = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "t": "7", "l": "1"}
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u034f\u180e\u2063\ufe0f"
_MARKS = "\u0300\u0301\u0302\u0303\u0308\u0323\u0331\u0336\u0338"
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WORD = re.compile(r"[A-Za-z]+")
_NUMBER = re.compile(r"[£$€]?\d[\d,.]*\d|\d")
_LINK = re.compile(
    r"(?:https?://|www\.)[^\s]+|\b[a-z\d][a-z\d\-]*(?:\.[a-z\d\-]+)*\.(?:com|co\.uk|net|org|biz|info|uk|tv)\b(?:/[^\s]*)?",
    re.I,
)
_TAIL = re.compile(r"[.,!?;:)]*$")


@dataclass(frozen=True)
class Edit:
    """A disguise of one text: `apply(text, strength, draw)`.

    The other fields are those of `perturbations.Perturbation`.
    """

    name: str
    description: str
    strength: float
    unit: str
    apply: Callable[[str, float, random.Random], str]
    always_changes: bool = True


def _letters(
    change: Callable[[str, random.Random], str],
) -> Callable[[str, float, random.Random], str]:
    """Return an edit that changes each ASCII letter with the given probability."""

    def apply(text: str, strength: float, draw: random.Random) -> str:
        return "".join(
            change(c, draw) if c.isascii() and c.isalpha() and draw.random() < strength else c
            for c in text
        )

    return apply


def _words(
    change: Callable[[str, random.Random], str], shortest: int
) -> Callable[[str, float, random.Random], str]:
    """Return an edit that changes words of at least `shortest` ASCII letters at random.

    A text without such words has its shorter words changed.
    """

    def apply(text: str, strength: float, draw: random.Random) -> str:
        lengths = [len(found.group()) for found in _WORD.finditer(text)]
        least = min(shortest, max(lengths, default=shortest))
        return _WORD.sub(
            lambda found: (
                change(found.group(), draw)
                if len(found.group()) >= least and draw.random() < strength
                else found.group()
            ),
            text,
        )

    return apply


def _look_alike(letter: str, draw: random.Random) -> str:
    return draw.choice(_LOOK_ALIKES[letter])


def _full_width(letter: str, draw: random.Random) -> str:
    return chr(ord(letter) + 0xFEE0)


def _marked(letter: str, draw: random.Random) -> str:
    # Uses the composed letter if there is one, as a spammer's tool does.
    return unicodedata.normalize("NFC", letter + draw.choice(_MARKS))


def _hidden(letter: str, draw: random.Random) -> str:
    return letter + draw.choice(_INVISIBLE)


def _leet(word: str, draw: random.Random) -> str:
    places = [i for i, c in enumerate(word) if c.lower() in _LEET]
    if not places:
        return word[0] + "1" + word[1:] if len(word) > 1 else word + "1"
    chosen = {place for place in places if draw.random() < 0.7} or {draw.choice(places)}
    return "".join(draw.choice(_LEET[c.lower()]) if i in chosen else c for i, c in enumerate(word))


def _spaced(word: str, draw: random.Random) -> str:
    return " ".join(word) if len(word) > 1 else f" {word} "


def _dotted(word: str, draw: random.Random) -> str:
    return draw.choice(".-*_").join(word) if len(word) > 1 else f"{word}."


def _split(word: str, draw: random.Random) -> str:
    if len(word) < 2:
        return f"{word}-"
    place = draw.randrange(1, len(word))
    return word[:place] + draw.choice("-.*_|'") + word[place:]


def _broken(word: str, draw: random.Random) -> str:
    place = draw.randrange(1, len(word)) if len(word) > 1 else 1
    return word[:place] + draw.choice(["\n", "\r\n", "-\n"]) + word[place:]


def _swapped_case(word: str, draw: random.Random) -> str:
    changed = draw.choice(
        [
            word.upper(),
            word.lower(),
            word.swapcase(),
            "".join(c.upper() if i % 2 else c.lower() for i, c in enumerate(word)),
            "".join(draw.choice([c.upper(), c.lower()]) for c in word),
        ]
    )
    return word.swapcase() if changed == word else changed


def _neighbour(letter: str, draw: random.Random) -> str:
    row = next(row for row in _ROWS if letter.lower() in row)
    place = row.index(letter.lower())
    near = draw.choice([row[i] for i in (place - 1, place + 1) if 0 <= i < len(row)])
    return near.upper() if letter.isupper() else near


def _typo(word: str, draw: random.Random) -> str:
    place = draw.randrange(len(word))
    kind = draw.choice(
        ["neighbour", "double"] if len(word) < 3 else ["neighbour", "double", "drop", "transpose"]
    )
    if kind == "transpose":
        place = min(place, len(word) - 2)
        changed = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        if changed != word:
            return changed
        kind = "neighbour"
    middle = {"neighbour": _neighbour(word[place], draw), "double": word[place] * 2, "drop": ""}[
        kind
    ]
    return word[:place] + middle + word[place + 1 :]


def _numbers(text: str, strength: float, draw: random.Random) -> str:
    """Change digits (each to another digit), or put blanks, dots and dashes between the digits of a
    long number.
    """

    def change(found: re.Match[str]) -> str:
        number = found.group()
        if draw.random() >= strength:
            return number
        if number.isdigit() and len(number) >= 7 and draw.random() < 0.5:
            size, sign = draw.choice([2, 3, 4]), draw.choice(" -.")
            return sign.join(number[i : i + size] for i in range(0, len(number), size))
        # The first digit must not become 0.
        return "".join(
            str((int(c) + draw.randrange(1, 10)) % 10 or int(c != "1") or 2)
            if c.isdigit() and c.isascii()
            else c
            for c in number
        )

    return _NUMBER.sub(change, text)


def _links(text: str, strength: float, draw: random.Random) -> str:
    """Change a link: other domain, shortener, hxxp, no scheme, or a dot in brackets."""

    def change(found: re.Match[str]) -> str:
        link = found.group()
        if draw.random() >= strength:
            return link
        tail = _TAIL.search(link)
        end = tail.group() if tail else ""
        bare = re.sub(r"^(?:https?://)?(?:www\.)?", "", link[: len(link) - len(end)], flags=re.I)
        token = "".join(draw.choice("abcdefghkmnpqrstuvwxyz23456789") for _ in range(6))
        path = bare.partition("/")[1] + bare.partition("/")[2]
        ways = [
            f"http://{token}.{draw.choice(['top', 'xyz', 'club'])}{path}",
            f"bit.ly/{token}",
            f"hxxp://{bare}",
            bare,
            bare.replace(".", "[.]", 1),
        ]
        return (
            draw.choice([way for way in ways if way and way != link[: len(link) - len(end)]]) + end
        )

    return _LINK.sub(change, text)


_CHANCE, _SHARE = "chance of a letter", "chance of a word"
EDITS: dict[str, Edit] = {
    edit.name: edit
    for edit in (
        Edit(
            "look_alikes",
            "letters replaced by Cyrillic, Greek and other homoglyphs",
            0.3,
            _CHANCE,
            _letters(_look_alike),
        ),
        Edit(
            "full_width",
            "letters replaced by their full-width forms",
            1.0,
            _CHANCE,
            _letters(_full_width),
        ),
        Edit(
            "invisible", "invisible characters added after letters", 0.3, _CHANCE, _letters(_hidden)
        ),
        Edit(
            "accents", "accents and other marks added to letters", 0.3, _CHANCE, _letters(_marked)
        ),
        Edit("leetspeak", "letters replaced by digits and signs", 0.5, _SHARE, _words(_leet, 3)),
        Edit(
            "spaced",
            'letters of words separated by spaces ("f r e e")',
            0.3,
            _SHARE,
            _words(_spaced, 4),
        ),
        Edit(
            "dotted",
            'letters of words separated by signs ("f.r.e.e")',
            0.3,
            _SHARE,
            _words(_dotted, 4),
        ),
        Edit("split", 'words split once by a sign ("fr-ee")', 0.5, _SHARE, _words(_split, 4)),
        Edit("broken", "words broken across two lines", 0.3, _SHARE, _words(_broken, 4)),
        Edit("case", "letters in another case", 0.7, _SHARE, _words(_swapped_case, 1)),
        Edit(
            "typos",
            "typing errors: a neighbouring key, a letter doubled, dropped or transposed",
            0.3,
            _SHARE,
            _words(_typo, 4),
        ),
        Edit(
            "numbers",
            "other digits, or numbers split up",
            1.0,
            "chance of a number",
            _numbers,
            always_changes=False,
        ),
        Edit(
            "links",
            "another domain, a shortener, hxxp, or a domain without a scheme",
            1.0,
            "chance of a link",
            _links,
            always_changes=False,
        ),
    )
}
"""The edits by name."""
