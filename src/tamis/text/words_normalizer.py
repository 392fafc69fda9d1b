r"""The words-only normalizer: lower case, letters only, single spaces.

A classifier learns digits, capitals, links and punctuation as features, and these differ between
kinds of text: what marks spam among text messages is ordinary in e-mails. A model that reads only
words carries over better; in its own kind of text it gives up what the rest would tell.

The steps are `tokenizers` normalizers that `tokenizer.json` can store, and their patterns mean the
same in Oniguruma and in JavaScript. Sources: Unicode UAX 15 (NFKC), UAX 44 (general categories);
the Unicode case folding for the final sigma.
"""

from __future__ import annotations

from tokenizers import Regex, normalizers

# Default-ignorable characters outside category Cf, and blank characters that count as letters.
_INVISIBLE = "[\\p{Cf}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0]+"
# The typewriter apostrophe, both quotation marks, and the letters of Unicode that look like them.
_APOSTROPHE = "['\u2018\u2019\u02b9\u02bb-\u02bd]"


def words_normalizer() -> normalizers.Normalizer:
    r"""Return the normalizer; applying it twice equals applying it once, in linear time.

    The steps, in order:

    1. Drop invisible characters and replace compatibility forms by their letters (full-width,
    circled, ligatures).
    2. Convert to lower case, the final sigma and the dotted I of Turkish as everywhere else in a
    word.
    3. Drop an apostrophe between two letters ("don't" becomes "dont", as in text messages).
    4. Replace everything that is no letter, and marks on such characters, by one space, and drop
    spaces at both ends. The combining marks of letters stay. A digit parts a word ("2nite" becomes
    "nite").

    A text without letters becomes empty.
    """
    return normalizers.Sequence(
        [
            normalizers.Replace(Regex(_INVISIBLE), ""),
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex("\u03c2"), "\u03c3"),
            normalizers.Replace(Regex("i\u0307"), "i"),
            normalizers.NFC(),
            normalizers.Replace(Regex(rf"(?<=[\p{{L}}\p{{M}}]){_APOSTROPHE}(?=\p{{L}})"), ""),
            normalizers.Replace(Regex(_APOSTROPHE), " "),
            normalizers.Replace(Regex(r"^\p{M}+|(?:[^\p{L}\p{M}]\p{M}*)+"), " "),
            normalizers.Strip(),
        ]
    )
