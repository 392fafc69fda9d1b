"""Measurements beside a busy neighbour: every round is measured under both loads, figures of the
two are apart, and the share of the idle speed is theirs. The part `few`: rows and child processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import __main__ as speed
from benchmarks.speed import few, parts, results
from benchmarks.speed.neighbour import TAKEN
from benchmarks.speed.results import Figure, Results
from benchmarks.speed.shared import Rows


def test_every_round_is_measured_under_both_loads_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bool] = [False]
    calls: list[tuple[int, bool]] = []

    @contextlib.contextmanager
    def neighbour() -> Iterator[None]:
        taken[0] = True
        yield
        taken[0] = False

    monkeypatch.setattr("benchmarks.speed.neighbour.busy_neighbour", neighbour)
    monkeypatch.setattr(speed, "busy_cores", lambda: 0.25)

    def call(number: int) -> float:
        calls.append((number, taken[0]))
        return 4.0 if taken[0] else 2.0

    def measured(kept: Results) -> None:
        timed = [parts.Timed("tamis", call)]
        choice = speed.Choice(neighbour=True)
        speed.measure("p", timed, kept, threads=1, rounds=2, settings={"a": 1}, choice=choice)

    kept = Results(tmp_path / "out.jsonl")
    measured(kept)
    assert [loaded for _, loaded in calls] == [False, True, False, True]
    assert len({number for number, _ in calls}) == 4  # contenders keep figures by number
    assert [figure.settings for figure in kept.figures] == [{"a": 1}, {"a": 1, "load": TAKEN}] * 2
    assert [figure.round for figure in kept.figures] == [0, 0, 1, 1]
    assert kept.figures[0].about == {"busy cores before": 0.25}
    (line,) = results.beside(kept.figures)
    assert line == "one core taken: p, tamis: 50% of its idle speed"
    measured(Results(tmp_path / "out.jsonl"))
    assert len(calls) == 4


def test_the_share_of_the_idle_speed_is_of_the_same_round_threads_and_settings() -> None:
    def figure(value: float, number: int, unit: str = "s", **settings: str | float) -> Figure:
        return Figure("p", "v", "c", 2, number, value, unit, settings=dict(settings))

    figures = [
        figure(1.0, 0, rows=3),
        figure(2.0, 0, rows=3, load=TAKEN),
        figure(1.0, 1, rows=3),
        figure(4.0, 1, rows=3, load=TAKEN),
        figure(9.0, 0, rows=4, load=TAKEN),  # its idle figure is not there
        figure(9.0, 2, unit="MB", rows=3, load=TAKEN),
    ]
    assert results.beside(figures) == ["one core taken: p, c, v: 38% of its idle speed"]
    speeds = [figure(100.0, 0, "GFLOP/s"), figure(60.0, 0, "GFLOP/s", load=TAKEN)]
    assert results.beside(speeds) == ["one core taken: p, c, v: 60% of its idle speed"]


def test_few_rows_are_the_first_of_each_class() -> None:
    labels = np.array([0] * 40 + [1] * 30)
    texts = [f"text {number}" for number in range(70)]
    found = few.some_rows(Rows(texts, labels, ["a", "b"], np.array([0, 1])))
    assert found["texts"] == texts[:16] + texts[40:56] and found["test"] == ["a", "b"]
    assert found["labels"] == ["ham"] * 16 + ["spam"] * 16


def test_a_child_that_fails_is_told_and_one_that_works_gives_its_times() -> None:
    code = "import json, sys; print(len(json.load(sys.stdin)['texts'])); print('{\"fit\": 2.5}')"
    times = few.child([sys.executable, "-c", code], json.dumps({"texts": ["a"]}), 1)
    assert times["fit"] == 2.5 and times["whole"] > 0
    with pytest.raises(SystemExit, match=r"failed: [\s\S]*ZeroDivisionError"):
        few.child([sys.executable, "-c", "1 / 0"], "{}", 1)


def test_rivals_that_are_not_installed_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(few, "has_packages", lambda python, *packages: "setfit" in packages)
    monkeypatch.setattr(few, "minilm_folder", lambda: Path("encoder"))
    commands: list[list[str]] = []

    def child(command: list[str], rows: str, threads: int) -> dict[str, float]:
        commands.append(command)
        return {"whole": 3.0, "fit": 2.0, "score": 1.0}

    monkeypatch.setattr(few, "child", child)
    rows = Rows(["a", "b"], np.array([0, 1]), ["c"], np.array([0]))
    of = argparse.Namespace(rows=rows, threads=1)
    timed = list(few.few(of, few.Rivals("other-python")))  # type: ignore[arg-type]
    assert [one.call(0) for one in timed] == [3.0, 2.0, 1.0] * 3  # a process each, run once
    assert [command[-2:] for command in commands] == [
        ["benchmarks.speed.few_child", "tfidf"],
        ["setfit", "encoder"],
        ["benchmarks.speed.few_child", "tamis"],
    ]
    assert commands[1][0] == "other-python"
    assert "MiniLM fine-tuned is left out" in capsys.readouterr().err
