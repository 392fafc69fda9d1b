"""A download, killed at any moment and repeated, ends with the whole file and nothing beside it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.faults.kills import End, Forks, Work, survived

CONTENT = np.random.default_rng(7).bytes(300_007)
PIECE = 20_000
PROGRAM = """
import sys
from pathlib import Path
from tamis.download import fetch
address, sha256 = sys.argv[1:]
fetch([address], Path("new/file.bin"), sha256=sha256 or None, size=None if sha256 else {size})
"""


class _Handler(BaseHTTPRequestHandler):
    """Sends the file in pieces, from the asked place on."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        start = 0
        if asked := self.headers.get("Range"):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.send_header("ETag", '"v1"')
        self.end_headers()
        self.close_connection = True
        try:
            for place in range(start, len(CONTENT), PIECE):
                self.wfile.write(CONTENT[place : place + PIECE])
        except OSError:
            pass  # the other side was killed

    def log_message(self, *positional: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/file"
        server.shutdown()
        thread.join()


def whole_or_absent(here: Path, end: End) -> None:
    file = here / "new" / "file.bin"
    assert not file.exists() or file.read_bytes() == CONTENT, "the file is not whole"


@pytest.mark.parametrize("known", [True, False], ids=["sha256", "size-only"])
def test_a_killed_download_ends_like_an_undisturbed_one(
    known: bool,
    address: str,
    forks: Forks,
    kills: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    work = Work(
        (address, hashlib.sha256(CONTENT).hexdigest() if known else ""),
        program=PROGRAM.format(size=len(CONTENT)),
        whole=whole_or_absent,
    )
    survived(forks, work, tmp_path, kills)
