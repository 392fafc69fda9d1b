"""The table of homoglyphs: made from Unicode's, and blind to scripts in which it would do harm."""

from __future__ import annotations

import runpy
import unicodedata
from pathlib import Path

import pytest

from tamis.text.confusables import exact, loose
from tamis.text.normalizer import robust_normalizer

ROOT = Path(__file__).resolve().parents[2]


def test_the_file_is_the_one_that_the_script_writes() -> None:
    pytest.importorskip("confusable_homoglyphs")
    script = runpy.run_path(str(ROOT / "docs" / "make_confusables.py"))
    assert script["TARGET"].read_text(encoding="utf-8") == script["page"](), (
        "run: python docs/make_confusables.py"
    )


def test_letters_of_unicodes_table_are_known() -> None:
    tables = exact() | loose()
    for letter, target in {"а": "a", "Ꭹ": "Y", "𐊡": "B", "Ӏ": "I", "ӏ": "l", "ꓲ": "I"}.items():
        assert tables[letter] == target, unicodedata.name(letter)


def test_letters_of_which_ordinary_words_consist_are_loose() -> None:
    assert {"α": "a", "γ": "y", "г": "r", "ա": "w", "գ": "q"}.items() <= loose().items()
    assert exact()["ց"] == "g"


@pytest.mark.parametrize(
    "text",
    [
        "ყოფა და ყინვა",  # Georgian
        "ဝ ဝယ်",  # Burmese
        "ሀ ሀገር",  # Ethiopic
        "ⵏ ⵔ ⵏⵏⵔ",  # Tifinagh
        "ठ ०५ ഠ ଠ",  # digits and letters of Indian scripts
        "ǀXam",  # a click
        "5 × 3 = 15",
        "Привет, как дела?",
        "Γεια σου, τι κάνεις;",
        "Բարի լույս, գնաց գիրք",
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    once = unicodedata.normalize("NFC", text)
    assert robust_normalizer().normalize_str(once) == once
