"""The proof's own arithmetic: draws, figures, the table; and a run over small tables that goes on where it was."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.nano import quality
from benchmarks.nano.tasks import Task, drawn, tasks
from tests.rows import messages


def test_a_draw_has_the_same_number_of_every_class_as_far_as_there_are_rows() -> None:
    labels = ["a"] * 30 + ["b"] * 5 + ["c"] * 11
    rows = drawn(labels, 8, seed=1)
    assert Counter(labels[i] for i in rows) == {"a": 8, "b": 5, "c": 8} and len(set(rows)) == 21
    assert drawn(labels, 8, seed=1).tolist() == rows.tolist() != drawn(labels, 8, seed=2).tolist()


def test_figures_by_hand() -> None:
    task = Task("t", 0, ["x"], ["ham", "spam"], ["1", "2", "3", "4", "5"], ["spam", "ham", "spam", "ham", "ham"], positive="spam")
    spam = np.array([0.9, 0.6, 0.4, 0.2, 0.1])  # one of two spam caught, one of three ham blocked
    found = quality.judged(task, np.stack([1 - spam, spam], axis=1))
    assert found["accuracy"] == pytest.approx(3 / 5) and found["f1"] == pytest.approx(1 / 2)
    assert found["average_precision"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert found["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["mcc"] == pytest.approx((1 * 2 - 1 * 1) / (2 * 2 * 3 * 3) ** 0.5)


def test_the_table_shows_mean_and_deviation_of_what_is_there() -> None:
    rows = [
        {"method": "one", "task": "trec6", "seed": seed, "figures": {"accuracy": value, "macro_f1": 0.0}}
        for seed, value in enumerate((0.8, 0.9, 0.7))
    ]
    rows.append({"method": "two", "task": "trec6", "seed": 0, "figures": {"accuracy": 0.55, "macro_f1": 0.0}})
    lines = quality.table(rows).splitlines()
    assert lines[0] == "| task | figure | one | two |" and lines[2] == "| trec6 | accuracy | 0.800 ± 0.100 | 0.550 |" and len(lines) == 3


def test_a_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    (data / "sms-spam").mkdir(parents=True)
    lines = "".join(f"{label}\t{text}\n" for label, text in messages())
    (data / "sms-spam" / "SMSSpamCollection").write_text(lines, encoding="utf-8")
    out = tmp_path / "figures.jsonl"
    arguments = ["quality", "--data", str(data), "--out", str(out), "--method", "tfidf", "--task", "sms-leakfree", "--seeds"]
    for seeds in ("1", "3"):
        monkeypatch.setattr(sys, "argv", [*arguments, seeds])
        quality.main()
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["seed"] for row in rows] == [0, 1, 2]
    monkeypatch.setattr(sys, "argv", ["quality", "--out", str(out), "--table"])
    quality.main()
    assert "| sms-leakfree | mcc |" in capsys.readouterr().out


def test_every_task_is_shown() -> None:
    assert set(tasks(Path("nowhere"))) == set(quality.FIGURES)


def test_figures_of_an_earlier_nano_are_not_shown_as_the_present_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "embedded_fingerprint", lambda: "abc")
    rows = [{"method": "tfidf"}, {"method": "nano-head", "of": "abc"}, {"method": "nano-head", "of": "before"}]
    assert quality.current(rows) == rows[:2]
