"""Trainings by two versions in turn: what is measured, and the ratios."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.speed import against
from benchmarks.speed.against import (
    OURS,
    THEIRS,
    Measured,
    kept_speed,
    ratios,
    read,
    table,
    trained,
)

PACKAGE = """import json, os, sys, time
run = sys.argv[sys.argv.index("-o") + 1]
time.sleep({seconds})
os.mkdir(run)
json.dump({{"test": {{"f1": {f1}, "accuracy": 0.5, "n": 3}}}}, open(run + "/report.json", "w"))
if "--fail" in sys.argv: sys.exit("no such option")
"""


def version(place: Path, seconds: float, f1: float) -> Path:
    package = place / "tamis"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PACKAGE.format(seconds=seconds, f1=f1))
    return place


def measured(side: str, number: int, busy: int, seconds: float) -> Measured:
    return Measured(side, number, busy, seconds, {}, [])


def test_ratios_are_within_a_round_and_a_load() -> None:
    rows = [
        *(measured(THEIRS, n, 0, s) for n, s in enumerate((20.0, 30.0, 60.0))),
        *(measured(OURS, n, 0, s) for n, s in enumerate((10.0, 10.0, 15.0))),
        measured(THEIRS, 0, 1, 80.0),
        measured(OURS, 0, 1, 16.0),
        measured(THEIRS, 1, 1, 80.0),  # ours was not measured in this round
    ]
    assert list(ratios(rows)) == [(0, 3.0, [2.0, 3.0, 4.0]), (1, 5.0, [5.0])]
    assert list(kept_speed(rows, OURS)) == [(1, 10 / 16)]
    assert list(kept_speed(rows, THEIRS)) == [(1, (20 / 80 + 30 / 80) / 2)]


def test_the_table_has_medians_of_what_was_measured() -> None:
    rows = [
        measured(side, number, busy, seconds * (1 + busy))
        for busy in (0, 1)
        for number, factor in enumerate((1.0, 3.0, 2.0))
        for side, seconds in ((THEIRS, 20.0 * factor), (OURS, 5.0 * factor))
    ]
    *_, idle, taken = table(rows).splitlines()
    assert idle == "| 0 | 3 | 40.0 | 10.0 | 4.00 |  |  |"
    assert taken == "| 1 | 3 | 80.0 | 20.0 | 4.00 | 50% | 50% |"


def test_both_versions_train_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = version(tmp_path / "other", 0.4, 0.25)
    monkeypatch.setattr(against, "HERE", version(tmp_path / "here", 0.0, 0.75))
    out, table = tmp_path / "out.jsonl", tmp_path / "rows.csv"
    table.write_text("label,text\n")
    options = ["--rounds", "2", "--busy", "0", "1", "--both=--seed 7", "--theirs=--tune full"]
    against.main([str(other), str(table), "--out", str(out), *options])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["round"], row["busy"], row["side"]) for row in rows] == [
        (number, busy, side) for number in (0, 1) for busy in (0, 1) for side in (THEIRS, OURS)
    ]
    assert [row.seconds for row in read(out)] == [row["seconds"] for row in rows]
    assert rows[0]["options"] == ["--seed", "7", "--tune", "full"]
    assert rows[1]["options"] == ["--seed", "7"]
    assert rows[0]["figures"] == {"f1": 0.25, "accuracy": 0.5}
    assert rows[1]["figures"]["f1"] == 0.75
    assert all(row["seconds"] > 0.4 for row in rows if row["side"] == THEIRS)
    shown = capsys.readouterr().out
    assert "0 busy: theirs / ours" in shown and "1 busy: ours keeps" in shown


def test_a_version_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)tamis train rows\.csv.*no such option"):
        trained(version(tmp_path / "other", 0, 0.5), "rows.csv", ["--fail"])
