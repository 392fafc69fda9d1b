"""Runs a command, kills it at a seeded moment, repeats it, and compares the end with the end of an
undisturbed run.

Half of the moments are operations on files, spread evenly over all of them; the others are points
in time, spread over the whole run, and writes that are cut off in the middle.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors

from tests import runs
from tests.faults.fork_server import COMMAND_LINE, LONGEST

LEFT_OUT = r"^tmp/|^cache/.*\.lock$|^cache/verified/|(^|/)\.[^/]+\.lock$"
"""Temporary files of a killed process, locks in the cache and of downloads, which nobody holds
then, and notes that a file's checksum was seen: a process that finds the file complete takes one,
the process that has just fetched it does not."""

SEEN = "what is seen"
Moment = dict[str, float]
"""When a process is killed, or what fails in it; see fork_server.py."""


@dataclass(frozen=True)
class Work:
    """A command. `{here}` in its arguments is the folder that it works in, new for each kill."""

    arguments: tuple[str, ...]
    program: str = COMMAND_LINE
    before: Callable[[Path], object] = lambda here: None
    """puts what the user gave into the folder"""
    shown: Callable[[str, bytes], bytes] = lambda name, content: content
    """what of a file must be the same after a kill"""
    look: str | None = None
    """program that prints what a user finds in the end; compared as well"""
    whole: Callable[[Path, End], object] = lambda here, end: None
    """asserts what must hold between the kill and the repetition"""
    already: str = r"$^"
    """pattern of the error if nothing is left to be done"""


@dataclass(frozen=True)
class End:
    """How a process ended."""

    code: int
    seconds: float
    out: str
    err: str
    operations: int
    """operations on files, if it was not killed"""

    @property
    def killed(self) -> bool:
        return self.code < 0


class Forks:
    """The client of a fork server."""

    def __init__(self) -> None:
        """Start it."""
        self.modules = ["tamis.cli", "torch", "numpy"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.faults.fork_server import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def run(
        self, work: Work, here: Path, moment: Moment | None = None, *, program: str | None = None
    ) -> End:
        """Run a command in `here` (or another program), ended or disturbed at a moment."""
        order = {
            "program": program or work.program,
            "arguments": [word.format(here=here) for word in work.arguments],
            "folder": str(here),
            "environment": {
                **os.environ,
                "TAMIS_CACHE": str(here / "cache"),
                "TMPDIR": str(here / "tmp"),
            },
            "moment": moment or {},
            "modules": self.modules,
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["code"] != -signal.SIGALRM, f"not ended after {LONGEST} s: {order}"
        facts = json.loads(answer["facts"] or '{"operations": 0, "modules": []}')
        self.modules = facts["modules"]
        return End(
            answer["code"], answer["seconds"], answer["out"], answer["err"], facts["operations"]
        )

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@dataclass(frozen=True)
class Undisturbed:
    """What a command does when nothing disturbs it."""

    state: dict[str, bytes]
    operations: int
    seconds: float
    largest: int
    """bytes of its largest file"""

    @classmethod
    def of(cls, forks: Forks, work: Work, folder: Path) -> Undisturbed:
        """Run a command twice; both ends must be the same, or nothing could be compared."""
        states = []
        for name in ("warm", "measured"):
            here = made(folder / name, work)
            end = forks.run(work, here)
            assert end.code == 0, end.err
            states.append(state_of(forks, work, here))
            largest = max(file.stat().st_size for file in here.rglob("*") if file.is_file())
            shutil.rmtree(here)
        assert differences(*states) == [], "two undisturbed runs differ"
        return cls(states[1], end.operations, end.seconds, largest)

    def moments(self, count: int, seed: int) -> Iterator[Moment]:
        """Yield seeded moments, spread over the life of the process."""
        chance = random.Random(seed)
        operations = (count + 1) // 2
        seconds = (count - operations + 1) // 2
        for place in range(operations):
            share = (place + chance.random()) / operations
            yield {"operation": 1 + int(share * self.operations)}
        for place in range(seconds):
            yield {"seconds": (place + chance.random()) / seconds * self.seconds}
        for _ in range(count - operations - seconds):
            yield {"bytes": int(self.largest ** chance.random())}


def survived(forks: Forks, work: Work, folder: Path, count: int) -> None:
    """Kill a command at `count` moments, repeat it each time, and assert that the end is that of an
    undisturbed run.
    """
    undisturbed = Undisturbed.of(forks, work, folder)
    faults = []
    for number, moment in enumerate(undisturbed.moments(count, seed=count)):
        here = folder / str(number)
        while not (end := forks.run(work, made(here, work), moment)).killed:
            # It was faster this time, or wrote no file as large.
            shutil.rmtree(here)
            name, value = next(iter(moment.items()))
            moment = {name: 0.7 * value if name == "seconds" else value // 2}
        fault = _fault(forks, work, here, end, undisturbed.state)
        faults += [f"{moment}: {fault}"] if fault else []
        shutil.rmtree(here)
    assert not faults, f"{len(faults)} of {count} kills:\n" + "\n".join(faults)


def _fault(
    forks: Forks, work: Work, here: Path, killed: End, state: dict[str, bytes]
) -> str | None:
    """Repeat a killed command; say what is wrong between kill and repetition, or in the end."""
    try:
        no_half_file(here)
        work.whole(here, killed)
    except AssertionError as error:
        return f"after the kill: {error}"
    again = forks.run(work, here)
    if again.code and not re.search(work.already, again.err):
        return f"repeated, it ends with {again.code}: {again.err[-900:]}"
    return ", ".join(differences(state, state_of(forks, work, here))) or None


def no_half_file(here: Path) -> None:
    """Assert that every file with a final name can be read to its end."""
    for name, content in runs.contents(here).items():
        if re.search(LEFT_OUT, name) or re.search(_NOT_FINAL, name):
            continue
        try:
            _READ.get(Path(name).suffix, bytes)(content)
        except Exception as error:
            raise AssertionError(
                f"{name} ({len(content):,} bytes) is incomplete: {error}"
            ) from None


_NOT_FINAL = r"(^|/)\.|\.part$|/history\.jsonl$|/checkpoint/next/"
"""Files that are being written; the history grows line by line while a training goes on."""


def _read_array(content: bytes) -> object:
    return np.load(io.BytesIO(content), allow_pickle=False)


def _read_lines(content: bytes) -> object:
    assert content.endswith(b"\n") or not content, "its last line is cut off"
    return [json.loads(line) for line in content.splitlines()]


def _read_page(content: bytes) -> None:
    assert content.rstrip().endswith(b"</html>"), "its end is missing"


_READ: dict[str, Callable[[bytes], object]] = {
    ".json": json.loads,
    ".jsonl": _read_lines,
    ".toml": lambda content: tomllib.loads(content.decode()),
    ".safetensors": safetensors.deserialize,
    ".npy": _read_array,
    ".npz": _read_array,
    ".html": _read_page,
}


def made(here: Path, work: Work) -> Path:
    """A new folder with what the user gave."""
    (here / "tmp").mkdir(parents=True)
    work.before(here)
    return here


def state_of(forks: Forks, work: Work, here: Path) -> dict[str, bytes]:
    """What must be the same in the end: files, and what the program `look` prints."""
    found = {}
    if work.look is not None:
        seen = forks.run(work, here, program=work.look)
        assert seen.code == 0, seen.err
        found[SEEN] = seen.out.encode()
    contents = runs.contents(here)
    return found | {
        name: work.shown(name, content)
        for name, content in contents.items()
        if not re.search(LEFT_OUT, name)
    }


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """The files that differ, in words, and what is seen."""
    return [
        f"{name} is {'missing' if name not in other else 'new' if name not in one else 'another'}"
        + (f":\n{one[name].decode()}{other[name].decode()}" if name == SEEN else "")
        for name in sorted(one | other)
        if one.get(name) != other.get(name)
    ]
