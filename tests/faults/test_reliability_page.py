"""The page on reliability names tests that exist, and every test of faults."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "explanation" / "reliability.md"


def test_the_page_names_the_tests_of_faults() -> None:
    named = set(re.findall(r"`((?:faults/)?test_\w+\.py)`", PAGE.read_text(encoding="utf-8")))
    there = {f"faults/{file.name}" for file in (TESTS / "faults").glob("test_*.py")}
    assert named == there - {"faults/test_reliability_page.py"} | {"test_files.py"}
