"""Runs beside each other: matched rows, the table and JSON of the command, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from tamis.errors import RunError
from tamis.workflows.compare import compare_runs
from tests.runs import EPOCH, TINY, finished_run, made_once, table, tamis


def write(run: Path, rows: list[dict[str, Any]], **report: Any) -> Path:
    """A finished run as far as a comparison reads it."""
    run.mkdir(parents=True)
    content = {"classes": ["ham", "spam"], "positive": "spam", "split": "leakfree", **report}
    (run / "report.json").write_text(json.dumps(content), encoding="utf-8")
    lines = "".join(json.dumps({"part": "test", **row}) + "\n" for row in rows)
    (run / "predictions.jsonl").write_text(lines, encoding="utf-8")
    return run


def row(text: str, label: str, spam: float, *, classes: str = "ham spam") -> dict[str, Any]:
    names = classes.split()
    return {
        "text": text,
        "label": label,
        "predicted": names[spam >= 0.5],
        "probabilities": {names[0]: 1 - spam, names[1]: spam},
    }


GOOD = [row("a", "ham", 0.1), row("b", "spam", 0.9), row("c", "spam", 0.8), row("d", "ham", 0.2)]
POOR = [row("d", "ham", 0.7), row("c", "spam", 0.4), row("b", "spam", 0.9), row("a", "ham", 0.1)]


def test_rows_are_matched_by_text_whatever_their_order(tmp_path: Path) -> None:
    found = compare_runs([write(tmp_path / "a", GOOD), write(tmp_path / "b", POOR)])
    (one,) = found.comparisons
    assert (found.rows, one.first_only_wrong, one.second_only_wrong) == (4, 0, 2)
    assert one.p_value == pytest.approx(binomtest(0, 2).pvalue)
    assert (one.metrics["recall"].first, one.metrics["recall"].second) == (1.0, 0.5)
    assert found.notes == ()


def test_repeated_texts_are_matched_in_order(tmp_path: Path) -> None:
    first = [*GOOD, row("a", "ham", 0.1)]
    second = [*POOR, row("a", "ham", 0.6)]
    found = compare_runs([write(tmp_path / "a", first), write(tmp_path / "b", second)])
    assert found.rows == 5 and found.comparisons[0].second_only_wrong == 3
    once = compare_runs([tmp_path / "a", write(tmp_path / "c", POOR)])
    assert once.rows == 4  # the second "a" was judged by one run alone


def test_validation_rows_are_not_compared(tmp_path: Path) -> None:
    more = [*GOOD, {**row("e", "ham", 0.9), "part": "validation"}]
    found = compare_runs([write(tmp_path / "a", more), write(tmp_path / "b", [*POOR, more[-1]])])
    assert found.rows == 4


def test_runs_with_other_test_rows_say_how_many_they_have_in_common(tmp_path: Path) -> None:
    other = [*GOOD[:3], row("x", "ham", 0.1), row("y", "ham", 0.1)]
    found = compare_runs([write(tmp_path / "a", GOOD), write(tmp_path / "b", other)])
    assert found.rows == 3
    assert "has 4" in found.notes[0] and "has 5" in found.notes[0] and "on the 3 " in found.notes[0]
    strangers = [row("x", "ham", 0.1), row("y", "spam", 0.1)]
    with pytest.raises(RunError, match="0 test rows in common"):
        compare_runs([tmp_path / "a", write(tmp_path / "c", strangers)])


def test_three_runs_are_compared_on_the_rows_of_all_and_adjusted(tmp_path: Path) -> None:
    runs = [write(tmp_path / name, rows) for name, rows in (("a", GOOD), ("b", POOR))]
    third = write(tmp_path / "c", [*GOOD[:2], row("c", "spam", 0.1)])
    plain = compare_runs([*runs, third]).to_dict()
    assert plain["rows"] == 3 and len(plain["comparisons"]) == 2
    p_values = [one["p_value"] for one in plain["comparisons"]]
    assert all(
        one["p_value_holm"] >= p for one, p in zip(plain["comparisons"], p_values, strict=True)
    )
    assert [one["first"] for one in plain["comparisons"]] == [str(runs[0])] * 2


def test_classes_in_another_order_are_the_same_task(tmp_path: Path) -> None:
    turned = write(tmp_path / "b", GOOD, classes=["spam", "ham"])
    found = compare_runs([write(tmp_path / "a", GOOD), turned])
    assert found.comparisons[0].metrics["brier"].difference == 0


@pytest.mark.parametrize(
    ("rows", "report", "told"),
    [
        ([row("a", "eggs", 0.1, classes="eggs spam")], {"classes": ["eggs", "spam"]}, "same task"),
        (GOOD, {"positive": "ham"}, "--positive"),
        ([row("a", "spam", 0.9), *GOOD[1:]], {}, "different labels for 1 of 4"),
        ([], {"split": "none"}, "no test rows"),
        ([{"text": "a"}], {}, "cannot be used"),
    ],
    ids=["labels", "positive", "row", "empty", "damaged"],
)
def test_what_cannot_be_compared_is_refused(
    rows: list[dict[str, Any]], report: dict[str, Any], told: str, tmp_path: Path
) -> None:
    first = write(tmp_path / "a", GOOD)
    with pytest.raises(RunError, match=told):
        compare_runs([first, write(tmp_path / "b", rows, **report)])


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a", GOOD)
    with pytest.raises(RunError, match="at least two"):
        compare_runs([first])
    with pytest.raises(RunError, match=r"nothing does not exist.*tamis train"):
        compare_runs([first, tmp_path / "nothing"])
    (tmp_path / "a" / "report.json").unlink()
    with pytest.raises(RunError, match=r"report\.json"):
        compare_runs([first, first])


def other_run() -> Path:
    def train(path: Path) -> None:
        assert tamis("train", table(), *TINY, *EPOCH, "-o", path).code == 0

    return made_once("run-of-one-epoch", train)


def test_the_command_prints_a_table_and_json() -> None:
    said = tamis("compare", finished_run(), other_run())
    assert said.code == 0, said.err
    head = said.out.splitlines()[0]
    report = json.loads((finished_run() / "report.json").read_text(encoding="utf-8"))
    assert head.startswith(f"{report['test']['n']} test rows")
    assert "difference, 95 % interval" in said.out and "McNemar's exact test" in said.out
    plain = json.loads(tamis("compare", finished_run(), other_run(), "--json").out)
    assert plain["rows"] == report["test"]["n"]
    (one,) = plain["comparisons"]
    assert one["metrics"]["f1"]["first"] == pytest.approx(report["test"]["f1"])


def test_wrong_usage_of_the_command() -> None:
    assert tamis("compare", finished_run()).code == 2
    assert "does not exist" in tamis("compare", finished_run(), "nothing").error
