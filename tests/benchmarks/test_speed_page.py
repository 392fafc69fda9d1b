"""What docs/speed.md says of rivals and its picture follow from the results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.speed import page, plot
from benchmarks.speed.ahead import COMPARED, ahead
from benchmarks.speed.results import Figure


def rounds(
    contender: str, *seconds: float, part: str = "inference", **rest: object
) -> list[Figure]:
    return [
        replace(Figure(part, "", contender, 2, n, value, "s"), **rest)  # type: ignore[arg-type]
        for n, value in enumerate(seconds)
    ]


def test_a_rival_that_is_faster_is_named_beside_tamis_in_its_own_type() -> None:
    figures = [
        *rounds("ceiling fp32", 0.1, unit="GFLOP/s"),
        *rounds("TF-IDF", 0.04, 0.05, 0.1),
        *rounds("A int8", 2.0, 4.0, 1.0),  # 0.5, 0.8 and 0.1 of tamis int8: twice as fast
        *rounds("B int8", 5.0, 6.0, 11.0),  # faster than fp32, slower than int8
        *rounds("C", 7.9, 8.4, 7.9),
        *rounds("D", 8.01, 7.99, 8.0),
        *rounds("tamis int8", 4.0, 5.0, 10.0),
        *rounds("tamis fp32", 8.0, 8.0, 8.0),
        *rounds("E", 1.0, part="latency", variant="p99"),
        *rounds("tamis fp32", 1.5, part="latency", variant="p99"),
        *rounds("import tamis", 0.1, part="start"),
        *rounds("tamis predict", 6.0, part="start"),
    ]
    assert ahead(figures) == [
        "bulk scoring: TF-IDF 160 times as fast as tamis fp32, A int8 2.00 times as fast as "
        "tamis int8, C 1.01 times as fast as tamis fp32",
        "single messages, p99: E 1.50 times as fast as tamis fp32",
    ]
    assert ahead(rounds("slow", 2.0) + rounds("tamis fp32", 1.0)) == []
    both = [
        figure
        for threads in (1, 2)
        for name, s in (("A", 1.0), ("tamis", 2.0))
        for figure in rounds(name, s, threads=threads)
    ]
    assert [line.split(":")[0] for line in ahead(both)] == [
        "bulk scoring, 1 threads",
        "bulk scoring, 2 threads",
    ]


def test_figures_of_other_settings_are_not_compared() -> None:
    figures = rounds("A", 1.0, settings={"share": 0.1}) + rounds(
        "tamis fp32", 9.0, settings={"share": 1.0}
    )
    assert ahead(figures) == []


def test_the_page_says_where_rivals_are_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    faster = rounds("ONNX Runtime int8", 1.0) + rounds("tamis int8", 3.0)
    assert (
        "- mean pooling, bulk scoring: TF-IDF" in page.page()
        and "ONNX Runtime int8 1." in page.page()
    )
    monkeypatch.setattr(
        page,
        "published",
        lambda: {"last token": faster, "mean pooling": rounds("slow", 2.0) + rounds("tamis", 1.0)},
    )
    lines = page.page().split("<!-- rivals -->\n")[1].split("<!-- /rivals -->")[0]
    assert (
        lines == "- last token, bulk scoring: ONNX Runtime int8 3.00 times as fast as tamis int8\n"
    )
    monkeypatch.setattr(
        page, "published", lambda: {"mean pooling": rounds("slow", 2.0) + rounds("tamis", 1.0)}
    )
    assert "<!-- rivals -->\nNone was faster.\n<!-- /rivals -->" in page.page()


def test_no_rival_that_multiplies_in_eight_bits_is_published_beside_another_ceiling() -> None:
    shares = {
        (f.contender, f.about.get("ceiling"))
        for figures in page.published().values()
        for f in figures
        if "ceiling" in f.about
    }
    assert {kind for name, kind in shares if name.endswith("int8")} == {"int8"}
    assert {kind for name, kind in shares if "fp32" in name} == {"fp32"}


def test_the_picture_of_the_page_shows_the_published_results() -> None:
    shown = [
        panel
        for part in COMPARED
        for panel in plot.panels(plot.of_part(part, page.latest(page.published())))
    ]
    with Image.open(page.PLOT) as image:
        assert image.info["Source"] == plot.fingerprint(shown), (
            "run: python -m benchmarks.speed.page"
        )
    assert page.PLOT.stat().st_size < 200_000 and f"({page.PLOT.name})" in page.PAGE.read_text(
        encoding="utf-8"
    )


def test_the_picture_shows_the_last_measurement_of_each_part() -> None:
    named = {
        "a": [*rounds("tamis", 1.0, part="job"), *rounds("tamis", 2.0)],
        "b": rounds("tamis", 3.0, part="job"),
    }
    shown = page.latest(named)
    kept = [(name, f.part, f.value) for name in shown for f in shown[name]]
    assert kept == [
        (name, f.part, f.value)
        for name in named
        for f in named[name]
        if (name, f.part) != ("a", "job")
    ]
    assert {f.part for f in shown["a"]} == {"inference"} and shown["b"] == named["b"]


def test_a_panel_a_part_a_bar_a_contender(tmp_path: Path) -> None:
    last = (
        rounds("tamis int8", 2.0)
        + rounds("rival", 6.0, about={"batch": "16 rows"})
        + rounds("tamis fp32", 4.0)
    )
    named = {
        "last token": last,
        "mean pooling": [*rounds("loop", 9.0, part="job"), *rounds("tamis", 3.0, part="job")],
    }
    shown = plot.panels(named)
    assert [title for title, _ in shown] == ["inference, last token, 2 threads", "job, 2 threads"]
    first, second = plot.drawn(shown).axes
    assert [bar.get_width() for bar in first.patches] == [0.5, 1.5, 1.0]  # type: ignore[attr-defined]
    assert [label.get_text() for label in first.get_yticklabels()] == [
        "tamis int8",
        "rival, batches of 16 rows",
        "tamis fp32",
    ]
    assert len({bar.get_facecolor() for bar in first.patches}) == 2 and [
        bar.get_width()  # type: ignore[attr-defined]
        for bar in second.patches
    ] == [3.0, 1.0]
    assert second.get_title(loc="left") == "job, 2 threads\ntimes as long as tamis"
    plot.plot(named, tmp_path / "job.png", parts=("job",))
    with Image.open(tmp_path / "job.png") as image:
        assert image.info["Source"] == plot.fingerprint(shown[1:]) != plot.fingerprint(shown)


def test_panels_of_one_part_are_told_apart_by_their_settings() -> None:
    figures = [
        f
        for share in (0.1, 0.5)
        for f in rounds("tamis", 1.0, part="job", settings={"model": "tiny", "share": share})
    ]
    assert [title for title, _ in plot.panels({"": figures})] == [
        "job, 2 threads, share 0.1",
        "job, 2 threads, share 0.5",
    ]
