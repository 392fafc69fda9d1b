"""The benchmark of `tamis score`: what one run takes, and the tables whose memory is compared."""

from __future__ import annotations

import csv
import json
import resource
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.score import __main__ as benchmark
from benchmarks.score.measured_run import Measured, measure
from tamis.classifier.text_classifier import TextClassifier
from tests import runs


def test_a_run_is_measured_with_all_its_processes(tmp_path: Path) -> None:
    table = tmp_path / "in.csv"
    table.write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(50)), "utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    quick = ("--processes", "1", "--threads", "1")
    found = measure(str(runs.head_model()), str(table), str(tmp_path / "out"), *quick)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert found.summary["rows"] == 50
    assert found.processes >= 2  # the command, and the process that scores
    # The last moments of each process are missing, and ended processes of the system's count.
    assert 0.5 * took < found.processor_seconds <= took + 0.1
    # The process that scores has torch and the model, the command has neither.
    assert 10 < found.command_mb < 0.6 * found.peak_mb
    with pytest.raises(RuntimeError, match="exit code 1"):
        measure(str(tmp_path / "none"), str(table), str(tmp_path / "other"))


@pytest.mark.parametrize("distinct", [False, True])
def test_memory_is_compared_with_that_of_a_small_table(
    distinct: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    seen: list[tuple[int, int]] = []

    def fake(run: str, table: str, out: str, *options: str) -> Measured:
        assert options == ("--processes", "1")
        assert set(TextClassifier.load(run, threads=1).classes_) == {"ham", "spam"}
        # Tables of gigabytes do not pile up.
        assert [path.name for path in Path(out).parent.glob("*.csv")] == [Path(table).name]
        with Path(table).open(encoding="utf-8", newline="") as file:
            texts = [row["text"] for row in csv.DictReader(file)]
        seen.append((len(texts), len(set(texts))))
        Path(out).mkdir()
        summary: dict[str, Any] = {"texts_computed": len(set(texts))}
        return Measured(2.0, 300.0, 50.0, 1.5, 2, summary)

    monkeypatch.setattr(benchmark, "measure", fake)
    monkeypatch.setattr(benchmark, "SMALL_ROWS", 20)
    arguments = ["--data", str(runs.table()), "--rows", "2000", "--processes", "1"]
    more = ["--folder", str(tmp_path), *(["--distinct"] if distinct else [])]
    monkeypatch.setattr(sys, "argv", ["score", "memory", *arguments, *more])
    benchmark.main()
    assert [rows for rows, _ in seen] == [20, 200, 2_000]
    assert all((different == rows) == distinct for rows, different in seen[1:])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["rows"] for line in lines] == [20, 200, 2_000]
    assert lines[2]["rows_per_second"] == 1_000 and lines[2]["command_mb"] == 50
    assert not list(tmp_path.iterdir())
