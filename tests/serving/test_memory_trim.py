"""Memory is handed back now and then, in a small share of the time, until the server ends."""

from __future__ import annotations

import itertools
import time

import pytest

from tamis.serving import memory_trim


def test_it_hands_back_again_and_again_until_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []
    monkeypatch.setattr(memory_trim, "release_memory", lambda: times.append(time.monotonic()))
    found = memory_trim.Trim(every_s=0.01)
    found.start()
    time.sleep(0.2)
    found.close()
    seen = len(times)
    assert 3 <= seen <= 21
    time.sleep(0.05)
    assert len(times) == seen


def test_what_takes_long_is_done_the_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []

    def slow() -> None:
        times.append(time.monotonic())
        time.sleep(0.02)

    monkeypatch.setattr(memory_trim, "release_memory", slow)
    monkeypatch.setattr(memory_trim, "SHARE", 0.1)
    found = memory_trim.Trim(every_s=0.001)
    found.start()
    time.sleep(0.5)
    found.close()
    assert (
        len(times) >= 2
        and min(later - earlier for earlier, later in itertools.pairwise(times)) >= 0.2
    )
