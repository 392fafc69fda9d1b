"""`tamis train` and `tamis pretrain` started by torchrun: the files of one process, whatever is
killed on the way.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests import runs
from tests.training.pretraining import small

pytestmark = pytest.mark.slow

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts=3"]
SLOWED = """
import sys, time
import tamis.training.checkpoint, tamis.training.pretraining.checkpoint
from tamis.training.loop import Training
from tamis.training.pretraining.loop import Pretraining
if "{seconds}" != "0":
    tamis.training.checkpoint.EVERY_S = tamis.training.pretraining.checkpoint.EVERY_S = 0.0
    for kind in (Training, Pretraining):
        def slowly(self, *rest, step=kind.train_step):
            time.sleep({seconds})
            return step(self, *rest)
        kind.train_step = slowly
from tamis.cli import main
main()
"""
"""A state after every step, and steps slow enough for a signal to find one under way."""
OPTIONS = (
    *("--backbone", "scratch:tiny", "--threads", "1", "--device", "cpu"),
    *("--set", "train.epochs=2", "--set", "train.learning_rate=1e-3"),
    *("--set", "data.validation_share=0.3", "--set", "train.batch_rows=8"),
)


def started(
    folder: Path, *arguments: str | Path, count: int = 2, seconds: float = 0.0
) -> subprocess.Popen[bytes]:
    """torchrun with `count` processes of the command, in a process group of its own."""
    program = folder / "program.py"
    program.write_text(SLOWED.format(seconds=seconds), encoding="utf-8")
    return subprocess.Popen(
        [*TORCHRUN, f"--nproc-per-node={count}", str(program), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[bytes], timeout: float = 500) -> runs.Said:
    """What it answered; everything that it started is gone."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return runs.Said(process.returncode, out.decode(), err.decode())


def processes_of(torchrun: subprocess.Popen[bytes]) -> dict[int, int]:
    """Process ids of the processes that torchrun started, by their rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent != torchrun.pid:
                continue
            told = dict(
                pair.split("=", 1)
                for pair in (path / "environ").read_bytes().decode().split("\0")
                if "=" in pair
            )
            if "RANK" in told:
                found[int(told["RANK"])] = int(path.name)
    return found


def waited_for(path: Path, process: subprocess.Popen[bytes], timeout: float = 300) -> None:
    """Wait until a file exists, or the process has ended."""
    deadline = time.monotonic() + timeout
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def model(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def own(said: runs.Said) -> list[str]:
    """What the command said itself, without torchrun's lines."""
    foreign = ("W1", "E1", "I1", "[W", "[E", "*****", "Setting OMP", "Traceback", " ", "torch.")
    return [line for line in said.err.splitlines() if line and not line.startswith(foreign)]


TUNES: dict[str, Sequence[str]] = {
    "dropout": ("--tune", "full", "--set", "train.lm_loss_weight=0.2"),
    "full": ("--tune", "full", "--set", "train.token_dropout=0", "--set", "train.dropout=0"),
    "lora": ("--tune", "lora:2"),
    "folds": ("--tune", "blocks:1", "--set", "decision.cv_folds=2"),
}


@pytest.mark.parametrize(
    ("tune", "count"), [("full", 3), ("dropout", 2), ("lora", 2), ("folds", 2)]
)
def test_the_files_are_those_of_one_process(tune: str, count: int, tmp_path: Path) -> None:
    command: list[str | Path] = ["train", runs.table(), *OPTIONS, *TUNES[tune], "--json", "-o"]
    said = ended(started(tmp_path, *command, tmp_path / "several", count=count))
    assert said.code == 0, said.err
    alone = runs.tamis(*command, tmp_path / "one")
    assert alone.code == 0, alone.err
    one, several = tmp_path / "one", tmp_path / "several"
    assert json.loads(said.out)["tune"] == json.loads(alone.out)["tune"]
    assert sum(line.startswith("Plan:") for line in own(said)) == 1, said.err
    for expected, found in zip(
        lines(one / "history.jsonl"), lines(several / "history.jsonl"), strict=True
    ):
        assert found == pytest.approx(expected, abs=1e-5)
    rows = lines(one / "predictions.jsonl"), lines(several / "predictions.jsonl")
    for expected, found in zip(*rows, strict=True):
        probabilities = expected.pop("probabilities"), found.pop("probabilities")
        assert found == expected
        assert probabilities[1] == pytest.approx(probabilities[0], abs=1e-3)
    recipe = (one / "recipe.toml").read_text(encoding="utf-8")
    beside, _, note = (several / "recipe.toml").read_text(encoding="utf-8").partition("# Trained")
    assert beside.strip() == recipe.strip() and note.startswith(f" by {count} processes")
    for name, tensor in load_file(one / "model" / "model.safetensors").items():
        if name.endswith("c_attn.bias"):
            continue  # that of the keys has no gradient but rounding
        other = load_file(several / "model" / "model.safetensors")[name]
        torch.testing.assert_close(other, tensor, atol=2e-4, rtol=1e-3)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes, with dropout."""
    folder = tmp_path_factory.mktemp("undisturbed")
    said = ended(
        started(folder, "train", runs.table(), *OPTIONS, "--tune=full", "-o", folder / "run")
    )
    assert said.code == 0, said.err
    return folder / "run"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A kill takes longer here than in tests/faults, so there are fewer unless more are asked for
    than the default of `--kills`.
    """
    if "seed" in metafunc.fixturenames:
        asked = int(metafunc.config.getoption("--kills"))
        metafunc.parametrize("seed", range(4 if asked <= 6 else asked))


def test_killed_processes_are_started_again_and_end_with_the_same_weights(
    seed: int, undisturbed: Path, tmp_path: Path
) -> None:
    """`kill -9` of the first process or the other one, once or twice, while steps are taken.
    --overwrite does not throw away what the first attempt did.
    """
    draws, run = random.Random(seed), tmp_path / "run"
    command: list[str | Path] = [
        "train",
        runs.table(),
        *OPTIONS,
        "--tune=full",
        "--overwrite",
        "-o",
        run,
    ]
    process = started(tmp_path, *command, seconds=0.3)
    for _ in range(draws.randint(1, 2)):
        waited_for(run / "checkpoint" / "training.safetensors", process)
        time.sleep(draws.uniform(0.0, 3.0))
        ranks = processes_of(process)
        if ranks and process.poll() is None:
            os.kill(ranks[draws.choice(sorted(ranks))], signal.SIGKILL)
            time.sleep(draws.uniform(0.5, 6.0))  # torchrun starts them again
    said = ended(process)
    assert said.code == 0, said.err
    assert model(run) == model(undisturbed)
    assert "resuming it" in said.err
    assert (run / "history.jsonl").read_bytes() == (undisturbed / "history.jsonl").read_bytes()


def test_ctrl_c_ends_all_and_the_same_command_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command: list[str | Path] = ["train", runs.table(), *OPTIONS, "--tune=full", "-o", run]
    process = started(tmp_path, *command, seconds=0.3)
    waited_for(run / "checkpoint" / "training.safetensors", process)
    os.killpg(process.pid, signal.SIGINT)
    said = ended(process, timeout=120)
    assert said.code != 0
    assert sum(line.startswith("interrupted;") for line in said.err.splitlines()) == 1, said.err
    again = ended(started(tmp_path, *command))
    assert again.code == 0 and "resuming it" in again.err, again.err
    assert model(run) == model(undisturbed)


def test_a_wrong_row_is_one_message(tmp_path: Path) -> None:
    """Of three processes one speaks, and all end."""
    table = runs.write_table(tmp_path / "one.tsv", [("ham", "hello"), ("ham", "good morning")])
    process = started(tmp_path, "train", table, *OPTIONS, "-o", tmp_path / "run", count=3)
    said = ended(process, timeout=300)
    assert said.code == 1 and said.out == ""
    assert len(set(own(said)) - {"Read"}) >= 1
    assert sum(line.startswith("tamis: ") for line in said.err.splitlines()) == 4  # 3 restarts


@contextlib.contextmanager
def corpus(folder: Path) -> Iterator[Path]:
    path = folder / "corpus.txt"
    path.write_text("\n".join(small.texts(120)) + "\n", encoding="utf-8")
    yield path


def test_a_pretraining_survives_a_kill(tmp_path: Path) -> None:
    shape = {"vocab_size": 300, "n_positions": 24, "n_embd": 12, "n_layer": 2, "n_head": 3}
    options = [f"--set=shape.{name}={value}" for name, value in shape.items()]
    options += ["--set=schedule.tokens=1500", "--set=schedule.batch_tokens=60"]
    options += ["--threads=1", "--device=cpu"]
    with corpus(tmp_path) as file:
        whole = ended(started(tmp_path, "pretrain", file, *options, "-o", tmp_path / "whole"))
        assert whole.code == 0, whole.err
        process = started(
            tmp_path, "pretrain", file, *options, "-o", tmp_path / "killed", seconds=0.3
        )
        waited_for(tmp_path / "killed" / "pretraining" / "state.safetensors", process)
        time.sleep(1)
        ranks = processes_of(process)
        os.kill(ranks[1], signal.SIGKILL)
        said = ended(process)
    assert said.code == 0 and "going on after" in said.err, said.err
    first, second = (tmp_path / name / "model.safetensors" for name in ("whole", "killed"))
    assert first.read_bytes() == second.read_bytes()
    facts = json.loads((tmp_path / "killed" / "pretraining.json").read_text(encoding="utf-8"))
    assert facts["machine"]["processes"] == [2]
