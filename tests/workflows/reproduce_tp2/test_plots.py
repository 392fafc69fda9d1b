"""The three plots: lines, legends and what they leave out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tamis.evaluation.report.canvas import house_style
from tamis.workflows.reproduce_tp2.plots import DARK, PLOTS, Curves, figures, write_plots


def point(step: int, recall: float | None) -> dict[str, Any]:
    train, test = ({"accuracy": value, "recall": recall} for value in (0.8, 0.75))
    return {"step": step, "loss": 0.7, "train": train, "test": test}


STEPS = [{"step": n, "rows": 16, "loss": 0.6, "accuracy": 0.9} for n in range(1, 14)]
CURVES = Curves(
    [point(0, 0.3), point(7, 0.1), point(14, 0.2)],
    [*STEPS, {"step": 14, "rows": 1, "loss": 5.0, "accuracy": 0.0}],
    "spam",
    "ham",
    0.87,
    2,
)


def lines(name: str, curves: Curves = CURVES) -> dict[str, Any]:
    axes = figures(curves)[name].axes[0]
    return {str(line.get_label()): line for line in axes.lines}


def test_the_accuracy_curves_end_with_all_rows_and_not_with_the_last_batch() -> None:
    found = lines("accuracy")
    for part, value in (("train", 0.8), ("test", 0.75)):
        line = found[f"all {part} rows, {100 * value:.1f} % at the end"]
        assert list(line.get_xdata()) == [0, 7, 14] and line.get_ydata()[-1] == value
    assert set(found["always ham: test accuracy 87.0 %"].get_ydata()) == {0.87}
    assert set(found["reported: about 86 % (train and test)"].get_ydata()) == {0.86}


def test_the_recall_is_drawn_against_the_majority_line() -> None:
    found = lines("recall")
    assert list(found["all test rows, 20.0 % at the end"].get_ydata()) == [0.3, 0.1, 0.2]
    assert set(found["always ham: test accuracy 87.0 %"].get_ydata()) == {0.87}
    assert set(found["reported recall, and that of always ham: 0 %"].get_ydata()) == {0.0}


def test_the_loss_leaves_the_last_incomplete_batch_out() -> None:
    batches = lines("loss")["each full batch"]
    assert list(batches.get_xdata()) == [step["step"] for step in STEPS]
    assert figures(CURVES)["loss"].axes[0].get_ylim()[1] < 1.1


def test_nothing_is_drawn_where_the_recall_is_undefined() -> None:
    none = replace(CURVES, points=[point(0, None), point(14, None)])
    assert not [label for label in lines("recall", none) if "rows" in label]


@pytest.mark.parametrize("label", ["ham", "a class with a very long name " * 4, "訊息" * 40])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_legend_and_titles_are_inside_the_picture(label: str) -> None:
    with house_style():
        for name, figure in figures(replace(CURVES, sought=label, majority=label)).items():
            figure.canvas.draw()
            width, height = figure.canvas.get_width_height()
            axes = figure.axes[0]
            for shown in (*figure.legends, axes.title, axes.yaxis.label, axes.xaxis.label):
                box = shown.get_window_extent()
                assert box.x0 >= 0 and box.y0 >= 0, (name, shown)
                assert box.x1 <= width and box.y1 <= height, (name, shown)
            assert axes.get_window_extent().height > 0.45 * height, name


def test_the_same_curves_give_the_same_bytes_and_dark_ones_others(tmp_path: Path) -> None:
    from PIL import Image

    from tamis.workflows.reproduce_tp2.plots import dark_plots

    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
    first, second = (write_plots(folder, CURVES) for folder in folders)
    assert list(first) == list(PLOTS)
    dark = dark_plots(CURVES)
    for name, file in first.items():
        assert file.read_bytes() == second[name].read_bytes()
        (tmp_path / "dark.png").write_bytes(dark[name])
        with Image.open(tmp_path / "dark.png") as image:
            paper = image.convert("RGB").getpixel((1, 1))
        assert paper == tuple(bytes.fromhex(DARK.paper.removeprefix("#")))
