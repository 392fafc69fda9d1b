"""One fork server for the tests of a file, and how many kills they try."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.kills import FEW, MANY, Forks


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """A fork server."""
    server = Forks()
    yield server
    server.close()


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """Kills of each command: few in the quick tests, all with --slow."""
    return MANY if request.config.getoption("--slow") else FEW
