r"""The robust normalizer: undoes homoglyphs and obfuscation before tokenization.

Every step can be stored in `tokenizer.json`, so transformers normalizes in the same way. Owns the
rules; confusables.py owns the table of homoglyphs. Not undone, because ordinary messages often
contain them: "b4", "gr8", "2nite", "fr.ee" (as in "home.dont"), misspellings and capitals. Sources:
Unicode UAX 15 (NFKC), UAX 44 (Default_Ignorable_Code_Point); Oniguruma's RE document (`\G`,
`\K`).
"""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Iterable

from tokenizers import Regex, normalizers

from tamis.text.confusables import exact, loose

# Noncharacters, which no valid text contains (any present are dropped first). A step leaves them as
# marks for later steps.
_MARK, _START, _END = "\ufdd0", "\ufdd1", "\ufdd2"
# Two kinds of sign always represent a letter and are treated as letters: negative circled or
# squared letters, and the estimated sign.
_LETTER = r"\p{L}\x{212E}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}"
_WORD = rf"[{_LETTER}\p{{M}}]"
_ALONE = rf"[{_LETTER}\p{{M}}\p{{N}}]"
_LEET = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t"}
# Alphabets in which people write messages. A letter of one of them that resembles no Latin letter
# shows that the text is really written in that alphabet.
_EVERYDAY = (
    r"\p{Cyrillic}\p{Greek}\p{Armenian}\p{Hebrew}\p{Arabic}\p{Han}\p{Hiragana}\p{Katakana}"
    r"\p{Hangul}\p{Thai}\p{Devanagari}"
)


def robust_normalizer() -> normalizers.Normalizer:
    """Return the normalizer; applying it twice equals applying it once, in linear time.

    The steps, in order:

    1. Replace compatibility forms by their letters (full-width, mathematical, circled), and drop
    invisible characters. Also decode letters written as regional indicators (if they cannot all be
    flags), as character references ("&#102;"), or as percent codes inside words.
    2. Join letters that are written one by one: four or more with the same separator ("f r e e"),
    three if the separator is not white space ("w.i.n"), any number between wider gaps ("i s f r e
    e").
    3. Replace homoglyphs by ASCII letters in words that mix alphabets. If there is such a word,
    also in words of only homoglyphs, unless other letters show that the text uses that alphabet.
    Words of only exact homoglyphs are replaced whenever no letter shows that the alphabet is really
    used.
    4. Remove accents from Latin letters in words of more than one letter, so that a single "ü"
    stays.
    5. Replace "@", "$", "!", "€" by letters inside words; then remove separators inside words
    ("fr-ee", "fr|ee"), unless a capitalized word follows.
    6. Replace digits by letters inside words ("fr33", "w1n"), except in words that have other
    digits, a unit, or the form of a postcode.
    """
    return normalizers.Sequence(
        [*_visible(), *_rejoined(), *_one_alphabet(), *_plain_letters(), *_signs(), *_digits()]
    )


def _drop(pattern: str) -> normalizers.Normalizer:
    return normalizers.Replace(Regex(pattern), "")


def _put(pattern: str, content: str) -> normalizers.Normalizer:
    return normalizers.Replace(Regex(pattern), content)


def _class(letters: Iterable[str]) -> str:
    r"""Return a character class of exactly these letters, with ranges for consecutive ones."""
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
    # Default-ignorable characters outside category Cf, blank letters, and control characters other
    # than white space.
    blank = (
        r"\x{34F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{2800}\x{3164}"
        r"\x{FE00}-\x{FE0F}\x{FFA0}\x{1D159}\x{E0000}-\x{E0FFF}"
    )
    # Of the upper control characters, only those that are undefined in cp1252 too: \x92 is an
    # apostrophe that was decoded wrongly.
    control = r"\x{0}-\x{8}\x{E}-\x{1F}\x{7F}\x{81}\x{8D}\x{8F}\x{90}\x{9D}"
    return [
        # NFKC would turn the lunate sigma into a sigma, but outside Greek words it is used as "c";
        # the Cyrillic one is left to the next steps.
        *(
            _put(rf"{lunate}(?<!\p{{Greek}}.)(?!\p{{Greek}})", letter)
            for lunate, letter in (("\u03f2", "\u0441"), ("\u03f9", "\u0421"))
        ),
        # NFKC would add parentheses to these.
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
        # Dropping can bring the parts of a character together ("e", a joiner, an accent). What NFKC
        # does not join then is decoration.
        normalizers.NFKC(),
        _drop(r"(?<=[\x00-\x7F])\p{M}+"),
    ]


def _regional() -> list[normalizers.Normalizer]:
    # Flags are pairs, so a run of odd length cannot be flags only. If there is such a run, all runs
    # are read as letters.
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
    # A percent code next to a letter shows that the text is percent-encoded; then every code of a
    # letter is decoded.
    code = "%(?:[46][1-9A-Fa-f]|[57][0-9Aa])"
    steps = [
        _put(rf"\A(?=[\s\S]*?(?:[A-Za-z]{code}|{code}[A-Za-z]))", _END),
        _put(rf"(?:\A{_END}|(?!\A)\G)[^%]*%\K", _MARK),
        _drop(_END),
    ]
    for letter in string.ascii_letters:
        number = ord(letter)
        # Not decoded if the letter would become part of another code: normalizing twice must equal
        # normalizing once.
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
    # A hyphen at the end of a line, and single signs separated by one blank between wider gaps.
    steps = [
        _drop(r"-\r?\n(?<=[a-z]-\r?\n)(?=[a-z])"),
        _drop(r" (?<=(?:\A|\s{2})(?:\S ){1,20})(?=(?:\S ){0,20}\S(?:\s{2}|\z))"),
    ]
    for space, run in ((r"\r\n", 4), (r"\s", 3)):
        separator = rf"[^{_LETTER}\p{{N}}\p{{M}}{space}@${_START}]{{1,3}}"
        # At least two letters, whatever represents the others: "c 1 4 7" is not a word.
        letters = (
            rf"(?=(?:[013457@$]{separator}){{0,2}}[{_LETTER}]\p{{M}}*{separator}"
            rf"(?:[013457@$]{separator}){{0,2}}[{_LETTER}])"
        )
        # Mark every element that a whole run follows, so that no lookahead is longer than the
        # shortest run ...
        follows = rf"{element}(?<s>{separator}){element}(?:\k<s>{element}){{{run - 2}}}(?!{_ALONE})"
        steps.append(_put(rf"(?<!{_ALONE})(?={letters}{follows})", _START))
        # ... then remove the separator after each mark; the last mark removes those of its whole
        # run, one by one.
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
    # From the start of a word: only letters that may represent Latin ones, from at least two
    # alphabets.
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
    # A single Greek letter is a symbol.
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
        # The whole text is examined once, at its start, and the result is passed from word to word.
        # In a text with a word of mixed alphabets, words of any homoglyphs are replaced, unless
        # other letters show that the text uses that alphabet; otherwise only words of exact
        # homoglyphs.
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
    """Mark the letters of every word that `word` describes, from the text's start mark on."""
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
    # "now!still" ends a sentence and "info@site" is an address. "w!n" and "c@sh" differ by a short
    # beginning and a single case.
    alike = r"(?:(?<=[a-z].)(?=[a-z])|(?<=[A-Z].)(?=[A-Z]))"
    # Addresses keep their dashes. Dropping others only shortens distances, so what is kept once is
    # always kept.
    address = rf"(?<!(?:/|www\.)\S{{0,40}})(?![\w\-]{{0,40}}{_DOMAIN})(?![A-Z][a-z])"
    return [
        *_cased(rf"!{alike}(?<![A-Za-z\d]{{4}}!)(?<!\d[A-Za-z]{{0,2}}!)", "i"),
        *_cased(rf"@{alike}(?<![A-Za-z\d]{{5}}@)(?<!\d[A-Za-z]{{0,3}}@)(?![\w\-]*+\.)", "a"),
        *_cased(r"€(?<=[A-Za-z]€)(?=[A-Za-z])", "e"),
        *_cased(rf"€€(?<=[A-Za-z]€€)(?:(?=[A-Za-z])|(?!€|{_ALONE}|\s*+\d))", "ee"),
        # "$ave", "ca$h" and "win$" are words; "US$ 5" and "$5" are money.
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
    """Replace by a capital next to a capital, else by a small letter.

    `pattern` begins with the character itself.
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
        # No longer than words are; this also bounds the lookbehind below.
        rf"(?={token}{{3,40}}(?!{_ALONE}))(?!{token}*[2689])(?!{token}*\d{{3}})"
        rf"(?!{token}*\d(?i:{unit})(?!{_ALONE}))"
        rf"(?!{postcode}|{outward}|[bB]4|[mM][pP][34]|7[hH][rR]|\d(?:st|nd|rd|th))(?=[A-Za-z]|{leet}[A-Za-z]{{2}}|7[hH]3)"
        # Not at an end where the earlier steps would read it as a separator or a sign, once the
        # digit is a letter.
        rf"(?!(?<={edge}){leet})(?!{token}*\d?{edge}{{1,3}}{_ALONE})(?!{token}*[$€])"
        rf"(?={token}*[A-Za-z]{leet}{{1,2}}[A-Za-z]|[A-Za-z]+(?:00|33|55)(?!{_ALONE})|[a-z]{{2,}}11(?!{_ALONE})"
        rf"|[a-z]{{2,}}[03](?!{_ALONE})|0[A-Za-z]{{2}}|7[hH][A-Za-z3])"
    )
    steps = [
        # Words without small letters get capitals: each case has its own marks.
        _put(rf"(?<!{_ALONE}|\$)(?!{token}*[a-z]){word}", _START),
        _put(rf"(?<!{_START}|{_ALONE}|\$){word}", _END),
    ]
    for mark, upper in ((_START, True), (_END, False)):
        for digits, letters in {"11": "ll", "1(?=[yY])": "l", **_LEET}.items():
            steps.append(
                _put(rf"{digits}(?<={mark}{token}{{1,40}})", letters.upper() if upper else letters)
            )
    return [*steps, _drop(f"[{_START}{_END}]")]
