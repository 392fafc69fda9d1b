r"""The hardened normaliser: what a sender did to letters so that people still read the word is
undone before the tokenizer sees it.

All of it is steps that `tokenizer.json` can hold, so transformers does the same. Owns the rules;
the look-alikes are confusables.py's. Not undone, because plain messages are full of them: "b4",
"gr8", "2nite", "fr.ee" (as "home.dont"), misspellings, capitals. Sources: Unicode UAX 15 (NFKC),
UAX 44 (Default_Ignorable_Code_Point); Oniguruma's RE document (`\G`, `\K`).
"""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Iterable

from tokenizers import Regex, normalizers

from tamis.text.confusables import exact, loose

# Noncharacters, which no text may hold (any that one does are dropped first): marks that a step
# leaves for the next ones.
_MARK, _START, _END = "\ufdd0", "\ufdd1", "\ufdd2"
# The two kinds of sign that stand for a letter in every use count as letters: negative circled or
# squared ones, the estimated sign.
_LETTER = r"\p{L}\x{212E}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}"
_WORD = rf"[{_LETTER}\p{{M}}]"
_ALONE = rf"[{_LETTER}\p{{M}}\p{{N}}]"
_LEET = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t"}
# Alphabets in which people write messages: one of their letters that resembles no Latin one shows
# that a text is really written so.
_EVERYDAY = (
    r"\p{Cyrillic}\p{Greek}\p{Armenian}\p{Hebrew}\p{Arabic}\p{Han}\p{Hiragana}\p{Katakana}"
    r"\p{Hangul}\p{Thai}\p{Devanagari}"
)


def robust_normalizer() -> normalizers.Normalizer:
    """The steps in order; applying them twice is applying them once, and a text takes time linear
    in its length.

    1. Compatibility forms to their letters (full-width, mathematical, circled), characters that
      show nothing dropped; letters written as regional indicators (where they cannot all be flags),
      as character references ("&#102;") or as percent codes inside words.
    2. Letters set apart one by one joined: four or more by the same separator ("f r e e"), three
      where it is no white space ("w.i.n"), any number between wider gaps ("i s f r e e").
    3. Look-alikes to ASCII in words that mix alphabets, and beside such words in those of
      look-alikes alone, unless letters are about that only those use who write in that alphabet;
      words of exact look-alikes alone wherever no letter shows that the alphabet is meant.
    4. Accents off Latin letters in words of more than one letter, so that a lone "ü" stays.
    5. "@", "$", "!", "€" as letters inside words; then separators inside words ("fr-ee", "fr|ee"),
      unless a capitalised word follows.
    6. Digits as letters inside words ("fr33", "w1n"), but in nothing that has other digits, a unit,
      or a postcode's form.
    """
    return normalizers.Sequence(
        [*_visible(), *_rejoined(), *_one_alphabet(), *_plain_letters(), *_signs(), *_digits()]
    )


def _drop(pattern: str) -> normalizers.Normalizer:
    return normalizers.Replace(Regex(pattern), "")


def _put(pattern: str, content: str) -> normalizers.Normalizer:
    return normalizers.Replace(Regex(pattern), content)


def _class(letters: Iterable[str]) -> str:
    r"""A character class of exactly these letters, as ranges where they follow each other."""
    codes = sorted(ord(letter) for letter in letters)
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return (
        "["
        + "".join(
            f"\\x{{{low:X}}}" if low == high else f"\\x{{{low:X}}}-\\x{{{high:X}}}"
            for low, high in ranges
        )
        + "]"
    )


def _visible() -> list[normalizers.Normalizer]:
    # Default-ignorable characters that are not of category Cf, blank letters, and control
    # characters that are no white space.
    blank = (
        r"\x{34F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{2800}\x{3164}"
        r"\x{FE00}-\x{FE0F}\x{FFA0}\x{1D159}\x{E0000}-\x{E0FFF}"
    )
    # Of the upper control characters only those that are none in cp1252 either: \x92 is a misread
    # apostrophe.
    control = r"\x{0}-\x{8}\x{E}-\x{1F}\x{7F}\x{81}\x{8D}\x{8F}\x{90}\x{9D}"
    return [
        # NFKC would make a sigma of the lunate one, which is a "c" outside of Greek words;
        # Cyrillic's is left to the next steps.
        *(
            _put(rf"{lunate}(?<!\p{{Greek}}.)(?!\p{{Greek}})", letter)
            for lunate, letter in (("\u03f2", "\u0441"), ("\u03f9", "\u0421"))
        ),
        # Left to NFKC these would come with parentheses of their own.
        *(
            normalizers.Replace(chr(0x249C + place), letter)
            for place, letter in enumerate(string.ascii_lowercase)
        ),
        *(
            normalizers.Replace(chr(0x1F110 + place), letter)
            for place, letter in enumerate(string.ascii_uppercase)
        ),
        normalizers.NFKC(),
        _drop(rf"[\p{{Cf}}{blank}{control}\x{{FDD0}}-\x{{FDEF}}\x{{FFF9}}-\x{{FFFB}}]+"),
        *_regional(),
        *_encoded(),
        # Dropping can bring parts of a character together ("e", a joiner, an accent); what NFKC
        # does not join then is decoration.
        normalizers.NFKC(),
        _drop(r"(?<=[\x00-\x7F])\p{M}+"),
    ]


def _regional() -> list[normalizers.Normalizer]:
    # Flags are pairs. A run of an odd number cannot be flags alone, and where one is all are taken
    # for letters.
    one = r"[\x{1F1E6}-\x{1F1FF}]"
    return [
        _put(rf"\A(?=[\s\S]*?(?<!{one})(?:{one}{one})*+{one}(?!{one}))", _END),
        _put(rf"(?:\A{_END}|(?!\A)\G)[^\x{{1F1E6}}-\x{{1F1FF}}]*{one}\K", _MARK),
        *(
            _put(f"{chr(0x1F1E6 + place)}{_MARK}", letter)
            for place, letter in enumerate(string.ascii_uppercase)
        ),
        _drop(f"[{_END}{_MARK}]"),
    ]


def _encoded() -> list[normalizers.Normalizer]:
    # A percent code beside a letter shows that the text is written so; then every code of a letter
    # is one.
    code = "%(?:[46][1-9A-Fa-f]|[57][0-9Aa])"
    steps = [
        _put(rf"\A(?=[\s\S]*?(?:[A-Za-z]{code}|{code}[A-Za-z]))", _END),
        _put(rf"(?:\A{_END}|(?!\A)\G)[^%]*%\K", _MARK),
        _drop(_END),
    ]
    for letter in string.ascii_letters:
        number = ord(letter)
        # Nothing that would be part of another code once it is a letter: twice must be once.
        alone = rf"(?<!%{_MARK}?[0-9A-Fa-f]?)(?<!&#[xX]?[0-9A-Fa-f]{{0,6}})"
        steps.append(
            _put(
                rf"{alone}&#(?:0{{0,4}}{number}(?!\d)|[xX]0{{0,4}}(?i:{number:x})(?![0-9A-Fa-f]));?",
                letter,
            )
        )
        percent = rf"%{_MARK}(?i:{number:02x})"
        steps.append(
            _put(
                rf"{percent}(?<!%{_MARK}?[0-9A-Fa-f]?{percent})(?<!&#[xX]?[0-9A-Fa-f]{{0,6}}{percent})",
                letter,
            )
        )
    return [*steps, _drop(_MARK)]


def _rejoined() -> list[normalizers.Normalizer]:
    element = rf"(?:[{_LETTER}]\p{{M}}*|[013457@$])"
    # A hyphen at a line's end, and single signs one blank apart between wider gaps.
    steps = [
        _drop(r"-\r?\n(?<=[a-z]-\r?\n)(?=[a-z])"),
        _drop(r" (?<=(?:\A|\s{2})(?:\S ){1,20})(?=(?:\S ){0,20}\S(?:\s{2}|\z))"),
    ]
    for space, run in ((r"\r\n", 4), (r"\s", 3)):
        separator = rf"[^{_LETTER}\p{{N}}\p{{M}}{space}@${_START}]{{1,3}}"
        # Two letters at least, whatever stands for the others: "c 1 4 7" is no word.
        letters = (
            rf"(?=(?:[013457@$]{separator}){{0,2}}[{_LETTER}]\p{{M}}*{separator}"
            rf"(?:[013457@$]{separator}){{0,2}}[{_LETTER}])"
        )
        # Every element from which a whole run follows is marked, so that no look ahead is longer
        # than the shortest run ...
        follows = rf"{element}(?<s>{separator}){element}(?:\k<s>{element}){{{run - 2}}}(?!{_ALONE})"
        steps.append(_put(rf"(?<!{_ALONE})(?={letters}{follows})", _START))
        # ... and loses the separator behind it; the last one marked loses those of its whole run,
        # one after the other.
        steps += [
            _drop(rf"{_START}{element}{{{count}}}\K{separator}(?={_START}?{element})")
            for count in range(1, run)
        ]
        steps.append(_drop(_START))
    return steps


def _one_alphabet() -> list[normalizers.Normalizer]:
    same, like = exact(), loose()
    either = _class([*same, *like])
    own = rf"(?:[\p{{L}}&&[^{_EVERYDAY}]]|\p{{M}}|{either})"
    # From the start of a word: only letters that could be meant as Latin ones, and two alphabets
    # among them.
    alphabets = (
        "Latin",
        "Greek",
        "Cyrillic",
        "Armenian",
        "Cherokee",
        "Coptic",
        "Lisu",
        "Hebrew",
        "Canadian_Aboriginal",
    )
    two = (
        "|".join(rf"(?=\p{{{name}}})(?={_WORD}*[\p{{L}}&&[^\p{{{name}}}]])" for name in alphabets)
        + rf"|(?={_WORD}*[a-zA-Z])"
    )
    mixed = rf"(?={own}*+(?!{_WORD}))(?:{two})"
    # A lone Greek letter is a symbol.
    lone = _class(letter for letter in same if letter < "\u0370" or letter >= "\u0400")
    whole = (
        rf"(?={_class(same)}(?:{_class(same)}|[a-zA-Z\p{{M}}])+(?!{_WORD})"
        rf"|{lone}\p{{M}}*(?!{_WORD}))"
    )
    genuine = rf"[{_EVERYDAY}&&\p{{L}}&&[^{_class(same)}]](?!{_MARK})"
    telling, other = (
        "[бджлфцщъыэюБДЖЛФЦЩЪЫЭЮγδζθλμξπσφψΓΔΘΛΞΠΣΦΨΩ]",
        rf"[{_EVERYDAY}&&\p{{L}}&&[^\p{{Cyrillic}}\p{{Greek}}]&&[^{either[1:-1]}]]",
    )
    any_ = rf"(?={either}(?:{either}|[a-zA-Z\p{{M}}])*(?!{_WORD}))"
    follow = rf"(?:{_START}|(?!\A)\G)(?:(?!{either}){_WORD})*{either}\K"
    steps = [
        normalizers.NFD(),
        _put(rf"(?<!{_WORD})(?={_WORD}*{either}){mixed}", _START),
        _put(follow, _MARK),
        _drop(_START),
        # The whole text is looked at once, from its start, and the answer handed on from word to
        # word. Beside a word of mixed alphabets words of any look-alikes are believed, unless
        # letters are about that only those who write so use; else of exact ones alone.
        _put(rf"\A(?=[\s\S]*{_MARK})(?![\s\S]*(?:{telling}(?!{_MARK})|{other}))", _END),
        *_handed_on(any_, follow),
        _put(rf"\A(?=[\s\S]*{_class(same)}(?!{_MARK}))(?![\s\S]*{genuine})", _END),
        *_handed_on(whole, follow),
    ]
    letters: dict[str, list[str]] = defaultdict(list)
    for letter, target in [*same.items(), *like.items()]:
        letters[target].append(letter)
    steps += [_put(_class(letters[target]) + _MARK, target) for target in sorted(letters)]
    return [*steps, _drop(_MARK)]


def _handed_on(word: str, follow: str) -> list[normalizers.Normalizer]:
    """From the mark at the text's start: the letters of every word that `word` describes are
    marked.
    """
    starts = _put(rf"(?:\A{_END}|(?!\A)\G)[\s\S]*?(?<!{_WORD})\K{word}", _START)
    return [starts, _put(follow, _MARK), _drop(f"[{_START}{_END}]")]


def _plain_letters() -> list[normalizers.Normalizer]:
    return [
        _drop(
            rf"(?<=[a-zA-Z])\p{{M}}+(?=\p{{L}})|(?<={_ALONE}[a-zA-Z])\p{{M}}+|(?<=[a-zA-Z])\p{{M}}{{2,}}"
        ),
        normalizers.NFC(),
        _drop(r"(?<=[\x00-\x7F])\p{M}+"),
    ]


_ODD = r"_*|~^`·•‧∙\\¦¬"
_DASHES = r"\-\u2010-\u2015\u2212+="
_DOMAIN = r"\.(?:com|co|net|org|biz|info|uk|tv|me|us|eu|ly|de|fr|ru)(?![A-Za-z])"


def _signs() -> list[normalizers.Normalizer]:
    # "now!still" ends a sentence and "info@site" is an address: what tells "w!n" and "c@sh" is a
    # short beginning and one case.
    alike = r"(?:(?<=[a-z].)(?=[a-z])|(?<=[A-Z].)(?=[A-Z]))"
    # Addresses keep their dashes. Distances only shrink when others are dropped, so what is kept
    # once is kept.
    address = rf"(?<!(?:/|www\.)\S{{0,40}})(?![\w\-]{{0,40}}{_DOMAIN})(?![A-Z][a-z])"
    return [
        *_cased(rf"!{alike}(?<![A-Za-z\d]{{4}}!)(?<!\d[A-Za-z]{{0,2}}!)", "i"),
        *_cased(rf"@{alike}(?<![A-Za-z\d]{{5}}@)(?<!\d[A-Za-z]{{0,3}}@)(?![\w\-]*+\.)", "a"),
        *_cased(r"€(?<=[A-Za-z]€)(?=[A-Za-z])", "e"),
        *_cased(rf"€€(?<=[A-Za-z]€€)(?:(?=[A-Za-z])|(?!€|{_ALONE}|\s*+\d))", "ee"),
        # "$ave", "ca$h", "win$", but "US$ 5" and "$5" are money.
        *_cased(
            rf"\$(?:(?<=[A-Za-z]\$)(?=[A-Za-z])|(?<![$@€!]\$|{_ALONE}\$)(?=[A-Za-z])|(?<=[a-z]\$)(?!{_ALONE}|\s*+\d|[$!@€]))",
            "s",
        ),
        _drop(rf"[{_ODD}]{{1,3}}(?<=[A-Za-z][{_ODD}]{{1,3}})(?=[A-Za-z]){address}"),
        # Compounds of longer words are ordinary English.
        _drop(
            rf"[{_DASHES}](?<=[A-Za-z].)(?=[A-Za-z])(?:(?<![A-Za-z]{{4}}.)|(?![A-Za-z]{{4}})){address}"
        ),
    ]


def _cased(pattern: str, letter: str) -> list[normalizers.Normalizer]:
    """Replaced by the capital beside a capital, else by the small letter; `pattern` begins with the
    character itself.
    """
    return [
        _put(rf"{pattern}(?:(?<=[A-Z]{'.' * len(letter)})|(?=[A-Z]))", letter.upper()),
        _put(pattern, letter),
    ]


def _digits() -> list[normalizers.Normalizer]:
    leet, token, edge = "[013457]", r"[A-Za-z\d]", rf"[{_ODD}{_DASHES}@$!€]"
    unit = (
        r"(?:p|pm|am|ppm|pw|pp|pence|mins?|minutes?|hrs?|hours?|days?|weeks?|wks?|months?|mths?"
        r"|st|nd|rd|th|k|x|gb|mb|kb|mp|kg|km|ml|gbp|s)"
    )
    postcode = r"[A-Z]{1,2}\d{1,2}[A-Z]?\d[A-Z]{2}(?![A-Za-z\d])"
    outward = r"[A-Z]{1,2}\d[A-Z] \d[A-Z]{2}(?![A-Za-z\d])"
    word = (
        # No longer than words are, which also bounds the look back below.
        rf"(?={token}{{3,40}}(?!{_ALONE}))(?!{token}*[2689])(?!{token}*\d{{3}})"
        rf"(?!{token}*\d(?i:{unit})(?!{_ALONE}))"
        rf"(?!{postcode}|{outward}|[bB]4|[mM][pP][34]|7[hH][rR]|\d(?:st|nd|rd|th))(?=[A-Za-z]|{leet}[A-Za-z]{{2}}|7[hH]3)"
        # Nothing at an end that the steps before would take for a separator or a sign once the
        # digit is a letter.
        rf"(?!(?<={edge}){leet})(?!{token}*\d?{edge}{{1,3}}{_ALONE})(?!{token}*[$€])"
        rf"(?={token}*[A-Za-z]{leet}{{1,2}}[A-Za-z]|[A-Za-z]+(?:00|33|55)(?!{_ALONE})|[a-z]{{2,}}11(?!{_ALONE})"
        rf"|[a-z]{{2,}}[03](?!{_ALONE})|0[A-Za-z]{{2}}|7[hH][A-Za-z3])"
    )
    steps = [
        # Words without small letters get capitals: the two kinds have marks of their own.
        _put(rf"(?<!{_ALONE}|\$)(?!{token}*[a-z]){word}", _START),
        _put(rf"(?<!{_START}|{_ALONE}|\$){word}", _END),
    ]
    for mark, upper in ((_START, True), (_END, False)):
        for digits, letters in {"11": "ll", "1(?=[yY])": "l", **_LEET}.items():
            steps.append(
                _put(rf"{digits}(?<={mark}{token}{{1,40}})", letters.upper() if upper else letters)
            )
    return [*steps, _drop(f"[{_START}{_END}]")]
