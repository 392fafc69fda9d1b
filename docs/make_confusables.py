"""Write src/tamis/text/confusables.tsv from Unicode's table of confusable characters.

The table comes with the package confusable-homoglyphs, which the extra `dev` installs; tamis reads
only the file written here. Run: python docs/make_confusables.py (a test checks that the file is up
to date).
"""

from __future__ import annotations

import importlib.metadata
import json
import string
import unicodedata
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src" / "tamis" / "text" / "confusables.tsv"
PACKAGE = "confusable-homoglyphs"
UNICODE = "15.1"
"""Version of Unicode's confusables.txt (UTS 39) in the pinned version of the package."""
SCRIPTS = (
    "LATIN GREEK CYRILLIC ARMENIAN CHEROKEE LISU COPTIC CANADIAN DESERET OSAGE ELBASAN "
    "LYCIAN CARIAN RUNIC"
).split()
"""First words of the names of the letters that are taken, and `OLD ITALIC`. Letters of other
scripts stay out: a Georgian, Burmese or Ethiopic word of nothing but such letters is that word."""
LEFT_OUT = {"\u01c0"}
"""A click, a letter of Khoisan languages: "\u01c0Xam" is a name."""


def homoglyphs() -> dict[str, str]:
    """Single letters that look like an ASCII letter and that NFKC does not change."""
    package = importlib.metadata.distribution(PACKAGE)
    path = Path(str(package.locate_file("confusable_homoglyphs/confusables.json")))
    table = json.loads(path.read_text(encoding="utf-8"))
    found = {}
    for target in string.ascii_letters:
        for entry in table.get(target, ()):
            letter = entry["c"]
            if len(letter) == 1 and letter not in LEFT_OUT and _is_taken(letter):
                found[letter] = _with_capital_i(letter, target)
    return dict(sorted(found.items()))


def _is_taken(letter: str) -> bool:
    name = unicodedata.name(letter, "")
    return (
        not letter.isascii()
        and unicodedata.category(letter).startswith("L")
        and unicodedata.normalize("NFKC", letter) == letter
        and (name.split(" ")[0] in SCRIPTS or name.startswith("OLD ITALIC"))
    )


def _with_capital_i(letter: str, target: str) -> str:
    """Unicode's table does not distinguish "I" from "l": a capital letter, or one that is called I,
    is an "I".
    """
    is_i = unicodedata.category(letter) == "Lu" or unicodedata.name(letter).endswith(" I")
    return "I" if target == "l" and is_i else target


def page() -> str:
    """The content of the file."""
    version = importlib.metadata.version(PACKAGE)
    lines = [
        "# Letters that look like ASCII letters: code point, ASCII letter, name.",
        f"# Source: confusables.txt of Unicode {UNICODE} (UTS 39), from {PACKAGE} {version}.",
        "# Written by docs/make_confusables.py; do not edit.",
    ]
    lines += [
        f"{ord(letter):04X}\t{target}\t{unicodedata.name(letter)}"
        for letter, target in homoglyphs().items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
