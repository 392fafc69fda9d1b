"""`tamis score` on the command line: files of every kind of model, what is printed, exit codes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests import runs
from tests.runs import tamis

QUICK = ("--processes", "1", "--threads", "1")


def write(path: Path, *rows: list[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [[str(number), f"win a prize now {number}"] for number in range(30)]
    return write(tmp_path / "in.csv", ["id", "text"], *rows)


def test_a_table_is_scored_as_predict_does_and_the_summary_is_printed(
    table: Path, tmp_path: Path
) -> None:
    with table.open("a", encoding="utf-8") as file:
        file.write("30,too,many\n")
    out = tmp_path / "out"
    said = tamis("score", runs.head_model(), table, out, "--json", *QUICK)
    assert said.code == 0, said.err
    printed = json.loads(said.out)
    timing = printed.pop("timing")
    assert printed == json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert timing["rows_this_run"] == 31
    assert (printed["scored"], printed["bad_rows"]) == (30, 1)
    verdicts = tmp_path / "predicted.csv"
    write(
        tmp_path / "good.csv",
        ["id", "text"],
        *[[str(n), f"win a prize now {n}"] for n in range(30)],
    )
    predicted = tamis(
        "predict", runs.head_model(), "--file", tmp_path / "good.csv", "--out", verdicts
    )
    assert predicted.code == 0
    with verdicts.open(encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file))
    with (out / "part-00000.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    for one, other in zip(found, expected, strict=True):
        assert list(one) == list(other)
        for name in ("id", "text", "label", "verdict"):
            assert one[name] == other[name]
        assert float(one["p_spam"]) == pytest.approx(float(other["p_spam"]), abs=1e-5)
    again = tamis("score", runs.head_model(), table, out, *QUICK)
    assert again.code == 1 and "is finished (31 rows)" in again.err


def test_standard_input_and_plain_output(table: Path, tmp_path: Path) -> None:
    said = tamis(
        "score", runs.head_model(), "-", tmp_path / "out", *QUICK, stdin=table.read_bytes()
    )
    assert said.code == 0, said.err
    assert "scored 30 of 30 rows" in said.out and str(tmp_path / "out") in said.out


def test_known_errors_are_one_line_and_leave_no_folder_behind(table: Path, tmp_path: Path) -> None:
    for arguments, words in (
        ((tmp_path / "nothing", table), "does not exist"),
        ((runs.head_model(), tmp_path / "no.csv"), "no.csv"),
        ((runs.head_model(), table, "--text", "body"), "body"),
    ):
        said = tamis("score", *arguments[:2], tmp_path / "out", *arguments[2:], *QUICK)
        assert words in said.error
    said = tamis("score", runs.head_model(), table, tmp_path / "out", "--ray-address", "auto")
    assert said.code == 2 and "--engine ray" in said.err
