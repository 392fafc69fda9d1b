"""Downloads against a real server on the loopback interface that can cut, lie, change its file and
refuse.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis import download
from tamis.cache import cache_directory
from tamis.download import fetch, is_verified
from tamis.errors import DownloadError

CONTENT = np.random.default_rng(7).bytes(100_003)
OTHER = np.random.default_rng(8).bytes(100_003)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class FileServer(ThreadingHTTPServer):
    """Serves one file under every path; the lists say what happens to the coming requests, in
    order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = CONTENT
        self.etag: str | None = '"v1"'
        self.ranges = True
        self.honours_if_range = True
        self.cuts: list[int] = []  # bytes to send of the body before the connection is closed
        self.statuses: list[int] = []
        self.requests: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        server.requests.append({"path": self.path, **self.headers})
        self.close_connection = True
        if server.statuses:
            self.send_response(server.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body, start = server.content, 0
        asked = self.headers.get("Range")
        same = self.headers.get("If-Range") in {None, server.etag} or not server.honours_if_range
        if asked and server.ranges and same:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        self.wfile.write(body[start:][: server.cuts.pop(0)] if server.cuts else body[start:])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _own_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("TAMIS_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "BACKOFF_S", 0.001)


def dead_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/file"


def leftovers(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_fetched_verified_and_progress_reaches_the_end(
    server: FileServer, tmp_path: Path
) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "file.bin"
    got = fetch(
        [server.url],
        target,
        sha256=sha256(CONTENT),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert got == target and target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and seen == sorted(seen)
    assert leftovers(target) == ["file.bin"]


def test_a_verified_file_is_returned_without_a_request(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    fetch([server.url], tmp_path / "file", sha256=sha256(CONTENT), size=len(CONTENT))
    assert server.requests == []


def test_a_wrong_file_in_place_is_replaced(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OTHER)
    fetch([server.url], tmp_path / "file", sha256=sha256(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_cut_connection_is_continued_where_it_ended(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [70_001]
    fetch([server.url], tmp_path / "file", sha256=sha256(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [request.get("Range") for request in server.requests] == [None, "bytes=70001-"]
    assert server.requests[1]["If-Range"] == '"v1"'


def test_a_later_call_continues_what_an_earlier_one_left(
    server: FileServer, tmp_path: Path
) -> None:
    server.cuts = [50_000]
    server.statuses = []
    target = tmp_path / "file"

    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch([server.url], target, sha256=None, progress=interrupt)
    kept = (tmp_path / "file.part").stat().st_size
    assert 0 < kept <= 50_000 and not target.exists()
    fetch([server.url], target, sha256=None)
    assert target.read_bytes() == CONTENT
    assert server.requests[-1]["Range"] == f"bytes={kept}-"


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cuts=st.lists(st.integers(1, 60_000), max_size=6),
    ranges=st.booleans(),
    etag=st.sampled_from(['"v1"', 'W/"v1"', None]),
    with_sha=st.booleans(),
)
def test_any_series_of_cuts_gives_the_same_bytes_or_an_error(
    server: FileServer, cuts: list[int], ranges: bool, etag: str | None, with_sha: bool
) -> None:
    server.cuts, server.ranges, server.etag = list(cuts), ranges, etag
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "file"
        try:
            fetch([server.url], target, sha256=sha256(CONTENT) if with_sha else None)
        except DownloadError as error:
            assert "the connection ended after" in str(error) and not target.exists()
        else:
            assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_starts_anew(server: FileServer, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [70_000]
    fetch([server.url], tmp_path / "file", sha256=sha256(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT and len(server.requests) == 2


def test_a_file_that_changed_meanwhile_is_not_glued(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(OTHER[:40_000])
    (tmp_path / "file.part.json").write_text(f'{{"url": "{server.url}", "validator": "\\"v0\\""}}')
    fetch([server.url], tmp_path / "file", sha256=None)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.requests[0]["If-Range"] == '"v0"'


def test_a_weak_validator_does_not_join_two_halves(server: FileServer, tmp_path: Path) -> None:
    server.etag, server.cuts = 'W/"v1"', [70_000]
    fetch([server.url], tmp_path / "file", sha256=None)
    assert ["Range" in request for request in server.requests] == [False, False]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_part_of_unknown_origin_and_the_right_size_is_not_trusted(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "file.part").write_bytes(OTHER)
    fetch([server.url], tmp_path / "file", sha256=None, size=len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_part_of_unknown_origin_is_used_only_where_a_checksum_decides(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:40_000])
    fetch([server.url], tmp_path / "file", sha256=None)
    assert "Range" not in server.requests[0]
    (tmp_path / "other.part").write_bytes(CONTENT[:40_000])
    fetch([server.url], tmp_path / "other", sha256=sha256(CONTENT))
    assert server.requests[1]["Range"] == "bytes=40000-"
    assert (tmp_path / "file").read_bytes() == (tmp_path / "other").read_bytes() == CONTENT


def test_a_glued_file_fails_its_checksum_and_is_fetched_once_more_from_nothing(
    server: FileServer, tmp_path: Path
) -> None:
    server.honours_if_range = False
    (tmp_path / "file.part").write_bytes(OTHER[:40_000])
    fetch([server.url], tmp_path / "file", sha256=sha256(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert ["Range" in request for request in server.requests] == [True, False]


def test_a_part_longer_than_the_file_is_thrown_away(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    fetch([server.url], tmp_path / "file", sha256=sha256(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_complete_part_needs_no_further_byte(server: FileServer, tmp_path: Path) -> None:
    for size in (None, len(CONTENT)):
        (tmp_path / "file.part").write_bytes(CONTENT)
        fetch([server.url], tmp_path / "file", sha256=sha256(CONTENT), size=size)
        assert (tmp_path / "file").read_bytes() == CONTENT
        (tmp_path / "file").unlink()
    assert len(server.requests) == 1  # the first asked and got 416, the second knew the size


def test_a_wrong_checksum_leaves_nothing_and_names_both(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch([server.url], tmp_path / "file", sha256=sha256(OTHER), what="the weights")
    message = str(caught.value)
    assert message.startswith("the weights (sha256 " + sha256(OTHER))
    assert (
        f"{server.url}: expected sha256 {sha256(OTHER)}, got {sha256(CONTENT)} (100,003 bytes)"
        in message
    )
    assert f"copy the file to {tmp_path / 'file'}" in message
    assert leftovers(tmp_path / "file") == []


def test_a_failed_fetch_leaves_the_file_that_was_there(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"older")
    with pytest.raises(DownloadError):
        fetch([server.url], tmp_path / "file", sha256=sha256(OTHER))
    assert (tmp_path / "file").read_bytes() == b"older"


def test_another_size_is_refused_before_the_body(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"expected 99 bytes, the server offers 100,003"):
        fetch([server.url], tmp_path / "file", sha256=None, size=99)
    assert leftovers(tmp_path / "file") == []


def test_the_second_address_helps_where_the_first_is_dead_or_wrong(
    server: FileServer, tmp_path: Path
) -> None:
    fetch([dead_url(), server.url], tmp_path / "a", sha256=sha256(CONTENT))
    server.statuses = [404]
    fetch([server.url, server.url], tmp_path / "b", sha256=sha256(CONTENT))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == CONTENT


def test_a_part_survives_an_address_that_has_not_the_file(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:40_000])
    server.statuses = [404]
    fetch([server.url, server.url], tmp_path / "file", sha256=sha256(CONTENT))
    assert [request["Range"] for request in server.requests] == ["bytes=40000-"] * 2


def test_passing_troubles_are_retried_and_lasting_ones_are_not(
    server: FileServer, tmp_path: Path
) -> None:
    server.statuses = [503, 429]
    fetch([server.url], tmp_path / "file", sha256=sha256(CONTENT))
    assert len(server.requests) == 3
    server.statuses = [404, 200]
    with pytest.raises(DownloadError, match="HTTP 404 Not Found"):
        fetch([server.url], tmp_path / "other", sha256=None)
    assert len(server.requests) == 4


def test_a_server_that_never_gets_on_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [10_000, *[0] * 10]
    with pytest.raises(DownloadError, match=r"the connection ended after 10,000 of 100,003 bytes"):
        fetch([server.url], tmp_path / "file", sha256=sha256(CONTENT))
    assert len(server.requests) == 1 + download.ATTEMPTS
    assert (tmp_path / "file.part").stat().st_size == 10_000  # kept for the next call


@pytest.mark.parametrize("switch", ["TAMIS_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_means_no_attempt(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    monkeypatch.setenv(switch, "1")
    with pytest.raises(
        DownloadError, match=f"the table: .* does not exist, and {switch} disables downloads; unset"
    ):
        fetch([server.url], tmp_path / "file", sha256=None, what="the table")
    (tmp_path / "file").write_bytes(CONTENT)
    fetch([server.url], tmp_path / "file", sha256=sha256(CONTENT))
    assert server.requests == []


def test_the_proxy_of_the_environment_is_used(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/file"))
    monkeypatch.setenv("no_proxy", "")
    fetch(["http://files.example/x"], tmp_path / "file", sha256=sha256(CONTENT))
    assert server.requests[0]["path"] == "http://files.example/x"


def test_other_kinds_of_addresses_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with pytest.raises(DownloadError, match="expected an http or https address, got file"):
        fetch([(tmp_path / "secret").as_uri()], tmp_path / "file", sha256=None)


def test_two_at_once_fetch_one_file_once(server: FileServer, tmp_path: Path) -> None:
    results: list[bytes] = []

    def one() -> None:
        results.append(fetch([server.url], tmp_path / "file", sha256=sha256(CONTENT)).read_bytes())

    threads = [threading.Thread(target=one) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [CONTENT] * 5 and len(server.requests) == 1


def test_a_place_that_cannot_be_written_is_named(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where a folder is needed")
    with pytest.raises(DownloadError, match=r"cannot be written to .*blocked.*TAMIS_CACHE"):
        fetch([server.url], tmp_path / "blocked" / "file", sha256=None)


def test_a_proof_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    hashed: list[Path] = []
    real = download.sha256_of

    def counted(path: Path) -> Any:
        hashed.append(path)
        return real(path)

    monkeypatch.setattr(download, "sha256_of", counted)
    assert is_verified(path, sha256=sha256(CONTENT)) and is_verified(path, sha256=sha256(CONTENT))
    assert len(hashed) == 1
    assert not is_verified(path, sha256=sha256(OTHER))
    before = path.stat()
    path.write_bytes(OTHER)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert not is_verified(path, sha256=sha256(CONTENT))
    assert not is_verified(tmp_path / "absent", sha256=sha256(CONTENT))
    assert not is_verified(tmp_path, sha256=sha256(CONTENT))


def test_the_cache_directory_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert cache_directory() == tmp_path / "cache"
    monkeypatch.delenv("TAMIS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "tamis"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "tamis"
