"""A disk that is full or may not be written: one line that says so, nothing half-written, and the
same command ends like an undisturbed one once there is room.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import runs
from tests.faults.kills import (
    Forks,
    Moment,
    Undisturbed,
    Work,
    differences,
    made,
    no_half_file,
    state_of,
)
from tests.faults.test_kill_export import export
from tests.faults.test_kill_learn import learn
from tests.faults.test_kill_pretrain import pretrain
from tests.faults.test_kill_score import score
from tests.faults.test_kill_train import train

WORKS: dict[str, Callable[[], Work]] = {
    "train": lambda: train("--tune", "full"),
    "pretrain": pretrain,
    "score": score,
    "export": export,
    "learn": learn,
}
SHARES = {"few": (0.1, 0.6, 0.95), "many": (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)}


NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name == "score")) for name in WORKS]


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_costs_nothing_that_was_there(
    name: str, forks: Forks, thorough: bool, tmp_path: Path
) -> None:
    if name == "export":
        pytest.importorskip("onnx")
    work = WORKS[name]()
    undisturbed = Undisturbed.of(forks, work, tmp_path)
    shares = SHARES["many" if thorough else "few"]
    moments: list[Moment] = [{"bytes_fail": int(undisturbed.largest**share)} for share in shares]
    if name != "learn":  # SQLite writes by itself
        moments += [{"no_space": 1 + int(share * undisturbed.operations)} for share in shares]
    faults = []
    for number, moment in enumerate(moments):
        here = made(tmp_path / str(number), work)
        if fault := _fault(forks, work, here, moment, undisturbed.state):
            faults.append(f"{moment}: {fault}")
    assert not faults, "\n".join(faults)


def _fault(
    forks: Forks, work: Work, here: Path, moment: Moment, state: dict[str, bytes]
) -> str | None:
    end = forks.run(work, here, moment)
    lines = [line for line in end.err.splitlines() if line.startswith("tamis: ")]
    if end.code not in (0, 1) or (end.code == 1 and len(lines) != 1) or "Traceback" in end.err:
        return f"ends with {end.code}: {end.err[-900:]}"
    try:
        no_half_file(here)
    except AssertionError as error:
        return str(error)
    if end.code == 1:
        end = forks.run(work, here)
    if end.code:
        return f"with room again, it ends with {end.code}: {end.err[-900:]}"
    return ", ".join(differences(state, state_of(forks, work, here))) or None


@pytest.mark.parametrize("name", NAMES)
def test_where_nothing_may_be_written_nothing_changes(
    name: str, forks: Forks, tmp_path: Path
) -> None:
    if name == "export":
        pytest.importorskip("onnx")
    work = WORKS[name]()
    here = made(tmp_path / "here", work)
    before = runs.contents(here)
    end = forks.run(work, here, {"read_only": 1})
    if name != "learn":  # SQLite writes by itself
        lines = [line for line in end.err.splitlines() if line.startswith("tamis: ")]
        assert end.code == 1 and len(lines) == 1 and "Traceback" not in end.err, end
        assert runs.contents(here) == before


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 KB, if this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if os.name != "posix" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_training_on_a_disk_that_is_too_small_goes_on_when_there_is_room(
    little_disk: Path, forks: Forks, tmp_path: Path
) -> None:
    work = train("--tune", "full")
    whole = Undisturbed.of(forks, work, tmp_path)
    here = made(little_disk / "here", work)
    end = forks.run(work, here)
    said = [line for line in end.err.splitlines() if line.startswith("tamis: ")]
    assert end.code == 1 and len(said) == 1 and "No space left" in said[0], end
    subprocess.run(["mount", "-o", "remount,size=100m", str(little_disk)], check=True)
    assert forks.run(work, here).code == 0
    assert differences(whole.state, state_of(forks, work, here)) == []


def test_a_run_on_a_read_only_disk_predicts_and_is_not_trained(
    little_disk: Path, forks: Forks
) -> None:
    subprocess.run(["mount", "-o", "remount,size=100m", str(little_disk)], check=True)
    work = train("--tune", "head")
    here = made(little_disk / "here", work)
    assert forks.run(work, here).code == 0
    subprocess.run(["mount", "-o", "remount,ro", str(little_disk)], check=True)
    before = runs.contents(here)
    predicted = forks.run(Work(("predict", "{here}/run", "hello")), here)
    assert predicted.code == 0 and predicted.out, predicted
    again = forks.run(train("--tune", "head", "--overwrite"), here)
    said = [line for line in again.err.splitlines() if line.startswith("tamis: ")]
    assert again.code == 1 and len(said) == 1 and "Read-only file system" in said[0], again
    assert runs.contents(here) == before
