"""Letters that look like ASCII letters: by rule from their Unicode names where names tell, by hand
where only the shape does.

Owns the tables; where a letter is folded is for normalizer.py. Two grades: `exact` is hard to tell
apart in print and is believed even where a whole word is made of it; `loose` resembles and is
believed only inside a word that mixes alphabets. Sources: Unicode names (unicodedata), Unicode TR
39 confusables as far as remembered shapes go, "fancy text" generators.
"""

# ruff: noqa: RUF001 (look-alike letters are what this file is about)
from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache

# "D WITH STROKE", "DOTLESS I", "SMALL CAPITAL R", "OPEN E", "REVERSED E": the last lone letter of
# the name is the letter meant.
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

# Written as letter and what it looks like, in pairs.
_EXACT = (
    # Cyrillic
    "аaеeоoрpсcуyхxѕsіiјjһhԁdԛqԝwӏlүyѵvѐeѝuАAВBЕEЅSІIЈJКKМMНHОOРPСCТTУYХXҺHԚQԜWӀIҮYѴV"
    # Greek capitals that are Latin ones, and the small letters that nobody can tell apart
    "ΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧXϹCͿJοoνvϲcϳjρp"
    # Armenian
    "օoսuհhոnզqյjցgՕOՍUՏSԼL"
    # Cherokee, Lisu, Coptic, Canadian syllabics
    "ᎠDᎡRᎢTᎪAᎫJᎬEᎳWᎷMᎻHᎽYᏀGᏃZᏔWᏙVᏚSᏞLᏟCᏢPᏦKᏴBᎥiᏂhᏏbᏒRᏕS"
    "ꓐBꓑPꓓDꓔTꓖGꓗKꓙJꓚCꓜZꓝFꓟMꓠNꓡLꓢSꓣRꓦVꓧHꓪWꓫXꓬYꓮAꓰEꓲIꓳOꓴU"
    "ⲀAⲂBⲈEⲎHⲒIⲔKⲘMⲚNⲞOⲢPⲤCⲦTⲨYⲬXⲁaⲉeⲟoⲣpⲥcⲭxⲓiⲕkⲩy"
    "ᑭPᒪLᐯVᗅAᗞDᗪDᖴFᗷBᕼHᗰMᑌUᖇRᔕSᗯWᑕCᒍJᑲbᑯdᑫqᗴEᕮEᗩAᐱAᑎN"
    # Deseret, Osage, Old Italic, Carian, Elbasan as far as they are Latin shapes
    "𐐄O𐐬o𐐠S𐓂O𐓪o𐓎U𐓶u𐌀A𐌁B𐌂C𐌄E𐌅F𐌉I𐌊K𐌌M𐌍N𐌏O𐌐P𐌑M𐌕T𐌗X𐔓N𐔖O𐔘K"
    # Letter-like signs that compatibility folding leaves
    "℮eᴉiⅎfↃCↄcƦR"
)
_LOOSE = (
    "вbгrдdзeиuкkлnмmнhпnтtцuчyшwщwъbьbыbэeяRєeғfҝkѡwѠWфoжxбbљnњhћhђhџuгrѓr"
    "БBГrДDЗEИNЛNПNФOЦUЧYШWЩWЪbЬbЭEЯRЄEѲOѳoҀCҁcѾWѿwҽeҼEҿeөoӨOәeӘEӡzӠZꙅsꙄSꙆIꙇi"
    "αaβbγyδdεeζzηnθoιiκkλlμuπnσoςsτtυuφoχxψwωwϵeϱpϝfϜFϻmϺM"
    "ΓrΔAΘOΛAΞEΠnΣEΦOΨWΩOϒY"
    "աwեtլlռnքfցgքpրnվlԱUԵtՁzՄUՈnՀZԳq"
    "סoוlןlהnתnחnשwטu"
    "ԌGƅbƄbᴦrᴧaᴨnᴩpᴪwĸkꬰaɤyßbþpƿpƷZʒzʃfʅlʟlɥhɯmɰwʍwʌvʎyʞkʇtɹrƨsƧSƽs"
)


@cache
def exact() -> dict[str, str]:
    """Look-alike → ASCII letter, where nothing but its code tells it from the ASCII letter, and
    every Latin letter in another style.
    """
    table = {**dict(_by_name()), **_pairs(_EXACT)}
    for letter, target in list(table.items()):
        # Cherokee and a few others have small letters of the capitals' own shape.
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
    """Look-alike → ASCII letter, where the shape is alike only; none of `exact`. Variants with a
    hook or stroke follow their letter.
    """
    table = {letter: target for letter, target in _pairs(_LOOSE).items() if letter not in exact()}
    for letter, base in _variants():
        if letter not in exact() and letter not in table:
            target = exact().get(base) or table.get(base)
            if target:
                table[letter] = target
    return table


def _pairs(text: str) -> dict[str, str]:
    return dict(zip(text[::2], text[1::2], strict=True))


def _assigned() -> Iterator[tuple[str, str]]:
    for code in range(0x80, sys.maxunicode + 1):
        # Nothing beyond the supplementary multilingual plane is a letter of an alphabet.
        if code >= 0x20000:
            return
        name = unicodedata.name(chr(code), "")
        if name:
            yield chr(code), name


def _by_name() -> Iterator[tuple[str, str]]:
    for letter, name in _assigned():
        if unicodedata.decomposition(letter):
            continue  # the compatibility and canonical forms do these
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
    """Cyrillic and Greek letters with a tail, hook or stroke, each with the letter it varies."""
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
