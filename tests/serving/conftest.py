"""One application for the tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tamis.classifier.text_classifier import TextClassifier
from tests import runs
from tests.serving import served


@pytest.fixture(scope="session")
def classifier() -> TextClassifier:
    """The small run's classifier."""
    return TextClassifier.load(runs.finished_run(), threads=1)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of the small run."""
    with served.client(served.models(tmp_path_factory.mktemp("store") / "s.sqlite")) as client:
        yield client
