"""Plots: which are drawn from which data, and that the same data give the same bytes."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.evaluation.report import canvas, plots

PNG = b"\x89PNG\r\n\x1a\n"


def _write(folder, run, **changes):
    options = {
        "classes": ["ham", "spam"],
        "positive": "spam",
        "threshold": 0.4,
        "labels": run.labels,
        "probabilities": run.probabilities,
        "baselines": {"tfidf": run.tfidf, "majority": np.full((97, 2), 0.5)},
        "before": run.tfidf,
        "history": run.history,
    }
    return plots.write_all(folder, plots.PlotData(**{**options, **changes}))


def test_a_full_run_draws_all_plots_and_the_same_bytes_again(tmp_path, good_run):
    first, second = _write(tmp_path / "a", good_run), _write(tmp_path / "b", good_run)
    assert sorted(first) == ["accuracy", "calibration", "confusion", "loss", "precision_recall"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(
        f"{name}.png" for name in first
    )
    for name, path in first.items():
        assert path.read_bytes().startswith(PNG)
        assert path.read_bytes() == second[name].read_bytes()
        assert b"tEXt" not in path.read_bytes()  # no software name, no time


def test_settings_of_the_user_change_no_plot(tmp_path, good_run):
    import matplotlib

    plain = _write(tmp_path / "a", good_run, labels=())["loss"].read_bytes()
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9}):
        assert _write(tmp_path / "b", good_run, labels=())["loss"].read_bytes() == plain
        assert matplotlib.rcParams["font.size"] == 30


def test_a_collapsed_model_is_drawn_too(tmp_path, collapsed_run):
    assert len(_write(tmp_path, collapsed_run)) == 5


def test_an_evaluation_without_history_draws_no_curves(tmp_path, good_run):
    assert sorted(_write(tmp_path, good_run, history=())) == [
        "calibration",
        "confusion",
        "precision_recall",
    ]


def test_a_training_without_test_rows_draws_curves_alone(tmp_path, good_run):
    assert sorted(_write(tmp_path, good_run, labels=(), probabilities=None)) == ["accuracy", "loss"]


def test_history_rows_may_lack_everything_but_a_loss(tmp_path):
    found = plots.write_all(
        tmp_path,
        plots.PlotData(
            classes=["a", "b"],
            positive=None,
            threshold=None,
            history=[{"loss": 2.0}, {"note": 1}, {"loss": 1.0}],
        ),
    )
    assert list(found) == ["loss"]


def test_many_classes_are_drawn_without_numbers(tmp_path):
    truth = np.arange(40)
    few = plots.confusion_matrix(truth % 5, truth % 4, [f"class {i}" for i in range(5)])
    many = plots.confusion_matrix(truth % 13, truth % 11, [f"class {i}" for i in range(13)])
    assert few.axes[0].texts[0].get_text() == "2\n25.0 %"
    assert len(few.axes[0].texts) == 25 and len(many.axes[0].texts) == 0
    classes = [f"a class with a rather long name {i}" for i in range(77)]
    chances = np.full((77, 77), 0.5 / 76)
    np.fill_diagonal(chances, 0.5)
    found = plots.write_all(
        tmp_path,
        plots.PlotData(
            classes=classes,
            positive=None,
            threshold=None,
            labels=classes,
            probabilities=chances,
        ),
    )
    assert sorted(found) == ["calibration", "confusion"]


def test_labels_are_text_whatever_signs_they_have(tmp_path):
    classes = ["$0_to_$50", r"a\frac{", "$x^"]
    found = plots.write_all(
        tmp_path,
        plots.PlotData(
            classes=classes,
            positive=None,
            threshold=None,
            labels=classes,
            probabilities=np.eye(3),
        ),
    )
    assert sorted(found) == ["calibration", "confusion"]


def test_the_threshold_is_marked_where_it_cuts():
    truth = np.array([True, True, False, True, False])
    figure = plots.precision_recall(truth, np.array([0.9, 0.8, 0.7, 0.3, 0.1]), 0.5, {}, "spam")
    marked = figure.axes[0].texts[0].get_text()
    assert marked == "threshold 0.5\nprecision 66.7 %, recall 66.7 %"


def test_the_accuracy_plot_shows_what_the_commonest_class_would_reach(good_run):
    figure = plots.accuracy_curves(good_run.history, commonest=("ham", 0.86))
    names = [line.get_label() for line in figure.axes[0].lines]
    assert (
        "majority class ('ham')" in names
        and "validation" in names
        and "validation, average precision" in names
    )


def test_a_logarithmic_axis_has_plain_numbers_as_labels():
    figure, axes = canvas.figure_with_axes()
    with canvas.house_style():
        axes.plot([0, 1], [0.01, 100])
        canvas.log_scale(axes)
        figure.canvas.draw()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert {"0.01", "1", "100"} <= set(labels)


def test_rows_that_do_not_fit_are_refused(tmp_path, good_run):
    with pytest.raises(DataError, match=r"shape \(97, 2\), got shape \(5, 2\)"):
        _write(tmp_path, good_run, probabilities=good_run.probabilities[:5])
