"""The page in a headless Chromium, one for each module of tests, and the stand-in that it asks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving.page.stand_in import Answers, PageServer

FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 15_000


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with PageServer() as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser's window. Not for the whole session: while the driver runs, nothing else in this
    thread may run an event loop.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if chromium is None:
        pytest.skip("there is no chromium on this machine (Debian: apt install chromium)")
    playwright.expect.set_options(timeout=PATIENCE_MS)
    with playwright.sync_playwright() as started:
        # A fresh user data folder is the driver's own custom; the sandbox needs rights that a
        # container lacks.
        found = started.chromium.launch(
            executable_path=chromium, headless=True, args=FLAGS, chromium_sandbox=False
        )
        yield found.new_context()
        found.close()


@pytest.fixture
def answers(server: PageServer) -> Answers:
    """A stand-in that knows nothing yet."""
    server.answers = Answers()
    return server.answers


@pytest.fixture
def page(server: PageServer, answers: Answers, browser: Any) -> Iterator[Any]:
    """The page, opened; the test fails where its script does, or where it breaks its own policy or
    leaves this machine.
    """
    found = browser.new_page()
    found.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    found.on("pageerror", lambda error: wrong.append(str(error)))
    found.on(
        "console",
        lambda message: wrong.append(message.text) if "status of" not in message.text else None,
    )
    found.on(
        "request",
        lambda request: (
            wrong.append(request.url) if not request.url.startswith((server.url, "blob:")) else None
        ),
    )
    found.goto(server.url)
    found.locator("#model-facts:not(:empty), #key:not([hidden])").first.wait_for()
    yield found
    found.close()
    assert not wrong, wrong
