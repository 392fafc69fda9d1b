"""A second, independent set of perturbations. It shows whether a remedy works in general or only
for the perturbations of the suite.

It shares no table and no code with `tamis.text.perturbations`: letters come from Unicode's
character names and blocks, not from pairs. A disguise takes a text, a random generator and ham
texts, and returns another text; the same seed gives the same texts.
"""

from __future__ import annotations

import random
import re
import string
import unicodedata
from collections.abc import Callable, Sequence

Disguise = Callable[[str, random.Random, Sequence[str]], str]

_GREEK = dict(zip("AaBEeHIiKkMNnOoPpTtuvXxYyZ", "ΑαΒΕεΗΙιΚκΜΝηΟοΡρΤτυνΧχΥγΖ", strict=True))
_CYRILLIC = dict(
    zip("AaBbCcEeHhIiJjKkMmOoPpSsTtXxYy", "АаВЬСсЕеНһІіЈјКкМмОоРрЅѕТтХхУу", strict=True)
)
_ARMENIAN = dict(zip("oOhugnLSUqj", "օՕհսցոԼՏՍզյ", strict=True))
_MARKS = [chr(code) for code in range(0x300, 0x362) if unicodedata.combining(chr(code))]
_VOWELS = re.compile(r"(?<=[A-Za-z])[aeiouAEIOU](?=[A-Za-z])")


def _named(pattern: str) -> dict[str, str]:
    """Return letter → the character with that Unicode name.

    `{}` in the pattern is replaced by the letter, and `<>` by CAPITAL or SMALL for its case.
    """
    found = {}
    for letter in string.ascii_letters:
        name = pattern.replace("<>", "CAPITAL" if letter.isupper() else "SMALL").format(
            letter.upper()
        )
        try:
            found[letter] = unicodedata.lookup(name)
        except KeyError:
            continue
    return found


def _letters(table: dict[str, str], share: float) -> Disguise:
    return lambda text, draw, ham: "".join(
        table[c] if c in table and draw.random() < share else c for c in text
    )


def _between(signs: Sequence[str], share: float) -> Disguise:
    return lambda text, draw, ham: "".join(
        c + draw.choice(signs) if c.isalpha() and draw.random() < share else c for c in text
    )


def _each_word(
    change: Callable[[str, random.Random], str], share: float, shortest: int = 4
) -> Disguise:
    def apply(text: str, draw: random.Random, ham: Sequence[str]) -> str:
        words = re.split(r"(\W+)", text)
        return "".join(
            change(w, draw) if w.isalpha() and len(w) >= shortest and draw.random() < share else w
            for w in words
        )

    return apply


def _zalgo(text: str, draw: random.Random, ham: Sequence[str]) -> str:
    return "".join(
        c + "".join(draw.choices(_MARKS, k=draw.randint(1, 4))) if c.isalpha() else c for c in text
    )


def _overlay(text: str, draw: random.Random, ham: Sequence[str]) -> str:
    sign = draw.choice("\u0336\u0335\u0338\u20dd\u20de\u0332")
    return "".join(c + sign if c.isalnum() else c for c in text)


def _bidi(text: str, draw: random.Random, ham: Sequence[str]) -> str:
    return " ".join(
        draw.choice("\u202a\u2066\u202d")
        + w[: len(w) // 2]
        + "\u200e"
        + w[len(w) // 2 :]
        + "\u202c"
        for w in text.split(" ")
    )


def _tags(text: str, draw: random.Random, ham: Sequence[str]) -> str:
    return "".join(c + chr(0xE0000 + draw.randint(0x20, 0x7E)) if c.isalpha() else c for c in text)


def _spaces(text: str, draw: random.Random, ham: Sequence[str]) -> str:
    return "".join(
        draw.choice("\u00a0\u2003\u2009\u3000\u1680\u202f\u205f") if c == " " else c for c in text
    )


def _whole_spaced(text: str, draw: random.Random, ham: Sequence[str]) -> str:
    return "   ".join(" ".join(word) for word in text.split())


def _broken_lines(text: str, draw: random.Random, ham: Sequence[str]) -> str:
    return _each_word(
        lambda w, d: (lambda k: w[:k] + d.choice(["\n", "-\n", "\r\n"]) + w[k:])(
            d.randrange(1, len(w))
        ),
        0.4,
    )(text, draw, ham)


_LEET = {
    "a": "4@^",
    "b": "8",
    "e": "3",
    "g": "9",
    "i": "1!|",
    "l": "1|",
    "o": "0",
    "s": "5$",
    "t": "7+",
    "z": "2",
}


def _leet(text: str, draw: random.Random, ham: Sequence[str]) -> str:
    return "".join(
        draw.choice(_LEET[c.lower()]) if c.lower() in _LEET and draw.random() < 0.35 else c
        for c in text
    )


def _swapped(word: str, draw: random.Random) -> str:
    k = draw.randrange(0, len(word) - 1)
    return word[:k] + word[k + 1] + word[k] + word[k + 2 :]


def _doubled(word: str, draw: random.Random) -> str:
    k = draw.randrange(len(word))
    return word[:k] + word[k] * draw.randint(2, 4) + word[k + 1 :]


def _mistyped(word: str, draw: random.Random) -> str:
    k = draw.randrange(len(word))
    return (
        word[:k]
        + draw.choice(
            ["", draw.choice(string.ascii_lowercase), word[k] + draw.choice(string.ascii_lowercase)]
        )
        + word[k + 1 :]
    )


def _random_case(text: str, draw: random.Random, ham: Sequence[str]) -> str:
    return "".join(c.upper() if draw.random() < 0.5 else c.lower() for c in text)


def _entities(text: str, draw: random.Random, ham: Sequence[str]) -> str:
    forms = (lambda c: f"&#{ord(c)};", lambda c: f"&#x{ord(c):x};")
    return "".join(
        draw.choice(forms)(c) if c.isascii() and c.isalpha() and draw.random() < 0.4 else c
        for c in text
    )


def _percent(text: str, draw: random.Random, ham: Sequence[str]) -> str:
    return "".join(
        f"%{ord(c):02X}" if c.isascii() and c.isalpha() and draw.random() < 0.4 else c for c in text
    )


def _other_links(text: str, draw: random.Random, ham: Sequence[str]) -> str:
    def change(found: re.Match[str]) -> str:
        name = "".join(draw.choices(string.ascii_lowercase, k=7))
        return draw.choice(
            [
                f"https://{name}.page/{name[:3]}",
                f"t.ly/{name}",
                found.group().replace(".", " dot "),
                found.group().upper(),
            ]
        )

    return re.sub(
        r"(?i)\b(?:https?://|www\.)\S+|\b[\w-]+\.(?:com|co\.uk|net|org|tv|biz)\S*", change, text
    )


_DIGIT_WORDS = "zero one two three four five six seven eight nine".split()


def _other_numbers(text: str, draw: random.Random, ham: Sequence[str]) -> str:
    way = draw.choice(["random", "words", "fullwidth", "spaced"])
    to: Callable[[str], str] = {
        "random": lambda c: draw.choice(string.digits),
        "words": lambda c: f" {_DIGIT_WORDS[int(c)]} ",
        "fullwidth": lambda c: chr(0xFF10 + int(c)),
        "spaced": lambda c: c + " ",
    }[way]
    return re.sub("[0-9]", lambda found: to(found.group()), text)


def _long_ham(draw: random.Random, ham: Sequence[str], words: int) -> str:
    parts: list[str] = []
    while sum(len(part.split()) for part in parts) < words:
        parts.append(draw.choice(ham).strip())
    return " ".join(parts)


def _good_words(before: int, after: int, sign: str = " ") -> Disguise:
    def apply(text: str, draw: random.Random, ham: Sequence[str]) -> str:
        parts = [_long_ham(draw, ham, before)] if before else []
        parts.append(text)
        return sign.join([*parts, _long_ham(draw, ham, after)] if after else parts)

    return apply


def _small_capitals() -> dict[str, str]:
    found = {
        letter: char
        for letter, char in _named("LATIN LETTER SMALL CAPITAL {}").items()
        if letter.islower()
    }
    return found | {letter.upper(): char for letter, char in found.items()}


def _regional() -> dict[str, str]:
    return {c: chr(0x1F1E6 + ord(c.lower()) - ord("a")) for c in string.ascii_letters}


def _capitals_only(pattern: str) -> dict[str, str]:
    found = _named(pattern)
    return {c: found[c.upper()] for c in string.ascii_letters if c.upper() in found}


OTHERS: dict[str, Disguise] = {
    "greek": _letters(_GREEK, 0.7),
    "cyrillic": _letters(_CYRILLIC, 1.0),
    "cyrillic_some": _letters(_CYRILLIC, 0.4),
    "armenian": _letters(_ARMENIAN, 1.0),
    "mathematical_bold": _letters(_named("MATHEMATICAL BOLD <> {}"), 1.0),
    "mathematical_fraktur": _letters(_named("MATHEMATICAL BOLD FRAKTUR <> {}"), 1.0),
    "double_struck": _letters(_named("MATHEMATICAL DOUBLE-STRUCK <> {}"), 0.6),
    "monospace": _letters(_named("MATHEMATICAL MONOSPACE <> {}"), 1.0),
    "full_width": _letters(
        {c: chr(ord(c) + 0xFEE0) for c in string.ascii_letters + string.digits}, 0.5
    ),
    "circled": _letters(_named("CIRCLED LATIN <> LETTER {}"), 1.0),
    "negative_circled": _letters(_capitals_only("NEGATIVE CIRCLED LATIN CAPITAL LETTER {}"), 1.0),
    "squared": _letters(_capitals_only("SQUARED LATIN CAPITAL LETTER {}"), 1.0),
    "parenthesized": _letters(_named("PARENTHESIZED LATIN SMALL LETTER {}"), 1.0),
    "small_capitals": _letters(_small_capitals(), 1.0),
    "superscript": _letters(_named("MODIFIER LETTER SMALL {}"), 1.0),
    "regional": _letters(_regional(), 1.0),
    "zalgo": _zalgo,
    "overlay": _overlay,
    "joiners": _between("\u200d\u200c\u2060\u200b", 1.0),
    "soft_hyphens": _between("\u00ad", 0.6),
    "bidi_controls": _bidi,
    "tag_characters": _tags,
    "variation_selectors": _between(
        [chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE0110))], 0.7
    ),
    "exotic_spaces": _spaces,
    "spaced_words": _each_word(lambda w, d: " ".join(w), 0.6),
    "spaced_whole": _whole_spaced,
    "dotted_words": _each_word(lambda w, d: ".".join(w), 0.6),
    "dashed_words": _each_word(lambda w, d: "-".join(w), 0.6),
    "starred_words": _each_word(lambda w, d: d.choice(["*", "_", "/", "~", "  "]).join(w), 0.6),
    "broken_lines": _broken_lines,
    "leet": _leet,
    "vowels_dropped": lambda text, draw, ham: _VOWELS.sub(
        lambda f: "" if draw.random() < 0.5 else f.group(), text
    ),
    "doubled_letters": _each_word(_doubled, 0.6),
    "swapped_letters": _each_word(_swapped, 0.6),
    "mistyped": _each_word(_mistyped, 0.6),
    "upper": lambda text, draw, ham: text.upper(),
    "lower": lambda text, draw, ham: text.lower(),
    "random_case": _random_case,
    "entities": _entities,
    "percent": _percent,
    "links": _other_links,
    "numbers": _other_numbers,
    "ham_before": _good_words(60, 0),
    "ham_after": _good_words(0, 60),
    "ham_both": _good_words(40, 40, "\n"),
    "ham_long_after": _good_words(0, 120),
    "in_the_middle": _good_words(30, 60),
}
"""The disguises by name."""


def disguised(texts: Sequence[str], name: str, *, seed: int, ham: Sequence[str]) -> list[str]:
    """Return the texts under one disguise."""
    return [
        OTHERS[name](text, random.Random(f"{name} {seed} {row}"), ham)
        for row, text in enumerate(texts)
    ]
