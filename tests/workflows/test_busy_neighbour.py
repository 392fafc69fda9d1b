"""The busy neighbour is there during the block, takes processor time, and ends with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.speed.neighbour import IDLE, TAKEN, loads
from tamis.workflows import busy_neighbour as module
from tamis.workflows.busy_neighbour import busy_cores, busy_neighbour

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def children() -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # the process has just ended
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def processor_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@linux
def test_a_neighbour_uses_processor_time_and_ends_with_the_block() -> None:
    before = set(children())
    with busy_neighbour(2):
        mine = set(children()) - before
        assert len(mine) == 2
        end = time.monotonic() + 20.0
        while min(map(processor_s, mine)) < 0.1 and time.monotonic() < end:
            time.sleep(0.05)
        assert min(map(processor_s, mine)) >= 0.1
    assert not set(children()) & mine


@linux
def test_a_neighbour_ends_when_the_measuring_process_is_killed() -> None:
    code = (
        "import subprocess, time\n"
        "from tamis.workflows.busy_neighbour import busy_neighbour\n"
        "with busy_neighbour():\n"
        "    print(open('/proc/self/task/%d/children' % __import__('os').getpid()).read())\n"
        "    import sys; sys.stdout.flush(); time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    neighbour = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    end = time.monotonic() + 20.0
    while Path(f"/proc/{neighbour}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{neighbour}").exists()


def test_busy_cores_are_ticks_over_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stat, second = tmp_path / "stat", os.sysconf("SC_CLK_TCK")
    texts = iter(
        [
            "cpu  100 10 20 5000 7 3 2 0 0 0\n",
            f"cpu  {100 + second} 10 20 9000 9 3 2 0 0 0\n",  # one core, one second; idle grew
        ]
    )
    clock = iter([0.0, 2.0])

    class Stat:
        def read_text(self, encoding: str) -> str:
            return next(texts)

    monkeypatch.setattr(module, "PROC_STAT", Stat())
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert busy_cores(0.0) == pytest.approx(0.5)
    monkeypatch.setattr(module, "PROC_STAT", stat)  # no such file: another system
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    assert busy_cores(0.0) is None


def test_the_option_adds_a_second_load() -> None:
    assert [name for name, _ in loads(False)] == [IDLE]
    assert [name for name, _ in loads(True)] == [IDLE, TAKEN]
