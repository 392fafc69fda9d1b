"""Homoglyphs: characters that look like ASCII letters.

Owns the tables; normalizer.py decides where a letter is replaced. There are two grades. `exact`:
hard to distinguish in print, replaced even if a whole word consists of such letters. `loose`: only
similar, replaced only inside a word that mixes alphabets. Sources, in this order: Unicode's table
of confusable characters (UTS 39), of which docs/make_confusables.py writes the single letters of
some scripts to `confusables.tsv`; the Unicode names of styled Latin letters (unicodedata); and the
letters below, which the table lacks.
"""

# ruff: noqa: RUF001 (look-alike letters are what this file is about)
from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

# "D WITH STROKE", "DOTLESS I", "SMALL CAPITAL R", "OPEN E", "REVERSED E": the last single letter of
# the name is the base letter.
_LATIN = re.compile(
    r"LATIN (SMALL|CAPITAL|LETTER SMALL CAPITAL)(?: LETTER)?(?: [A-Z]{2,})* ([A-Z])(?: WITH "
    r"[A-Z0-9 ]+)?$"
)
_LATIN_NAMED = {
    "ALPHA": "a",
    "UPSILON": "u",
    "IOTA": "i",
    "SCHWA": "e",
    "GAMMA": "y",
    "CHI": "x",
    "BETA": "b",
    "OMEGA": "w",
    "ENG": "n",
}
_ENCLOSED = re.compile(
    r"(?:NEGATIVE|CROSSED NEGATIVE) (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER ([A-Z])$"
)

# Pairs: a letter, then the ASCII letter it looks like. Supplements to Unicode's table:
_EXACT = (
    # The table resolves the small palochka to "i", although it has the shape of "l".
    "ӏl"
    # The table has the base letters only, or the other case only.
    "ѐeѝuҺHԚQⲀAⲂBⲈEⲁaⲉeⲭxⲓiⲕkⲩy"
    # NFKC changes these to a sigma; the normalizer takes them out before.
    "ϹCϲc"
    # Used by text generators and in filtered messages; the table has other letters of the script.
    "յjԼLᔕSᗯWᑕCᑫqᗴEᕮEᗩAᐱAᑎN𐌀A𐌄E𐌅F𐌊K𐌌M𐌍N𐌏O𐌐P"
    # Symbols, not letters, or rotated letters.
    "℮eⅎfↃC"
)
# Similar shapes. Those that Unicode's table has too are loose here because ordinary words of their
# alphabet consist of them.
_LOOSE = (
    "вbгrдdзeиuкkлnмmнhпnтtцuчyшwщwъbьbыbэeяRєeғfҝkѡwѠWфoжxбbљnњhћhђhџuгrѓr"
    "БBГrДDЗEИNЛNПNФOЦUЧYШWЩWЪbЬbЭEЯRЄEѲOѳoҀCҁcѾWѿwҽeҼEҿeөoӨOәeӘEӡzӠZꙅsꙄSꙆIꙇi"
    "αaβbγyδdεeζzηnθoιiκkλlμuπnσoςsτtυuφoχxψwωwϵeϱpϝfϜFϻmϺM"
    "ΓrΔAΘOΛAΞEΠnΣEΦOΨWΩOϒY"
    "աwգqեtլlռnքfքpրnվlԱUԵtՁzՄUՈnՀZԳq"
    "סoוlןlהnתnחnשwטu"
    "ԌGƅbƄbᴦrᴧaᴨnᴩpᴪwĸkꬰaɤyßbþpƿpƷZʒzʃfʅlʟlɥhɯmɰwʍwʌvʎyʞkʇtɹrƨsƧSƽs"
)


@cache
def exact() -> dict[str, str]:
    """Return a table from homoglyph to ASCII letter: exact homoglyphs, and styled Latin letters."""
    similar = _pairs(_LOOSE)
    table = {letter: target for letter, target in _from_unicode().items() if letter not in similar}
    table |= {**dict(_by_name()), **_pairs(_EXACT)}
    for letter, target in list(table.items()):
        # Cherokee and a few others have small letters in the shape of their capitals.
        small = letter.lower()
        if (
            small != letter
            and len(small) == 1
            and small not in table
            and "CHEROKEE" in unicodedata.name(letter, "")
        ):
            table[small] = target.lower()
    return {letter: target for letter, target in table.items() if not letter.isascii()}


@cache
def loose() -> dict[str, str]:
    """Return a table from homoglyph to ASCII letter for similar shapes; contains none of `exact`.

    Variants with a hook or stroke map as their base letter does.
    """
    table = {letter: target for letter, target in _pairs(_LOOSE).items() if letter not in exact()}
    for letter, base in _variants():
        if letter not in exact() and letter not in table:
            target = exact().get(base) or table.get(base)
            if target:
                table[letter] = target
    return table


def _from_unicode() -> dict[str, str]:
    """Read `confusables.tsv`: letter to ASCII letter."""
    text = Path(__file__).with_name("confusables.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return {chr(int(code, 16)): target for code, target, _ in rows}


def _pairs(text: str) -> dict[str, str]:
    return dict(zip(text[::2], text[1::2], strict=True))


def _assigned() -> Iterator[tuple[str, str]]:
    for code in range(0x80, sys.maxunicode + 1):
        # No letter of an alphabet lies beyond the supplementary multilingual plane.
        if code >= 0x20000:
            return
        name = unicodedata.name(chr(code), "")
        if name:
            yield chr(code), name


def _by_name() -> Iterator[tuple[str, str]]:
    for letter, name in _assigned():
        if unicodedata.decomposition(letter):
            continue  # NFKC and NFD handle these
        if found := _LATIN.match(name):
            kind, target = found.groups()
            yield letter, target if kind == "CAPITAL" else target.lower()
        elif found := _ENCLOSED.match(name):
            yield letter, found.group(1)
        elif name.startswith(("LATIN SMALL LETTER ", "LATIN CAPITAL LETTER ")):
            target = _LATIN_NAMED.get(
                name.split(" LETTER ")[1].removeprefix("OPEN ").split(" WITH ")[0], ""
            )
            if target:
                yield letter, target.upper() if "CAPITAL" in name else target


def _variants() -> Iterator[tuple[str, str]]:
    """Yield Cyrillic and Greek letters with a tail, hook or stroke, each with its base letter."""
    for letter, name in _assigned():
        if (
            name.startswith(("CYRILLIC", "GREEK"))
            and " WITH " in name
            and not unicodedata.decomposition(letter)
        ):
            try:
                yield letter, unicodedata.lookup(name.split(" WITH ")[0])
            except KeyError:
                continue
