"""One thread for every test of the room."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _always_one_thread(one_thread: None) -> None:
    """Asks for `one_thread`."""
