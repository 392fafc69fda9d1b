"""`tamis reproduce tp2`: every question is answered, the remedies follow, and what the data fix is
exact.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tamis.cli.console import say
from tamis.config import named_recipe
from tamis.workflows.reproduce_tp2 import REMEDIES, Row, reproduce_tp2

TINY = {"backbone": "scratch:tiny", "text.padding": "fixed:48"}


@pytest.fixture(scope="module")
def rows(sms_rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    file = tmp_path_factory.mktemp("rows") / "sms.tsv"
    file.write_text("".join(f"{label}\t{text}\n" for label, text in sms_rows), encoding="utf-8")
    return reproduce_tp2(named_recipe("tp2").changed(TINY), str(file), say=say)


def found(rows: list[Row], item: str) -> Row:
    return next(row for row in rows if row.item == item)


def test_every_question_and_every_remedy_has_its_lines(rows: list[Row]) -> None:
    questions = {row.question for row in rows}
    assert questions == {"all", *map(str, range(2, 11)), "1", "5.1", "5.2", "remedy", "rival"} - {
        "5"
    }
    remedies = [row.item for row in rows if row.question == "remedy"]
    assert remedies[: len(REMEDIES)] == list(REMEDIES)
    assert remedies[len(REMEDIES)] == "all remedies together"
    for row in rows:
        if row.question in ("remedy", "rival"):
            assert "recall" in row.obtained and "F1" in row.obtained, row


def test_the_head_is_told_before_and_after_and_after_a_second_run(rows: list[Row]) -> None:
    width, vocabulary = (int(part) for part in found(rows, "head before").obtained.split(" -> "))
    assert width == 32 and vocabulary > 256
    assert found(rows, "head after").obtained == "32 -> 2"
    assert found(rows, "original head after a second run").obtained == f"32 -> {vocabulary}"
    assert found(rows, "head after a second run").obtained == "32 -> 2, the same weights"
    assert found(rows, "trainable parameters").obtained == str(2 * 32 + 32 + 32)


def test_a_line_matches_only_where_it_reads_as_reported(rows: list[Row]) -> None:
    assert found(rows, "seed of Python, NumPy and PyTorch").match is True
    assert found(rows, "settings['n_embd']").match is False
    assert found(rows, "version of torch").match is None


def test_the_budget_line_has_a_threshold_of_its_own(rows: list[Row]) -> None:
    assert (
        found(rows, "threshold for max_fpr = 0.2 %").obtained
        != found(rows, "test figures").obtained
    )


def test_the_json_has_the_five_keys(
    sms_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from tamis.cli import main

    settings = [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]
    arguments = [
        "reproduce",
        "tp2",
        "--data",
        str(sms_file),
        "--quick",
        "--json",
        "--out",
        str(tmp_path / "plots"),
        *settings,
    ]
    monkeypatch.setattr(sys, "argv", ["tamis", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    answer: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert all(list(row) == ["question", "item", "reported", "obtained", "match"] for row in answer)
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"accuracy.png", "loss.png"}


def test_on_the_real_table_everything_the_data_fix_is_as_reported(shared_data: Path) -> None:
    data = str(shared_data / "sms-spam" / "SMSSpamCollection")
    recipe = named_recipe("tp2").changed({"backbone": "scratch:tiny", "text.padding": "fixed:12"})
    rows = reproduce_tp2(recipe, data, remedies=False, say=say)
    for question in ("5.1", "5.2", "7"):
        asked = [row for row in rows if row.question == question and row.reported]
        assert asked and all(row.match for row in asked), asked
    assert found(rows, "steps").match is True
