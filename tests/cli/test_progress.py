"""Progress on a terminal that is none: lines."""

from __future__ import annotations

import pytest

from tamis.cli import progress


def test_a_total_that_was_estimated_too_small_grows_with_what_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", -1.0)
    with progress.Bars().task("score", total=1_000, unit="rows") as task:
        task.advance(999)
        task.advance(7)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("score: 999 of 1,000 rows, ") and first.endswith(" s left")
    assert second.startswith("score: 1,006 of 1,006 rows, ") and second.endswith(", 0 s left")
