"""`tamis train`, killed at any moment and repeated, ends with the files of an undisturbed run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import runs
from tests.faults.kills import Forks, Work, survived
from tests.rows import messages

ROWS = 48
PROGRAM = """
import tamis.workflows.results as results
from tamis.training import checkpoint
results.write_all = lambda *positional, **named: {}
checkpoint.EVERY_S = 0.0
from tamis.cli import main
main()
"""
"""Without plots, which take longer than all other files together. A state after every step."""
SETTINGS = ("data.validation_share=0.3", "train.epochs=3", "train.learning_rate=0.01")


def same_report(name: str, content: bytes) -> bytes:
    """A report without what was measured with a clock; every other file as it is."""
    if name.endswith("report.html"):
        return b""
    if not name.endswith("report.json"):
        return content
    report = json.loads(content)
    del report["timing"]
    return json.dumps(report).encode()


def train(*options: str) -> Work:
    return Work(
        (
            *("train", "{here}/messages.tsv", "--backbone", "scratch:tiny", "--threads", "1"),
            *(word for setting in SETTINGS for word in ("--set", setting)),
            *options,
            *("-o", "{here}/run"),
        ),
        program=PROGRAM,
        before=lambda here: runs.write_table(here / "messages.tsv", messages()[:ROWS]),
        shown=same_report,
        already="contains a finished run",
    )


@pytest.mark.parametrize(
    "options",
    [
        ("--tune", "head"),
        ("--tune", "full"),
        ("--tune", "blocks:1"),
        ("--tune", "lora:2"),
    ],
    ids=["head", "quick-then-full", "blocks", "lora"],
)
def test_a_killed_training_ends_like_an_undisturbed_one(
    options: tuple[str, ...], forks: Forks, kills: int, tmp_path: Path
) -> None:
    survived(forks, train(*options), tmp_path, kills)
