"""Exported pages in a headless Chromium."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tamis.export.web.page_folder import export_web
from tamis.export.web.runtime import ONIG, ORT, Runtime
from tests import runs
from tests.export import exported
from tests.serving.page.conftest import browser as browser  # a fixture

ROOT = Path(__file__).resolve().parents[3]
NODE_MODULES = ROOT / "build" / "web" / "node_modules"
LOAD_MS = 60_000


@cache
def runtime() -> Runtime:
    """The packages that `make web-runtime` installs; the test is skipped without them."""
    if not all((NODE_MODULES / file.package / file.path).is_file() for file in (*ORT, *ONIG)):
        pytest.skip("onnxruntime-web and vscode-oniguruma are not installed: make web-runtime")
    return Runtime(NODE_MODULES)


def page_folder(kind: str, *, int8: bool = False) -> Path:
    """The page of an exported folder; tests only read it."""
    packages = runtime()
    source = exported.folder(kind, int8=int8)
    name = f"web-{kind}{'-int8' * int8}"
    return runs.made_once(name, lambda path: export_web(source, path, packages))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def served() -> Iterator[Callable[[Path], str]]:
    """A plain file server on loopback: gives the address of a folder."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def serve(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield serve
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page and waits until it is ready; the test fails where its script does, where it
    breaks its own policy, or where it asks for anything outside its folder.
    """
    pages: list[tuple[Any, list[str]]] = []

    def open_page(address: str | Path, *, ready: str = "Ready.") -> Any:
        whole = address.as_uri() + "/index.html" if isinstance(address, Path) else address
        base = whole.rsplit("/", 1)[0]
        page = browser.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((base, "blob:", "data:"))
                else wrong.append(request.url)
            ),
        )
        page.goto(whole)
        page.locator("#status").get_by_text(ready).wait_for(timeout=LOAD_MS)
        pages.append((page, wrong))
        page.wrong = wrong
        return page

    yield open_page
    for page, _ in pages:
        page.close()
    assert [said for _, wrong in pages for said in wrong] == []
