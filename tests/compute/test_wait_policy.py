"""OpenMP's threads wait asleep in the command, unless the environment says otherwise."""

from __future__ import annotations

import os
import sys

import pytest

from tamis.compute.wait_policy import POLICY, wait_asleep


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(os, "environ", {"HOME": "here"})
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    return monkeypatch


def said() -> dict[str, str]:
    return {name: os.environ[name] for name in POLICY if name in os.environ}


def test_threads_wait_asleep_by_default(clean: pytest.MonkeyPatch) -> None:
    wait_asleep()
    assert said() == POLICY


@pytest.mark.parametrize("name", sorted(POLICY))
def test_what_the_user_set_stays_and_nothing_is_added(clean: pytest.MonkeyPatch, name: str) -> None:
    os.environ[name] = "7"
    wait_asleep()
    assert said() == {name: "7"}


def test_nothing_is_set_where_torch_has_read_its_settings(clean: pytest.MonkeyPatch) -> None:
    clean.setitem(sys.modules, "torch", os)
    wait_asleep()
    assert said() == {}
