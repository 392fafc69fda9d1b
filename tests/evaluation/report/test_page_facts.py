"""Header, seconds and plots of the page: names, units, and places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tamis.evaluation.report import canvas
from tamis.evaluation.report.figure_columns import columns
from tamis.evaluation.report.model_card import model_card
from tamis.evaluation.report.page_facts import duration, header_facts, timing_facts
from tamis.evaluation.report.page_plots import page_plots, png_size
from tamis.evaluation.report.render_html import render
from tamis.evaluation.report.render_text import report_lines
from tests.evaluation.report.test_plain_summary import report_of

COUNTS = [[95, 5], [4, 96]]


def test_seconds_have_names_and_units() -> None:
    timing = {
        "data": 0.62,
        "train": 3725.0,
        "test": 3.04,
        "baselines": 1.2,
        "ood": 0.004,
        "messages_per_s": 1234.5,
        "baseline_majority": 0.0001,
        "baseline_tfidf": 1.19,
        "device": "cpu",
        "threads": 2,
        "dtype": "fp32",
        "reasons": {"threads": "2 physical cores available to this process"},
    }
    assert timing_facts(timing) == [
        ("Reading and splitting the data", "0.62 s"),
        ("Training", "1 h 2 min"),
        ("Scoring the evaluated rows", "3.0 s"),
        ("Baselines: training and scoring", "TF-IDF 1.2 s, Majority class 0 s"),
        ("Out-of-distribution detection", "4 ms"),
        ("Total", "1 h 2 min"),
        ("Training and scoring, all rows", "1,234 messages per second"),
        ("Device", "cpu"),
        ("Threads", "2 (2 physical cores available to this process)"),
        ("Dtype", "fp32"),
    ]


def test_what_is_not_known_is_shown_with_a_unit_too() -> None:
    found = dict(timing_facts({"head_start": 1.5, "dtype": {"dtype": "bf16", "reason": "faster"}}))
    assert found == {"Head start": "1.5 s", "Dtype": "bf16 (faster)"}
    assert timing_facts({}) == []
    assert dict(timing_facts({"test": 2.0, "messages_per_s": 50.0})) == {
        "Scoring the evaluated rows": "2.0 s",
        "Scoring, all rows": "50 messages per second",
    }


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0999, "100 ms"),
        (0.999, "1.00 s"),
        (9.96, "10 s"),
        (119.4, "119 s"),
        (119.6, "2 min 0 s"),
        (3599.6, "1 h 0 min"),
        (7199, "2 h 0 min"),
    ],
)
def test_no_second_is_lost_where_units_change(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_test_file_is_named_instead_of_a_split() -> None:
    split = report_of(COUNTS)
    file = report_of(COUNTS, test_data="newer.csv")
    assert "split leakfree" in header_facts(split) and split["test_data"] is None
    assert "test file newer.csv" in header_facts(file)
    assert not [fact for fact in header_facts(file) if "split" in fact]
    assert file["split"] == "leakfree", "the key stays for programs"
    assert "<span>test file newer.csv</span>" in render(file, {}, [])
    assert "this model, test of newer.csv (200 rows)" in "\n".join(report_lines(file))
    assert "| test file | newer.csv |" in model_card(file)
    assert "| split | leakfree |" in model_card(split)


def test_only_a_filter_blocks() -> None:
    names = [name for _, name, _ in columns(report_of(COUNTS))]
    assert "False positive rate (ham blocked)" in names
    other = report_of(COUNTS, ("calm", "urgent"), "urgent")
    names = [name for _, name, _ in columns(other)]
    assert "False positive rate (calm labelled urgent)" in names


def plot(folder: Path, name: str, size: tuple[float, float] = canvas.PLOT_SIZE) -> Path:
    with canvas.house_style():
        figure, axes = canvas.figure_with_axes(*size)
        axes.plot([0, 1], [0, 1])
        axes.set_ylabel("a label")
        return canvas.save_png(figure, folder / f"{name}.png")


def layouts(plots: dict[str, Any]) -> list[str]:
    return [one.layout for one in page_plots(plots)]


def test_all_plots_have_one_size(tmp_path: Path) -> None:
    width, height = canvas.PLOT_SIZE
    found = png_size(plot(tmp_path, "loss").read_bytes())
    assert found == (round(width * canvas.DPI), round(height * canvas.DPI))


def test_plots_are_placed_without_holes(tmp_path: Path) -> None:
    names = ("loss", "precision_recall", "confusion", "accuracy")
    even = {name: plot(tmp_path, name) for name in names}
    assert layouts(even) == ["", "", "", ""]
    assert [one.caption.split()[0] for one in page_plots(even)] == [
        "Precision-recall",
        "Confusion",
        "Loss",
        "Accuracy",
    ]
    del even["loss"]
    assert layouts(even) == ["", "", "beside"]
    large = plot(tmp_path, "confusion", (9.0, 8.0))
    found = page_plots(even | {"confusion": large, "Learning curves": large})
    assert [one.layout for one in found] == ["", "", "wide", "wide"]
    assert found[-1].caption == "Learning curves"
    assert page_plots({}) == []
