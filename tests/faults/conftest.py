"""One fork server for the tests of a file, and how many kills they try."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.kills import Forks


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """A fork server."""
    server = Forks()
    yield server
    server.close()


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """Kills of each command."""
    return int(request.config.getoption("--kills"))


@pytest.fixture
def thorough(request: pytest.FixtureRequest) -> bool:
    """Whether many damages and sizes of disks are tried."""
    return int(request.config.getoption("--kills")) >= 50
