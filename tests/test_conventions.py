"""docs/reference/conventions.md: every convention has a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "conventions.md"
HEADER = ["convention", "library", "how tamis meets it", "test"]


def rows() -> list[list[str]]:
    """The cells of every line of every table on the page that has `HEADER`."""
    tables = re.findall(
        r"^\| convention \|.*\n\|[-|]+\|\n((?:\|.*\n)+)",
        PAGE.read_text("utf-8"),
        flags=re.MULTILINE,
    )
    lines = [line for table in tables for line in table.splitlines()]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines
    ]


def problem(cells: list[str]) -> str | None:
    """What is wrong with a row; None where it is as it should be."""
    if len(cells) != len(HEADER) or not all(cells):
        return f"expected {len(HEADER)} cells, none of them empty, got {cells}"
    named = re.findall(r"`([^`]+)`", cells[-1])
    if not named or re.sub(r"`[^`]+`|[,\s]", "", cells[-1]):
        return f"expected tests in backticks, separated by commas, got {cells[-1]!r}"
    for name in named:
        file, _, function = name.partition("::")
        if not (ROOT / file).is_file():
            return f"{file} does not exist"
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        if not function.startswith("test_") or function not in defined:
            return f"{file} has no test {function!r}"
    return None


def test_every_convention_names_tests_that_exist() -> None:
    found = rows()
    assert len(found) >= 5
    wrong = [f"{cells[0]}: {told}" for cells in found if (told := problem(cells))]
    assert not wrong, "\n".join(wrong)


def test_no_convention_stands_there_twice() -> None:
    named = [(cells[0], cells[1]) for cells in rows()]
    assert len(set(named)) == len(named)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["a", "b", "c"], "expected 4 cells"),
        (["a", "b", "", "`tests/test_docs.py::test_x`"], "expected 4 cells"),
        (["a", "b", "c", "by hand"], "expected tests in backticks"),
        (["a", "b", "c", "`tests/nothing.py::test_x`"], "does not exist"),
        (["a", "b", "c", "`tests/test_conventions.py::test_x`"], "has no test 'test_x'"),
        (["a", "b", "c", "`tests/test_conventions.py::problem`"], "has no test 'problem'"),
    ],
)
def test_a_row_without_a_test_is_noticed(cells: list[str], told: str) -> None:
    assert told in (problem(cells) or "")
