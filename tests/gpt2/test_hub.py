"""Named backbones: the real client against a hub on the loopback interface, and a fake client for
its bad days.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tamis.errors import ConfigError, DownloadError, MissingExtraError
from tamis.gpt2 import hub
from tamis.gpt2.hub import NAMED_BACKBONES, fetch_backbone
from tamis.gpt2.openai.checkpoint import read_openai

FIXTURE = Path(__file__).parents[1] / "fixtures" / "openai_tiny"
TWIN = FIXTURE / "hugging_face"
REVISION = NAMED_BACKBONES["gpt2"].revision


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class LoopbackServer(ThreadingHTTPServer):
    """Serves the two layouts of the tiny checkpoint as the hub and as OpenAI's store do; remembers
    what was asked.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.altered: dict[str, bytes] = {}
        self.absent: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: LoopbackServer

    def _answer(self, with_body: bool) -> None:
        name = self.path.rsplit("/", 1)[-1]
        self.server.asked.append(f"{self.command} {self.path}")
        prefix = f"/openai-community/gpt2/resolve/{REVISION}/"
        folder = TWIN if self.path.startswith(prefix) else FIXTURE / "openai"
        if name in self.server.absent or not (folder / name).is_file():
            self.send_response(404)
            if folder == TWIN:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        true = (folder / name).read_bytes()
        body = self.server.altered.get(name, true)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header(
            "ETag", f'"{sha256(true) if name.endswith("safetensors") else git_sha1(true)}"'
        )
        if folder == TWIN:
            self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


TINY: dict[str, Any] = {
    "parameters": 7080,
    "sha256": {"model.safetensors": sha256((TWIN / "model.safetensors").read_bytes())},
}


@pytest.fixture(autouse=True)
def _tiny_backbones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: LoopbackServer
) -> None:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("TAMIS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(NAMED_BACKBONES, "gpt2", replace(NAMED_BACKBONES["gpt2"], **TINY))
    monkeypatch.setattr(hub, "VOCABULARY_SHA256", {})
    monkeypatch.setattr(hub, "OPENAI_SHA256", {})
    monkeypatch.setattr(
        hub, "OPENAI_BASES", (f"{server.url}/mirror-one", f"{server.url}/mirror-two")
    )


class _EntryNotFoundError(Exception):
    pass


class _LocalEntryNotFoundError(_EntryNotFoundError, FileNotFoundError):
    pass


class FakeClient:
    """huggingface_hub as far as it is used here: copies from `source`, keeps a cache folder, counts
    the calls.
    """

    errors = SimpleNamespace(
        EntryNotFoundError=_EntryNotFoundError, LocalEntryNotFoundError=_LocalEntryNotFoundError
    )

    def __init__(self, cache: Path, source: Path = TWIN) -> None:
        self.cache, self.source = cache, source
        self.calls: list[str] = []
        self.absent: set[str] = set()
        self.unreachable = False

    def hf_hub_download(
        self,
        repository: str,
        file: str,
        *,
        revision: str,
        local_files_only: bool,
        force_download: bool,
        tqdm_class: Any,
    ) -> str:
        self.calls.append(f"{repository} {file}{' again' * force_download}")
        path = self.cache / repository / revision / file
        if path.is_file() and not force_download:
            return str(path)
        if local_files_only or self.unreachable:
            raise _LocalEntryNotFoundError(f"cannot find {file} in the local cache")
        if file in self.absent:
            raise _EntryNotFoundError(f"404 {file}")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.source / file, path)
        bar = tqdm_class(total=path.stat().st_size, initial=0, unit="B", unit_scale=True, desc=file)
        bar.update(path.stat().st_size)
        bar.close()
        return str(path)

    def try_to_load_from_cache(self, repository: str, file: str, *, revision: str) -> str | None:
        path = self.cache / repository / revision / file
        return str(path) if path.is_file() else None

    def hf_hub_url(self, repository: str, file: str, *, revision: str) -> str:
        return f"{repository}/{revision}/{file}"

    def get_hf_file_metadata(self, url: str) -> SimpleNamespace:
        content = (TWIN / url.rsplit("/", 1)[-1]).read_bytes()
        return SimpleNamespace(etag=git_sha1(content) if len(content) < 10_000 else sha256(content))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeClient:
    client = FakeClient(tmp_path / "hf")
    client.absent = {"tokenizer.json"}
    monkeypatch.setattr(hub, "hub_client", lambda: client)
    return client


SCRIPT = """
import json, sys
from dataclasses import replace
from tamis.errors import TamisError
from tamis.gpt2 import hub
tiny, source = json.loads(sys.argv[1]), sys.argv[2]
hub.NAMED_BACKBONES["gpt2"] = replace(hub.NAMED_BACKBONES["gpt2"], **tiny)
hub.VOCABULARY_SHA256.clear()
seen = []
try:
    note = lambda done, total: seen.append((done, total))
    folder = str(hub.fetch_backbone("gpt2", source=source, progress=note))
except TamisError as error:
    folder = f"{type(error).__name__}: {error}"
print(json.dumps([folder, seen[-1:]]))
"""


def with_the_real_client(
    server: LoopbackServer, home: Path, source: str = "hub", **extra: str
) -> tuple[str, list]:
    """fetch_backbone in a new process, since huggingface_hub reads its environment when it is
    imported.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = kept | {"HF_ENDPOINT": server.url, "HF_HOME": str(home), **extra}
    command = [
        sys.executable,
        "-W",
        "error::ResourceWarning",
        "-c",
        SCRIPT,
        json.dumps(TINY),
        source,
    ]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    folder, last = json.loads(done.stdout)
    assert "%|" not in done.stderr  # no progress bar of the client's own
    return folder, last


def test_the_real_client_fetches_from_hf_endpoint_into_hf_home_and_needs_the_network_once(
    server: LoopbackServer, tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    folder, last = with_the_real_client(server, tmp_path / "home")
    assert Path(folder).is_relative_to(tmp_path / "home") and Path(folder).name == REVISION
    for name in ("config.json", "vocab.json", "merges.txt", "model.safetensors"):
        assert (Path(folder) / name).read_bytes() == (TWIN / name).read_bytes()
    assert last == [[(TWIN / "model.safetensors").stat().st_size] * 2]
    asked = len(server.asked)
    again, _ = with_the_real_client(server, tmp_path / "home", HF_HUB_OFFLINE="1")
    assert again == folder and len(server.asked) == asked
    nothing, _ = with_the_real_client(server, tmp_path / "empty", HF_HUB_OFFLINE="1")
    assert nothing.startswith(
        "DownloadError: backbone gpt2 could not be downloaded; tried Hugging Face hub"
    )
    assert len(server.asked) == asked


def test_the_real_client_is_not_believed_where_the_weights_are_others(
    server: LoopbackServer, tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    bad = bytearray((TWIN / "model.safetensors").read_bytes())
    bad[-1] ^= 1
    server.altered["model.safetensors"] = bytes(bad)
    message, _ = with_the_real_client(server, tmp_path / "home")
    assert message.startswith("DownloadError: ") and TINY["sha256"]["model.safetensors"] in message


def test_auto_prefers_the_hub_and_reports_progress(
    client: FakeClient, server: LoopbackServer
) -> None:
    seen: list[tuple[int, int | None]] = []
    folder = fetch_backbone("gpt2", progress=lambda done, total: seen.append((done, total)))
    assert folder == client.cache / "openai-community/gpt2" / REVISION
    assert seen == [(30872, 30872)] and server.asked == []


def test_a_damaged_file_of_the_cache_is_fetched_again_once(client: FakeClient) -> None:
    folder = fetch_backbone("gpt2")
    (folder / "model.safetensors").write_bytes(b"damaged")
    (folder / "vocab.json").write_bytes(b"{}")  # its checksum is the one the hub states
    client.calls.clear()
    assert fetch_backbone("gpt2") == folder
    assert [call for call in client.calls if "again" in call] == [
        "openai-community/gpt2 vocab.json again",
        "openai-community/gpt2 model.safetensors again",
    ]
    assert (folder / "model.safetensors").read_bytes() == (TWIN / "model.safetensors").read_bytes()


def test_a_hub_that_serves_another_file_is_refused(client: FakeClient, tmp_path: Path) -> None:
    client.source = Path(shutil.copytree(TWIN, tmp_path / "other"))
    (client.source / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(
        DownloadError, match=r"model.safetensors: expected checksum [0-9a-f]{64}, got another one"
    ):
        fetch_backbone("gpt2", source="hub")


def test_files_cached_under_the_repositorys_old_name_are_found(client: FakeClient) -> None:
    shutil.copytree(TWIN, client.cache / "gpt2" / REVISION)
    client.unreachable = True
    assert fetch_backbone("gpt2", source="hub") == client.cache / "gpt2" / REVISION


def test_openais_files_step_in_where_the_hub_fails_and_are_kept(
    client: FakeClient, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.unreachable = True
    seen: list[int] = []
    folder = fetch_backbone("gpt2", progress=lambda done, total: seen.append(done))
    assert folder == Path(os.environ["TAMIS_CACHE"]) / "backbones" / "openai-124M"
    assert read_openai(folder)[0]["n_vocab"] == 263 and seen[-1] == 28320
    assert all(asked.startswith("GET /mirror-one/124M/") for asked in server.asked)
    asked, calls = len(server.asked), len(client.calls)
    monkeypatch.setenv("TAMIS_OFFLINE", "1")
    assert fetch_backbone("gpt2") == folder
    assert (
        len(server.asked) == asked and len(client.calls) == calls
    )  # what is here is not looked for elsewhere


def test_tamis_offline_binds_the_hubs_client_too(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMIS_OFFLINE", "1")
    with pytest.raises(
        DownloadError, match=r"cannot find config.json in the local cache.*TAMIS_OFFLINE disables"
    ):
        fetch_backbone("gpt2")
    assert not client.cache.exists()


def test_openais_files_serve_without_the_hubs_client(
    monkeypatch: pytest.MonkeyPatch, server: LoopbackServer
) -> None:
    monkeypatch.setattr(hub, "hub_client", lambda: None)
    assert fetch_backbone("gpt2").name == "openai-124M"
    with pytest.raises(MissingExtraError, match=r"pip install .*\[hub\]"):
        fetch_backbone("gpt2", source="hub")
    with pytest.raises(
        MissingExtraError, match="downloading distilgpt2 from the Hugging Face hub needs"
    ):
        fetch_backbone("distilgpt2")


def test_a_damaged_index_of_openais_shows_at_once(server: LoopbackServer) -> None:
    server.altered["model.ckpt.index"] = b"<html>please log in</html>"
    with pytest.raises(DownloadError, match=r"model.ckpt.index: expected .* truncated or altered"):
        fetch_backbone("gpt2", source="openai")


def test_where_nothing_works_every_attempt_is_named_and_what_to_do(
    client: FakeClient, server: LoopbackServer
) -> None:
    client.unreachable = True
    server.absent = {"hparams.json"}
    with pytest.raises(DownloadError) as caught:
        fetch_backbone("gpt2")
    message = str(caught.value)
    assert (
        f"Hugging Face hub (openai-community/gpt2 at {REVISION[:12]}): _LocalEntryNotFoundError"
        in message
    )
    assert f"{server.url}/mirror-two/124M/hparams.json: HTTP 404 Not Found" in message
    assert "pass it with --backbone FOLDER, or use the embedded backbone nano" in message


def test_unknown_names_and_sources_are_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError,
        match=r"'gpt3' is not one of \['distilgpt2', 'gpt2', 'gpt2-large', 'gpt2-medium'",
    ):
        fetch_backbone("gpt3")
    with pytest.raises(
        ConfigError, match=r"distilgpt2: source: expected one of \['auto', 'hub'\], got 'openai'"
    ):
        fetch_backbone("distilgpt2", source="openai")


def test_the_pinned_facts_are_well_formed_and_consistent() -> None:
    blocks = {
        "gpt2": (12, 768),
        "gpt2-medium": (24, 1024),
        "gpt2-large": (36, 1280),
        "gpt2-xl": (48, 1600),
    }
    for name, (layers, c) in (blocks | {"distilgpt2": (6, 768)}).items():
        backbone = NAMED_BACKBONES[name]
        if name != "gpt2":  # replaced by the tiny one here
            assert (
                backbone.parameters == (50257 + 1024) * c + layers * (12 * c * c + 13 * c) + 2 * c
            )
        assert len(backbone.revision) == 40
        assert all(
            len(checksum) == 64 and int(checksum, 16) for checksum in backbone.sha256.values()
        )
    assert (
        len({checksum for b in NAMED_BACKBONES.values() for checksum in b.sha256.values()})
        == 1 + 2 * 3
    )
