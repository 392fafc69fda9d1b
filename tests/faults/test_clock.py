"""A clock that is set back or forward in the middle of the work."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tamis.feedback import store as store_module
from tamis.feedback.store import CorrectionStore, NewCorrection
from tests import runs
from tests.faults.kills import Forks, Undisturbed, differences, made, state_of
from tests.faults.test_kill_train import PROGRAM, train

JUMPING = """
import itertools, time
real, days = time.time, itertools.cycle([0, -400, 0, 900, -30])
time.time = lambda: real() + 86400 * next(days)
"""
DURATIONS = re.compile(r"time\.time\(|datetime\.now\(")
DATES = {
    "feedback/history.py": "when a step was learned, for people",
    "feedback/store.py": "when a correction was made, for people",
    "serving/model_registry.py": "when a model was loaded, for people",
    "training/trackers.py": "the time of an MLflow metric",
}
"""Who may ask for the date; durations and ages are measured with a monotonic clock."""


@pytest.mark.parametrize("options", [("--tune", "head"), ("--tune", "full")], ids=["head", "full"])
def test_a_training_under_a_jumping_clock_has_the_same_bytes(
    options: tuple[str, ...], forks: Forks, tmp_path: Path
) -> None:
    work = train(*options)
    whole = Undisturbed.of(forks, work, tmp_path)
    here = made(tmp_path / "here", work)
    end = forks.run(replace(work, program=JUMPING + PROGRAM), here)
    assert end.code == 0, end.err
    assert differences(whole.state, state_of(forks, work, here)) == []
    speeds = [float(speed) for speed in re.findall(r"in (-?[\d.]+) s", end.err)]
    assert all(0 <= seconds < 3600 for seconds in speeds)


def test_the_newest_correction_counts_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        year_now = 2030

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(cls.year_now, 1, 1, tzinfo=tz)

    monkeypatch.setattr(store_module, "datetime", Clock)
    store = CorrectionStore(tmp_path / "s.sqlite")
    store.add([NewCorrection("first", "spam"), NewCorrection("again", "spam")])
    Clock.year_now = 1999
    store.add([NewCorrection("again", "ham"), NewCorrection("last", "spam")])
    found = store.all()
    store.close()
    assert [(item.text, item.label) for item in found] == [
        ("first", "spam"),
        ("again", "ham"),
        ("last", "spam"),
    ]
    assert [item.created[:4] for item in found] == ["2030", "1999", "1999"]


@pytest.mark.parametrize("year", [1971, 2200])
def test_files_with_dates_of_another_time_are_used(year: int, tmp_path: Path) -> None:
    """Features in the cache, and a run."""
    run = runs.copy_of(runs.finished_run(), tmp_path / "run")
    stamp = datetime(year, 1, 1, tzinfo=UTC).timestamp()
    expected = runs.tamis("predict", run, "hello", "--json").out
    for file in [*run.rglob("*"), *Path(os.environ["TAMIS_CACHE"]).rglob("*")]:
        os.utime(file, (stamp, stamp))
    assert runs.tamis("predict", run, "hello", "--json").out == expected


def test_no_duration_is_measured_with_the_date() -> None:
    root = Path(__file__).parents[2] / "src" / "tamis"
    found = {
        file.relative_to(root).as_posix()
        for file in root.rglob("*.py")
        if DURATIONS.search(file.read_text(encoding="utf-8"))
    }
    assert found == set(DATES)
