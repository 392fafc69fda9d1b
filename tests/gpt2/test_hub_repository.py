"""Any repository of the hub by its name: the real client against a hub on the loopback interface,
and the hub's cache without the client.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tamis import CheckpointError, ConfigError, MissingExtraError, TextClassifier
from tamis.classifier.model_folder import find_model
from tamis.errors import DownloadError, RunError
from tamis.gpt2 import hub, hub_repository
from tamis.gpt2.backbones import load_backbone
from tamis.gpt2.hub_cache import hub_cache_directory, snapshot_in
from tamis.gpt2.hub_repository import HubName, hub_name
from tests import runs

COMMIT, OTHER = "a" * 40, "b" * 40


class Hub(ThreadingHTTPServer):
    """Serves repositories as the hub does: `files` by repository, commit and name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.refs: dict[tuple[str, str], str] = {}
        self.altered: set[str] = set()
        self.broken: set[str] = set()
        """Files at which the server fails"""
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def publish(self, repository: str, folder: Path, commit: str = COMMIT) -> None:
        self.files[repository, commit] = {
            file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()
        }
        self.refs[repository, "main"] = self.refs[repository, commit] = commit


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def _answer(self, with_body: bool) -> None:
        owner, name, _, revision, file = self.path.strip("/").split("/", 4)
        self.server.asked.append(f"{self.command} {revision} {file}")
        commit = self.server.refs.get((f"{owner}/{name}", revision))
        content = self.server.files.get((f"{owner}/{name}", commit or ""), {}).get(file)
        if file in self.server.broken:
            self.send_response(500)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if commit is None or content is None:
            self.send_response(404)
            code = "RepoNotFound" if commit is None else "EntryNotFound"
            self.send_header("X-Error-Code", code)
            if commit is not None:
                self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        large = file.endswith("safetensors")
        stated = hashlib.sha256(content) if large else hashlib.sha1(_git(content))
        if file in self.server.altered:
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{stated.hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *args: object) -> None:
        pass


def _git(content: bytes) -> bytes:
    return b"blob %d\0" % len(content) + content


@pytest.fixture
def server() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


SCRIPT = """
import json, sys, time
time.sleep = lambda seconds: None  # the client waits longer and longer between its tries
from tamis.errors import TamisError
from tamis.classifier.model_folder import find_model
from tamis.gpt2.locate import remote_folder
found = []
for name in sys.argv[1:]:
    try:
        run = name.removeprefix("run:")
        found.append(str(find_model(run) if run != name else remote_folder(name)))
    except TamisError as error:
        found.append(f"{type(error).__name__}: {error}")
print(json.dumps(found))
"""


def located(server: Hub, home: Path, *names: str, **extra: str) -> list[str]:
    """What names mean, in a new process: huggingface_hub reads its environment when imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = kept | {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(home),
        "no_proxy": "127.0.0.1",
        **extra,
    }
    command = [sys.executable, "-c", SCRIPT, *names]
    done = subprocess.run(
        command,
        env=environment,
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [str(found) for found in json.loads(done.stdout)]


def test_only_what_is_read_is_fetched_once_from_one_commit_and_works_offline(
    server: Hub, tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    folder = runs.copy_of(runs.pretrained(), tmp_path / "published")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling_own.py").write_bytes(b"raise SystemExit")
    server.publish("some-one/tiny.GPT_2", folder)
    home = tmp_path / "home"
    (found,) = located(server, home, "some-one/tiny.GPT_2")
    assert Path(found).name == COMMIT and Path(found).is_relative_to(home)
    assert (Path(found) / "model.safetensors").read_bytes() == (
        folder / "model.safetensors"
    ).read_bytes()
    fetched = {line.split()[-1] for line in server.asked if line.startswith("GET")}
    assert fetched == {"config.json", "model.safetensors", "tokenizer.json"} | (
        {"tokenizer_config.json"} if (folder / "tokenizer_config.json").is_file() else set()
    )
    revisions = {line.split()[1] for line in server.asked if "adapter_config" not in line}
    assert revisions == {"main", COMMIT}  # config.json of main, all others of its commit
    assert load_backbone(found).fingerprint == load_backbone(runs.pretrained()).fingerprint

    asked = len(server.asked)
    offline = located(server, home, "some-one/tiny.GPT_2", HF_HUB_OFFLINE="1")
    assert offline == [found] and len(server.asked) == asked
    (never,) = located(server, home, "some-one/other", HF_HUB_OFFLINE="1")
    assert "is not in the hub's cache, and HF_HUB_OFFLINE disables downloads" in never


def test_a_hub_that_breaks_off_is_an_error_and_no_missing_tokenizer(
    server: Hub, tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    server.publish("org/model", runs.pretrained())
    server.broken.add("tokenizer_config.json")
    (found,) = located(server, tmp_path / "home", "org/model")
    assert found.startswith("DownloadError: org/model is no folder here"), found


def test_a_revision_is_pinned_and_a_run_may_be_on_the_hub(server: Hub, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    server.publish("org/model", runs.pretrained(), COMMIT)
    server.publish("org/model", runs.head_model(), OTHER)
    server.refs["org/model", "v1"] = COMMIT
    home = tmp_path / "home"
    found = located(
        server, home, "run:org/model", "org/model@v1", f"org/model@{COMMIT}", "run:org/model@v1"
    )
    assert [Path(path).name for path in found] == [OTHER, COMMIT, COMMIT, COMMIT]
    loaded = TextClassifier.load(found[0], threads=1)
    assert loaded.classes_.tolist() == ["ham", "spam"]


def test_altered_missing_and_unsafe_files_are_refused_in_one_line(
    server: Hub, tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    server.publish("org/good", runs.pretrained())
    server.altered.add("model.safetensors")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_bytes(b"{}")
    (pickled / "pytorch_model.bin").write_bytes(b"pickle")
    server.publish("org/pickled", pickled)
    (tmp_path / "empty").mkdir()
    server.publish("org/empty", tmp_path / "empty")
    sharded = tmp_path / "sharded"
    sharded.mkdir()
    (sharded / "config.json").write_bytes(b"{}")
    (sharded / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"wte.weight": "../../../outside.safetensors"}})
    )
    server.publish("org/sharded", sharded)
    names = ("org/good", "org/pickled", "org/empty", "org/sharded", "org/none", "run:org/none@x")
    altered, pickle, empty, outside, none, run = located(server, tmp_path / "home", *names)
    assert altered.startswith("DownloadError: ") and "expected checksum" in altered
    assert "has no model.safetensors; tamis reads no pickle files" in pickle
    assert "has no config.json" in empty
    assert "weight_map: expected a safetensors file in the same folder" in outside
    assert "org/none is no folder here" in none and "(org/none at main)" in none
    assert "org/none@x is no folder here" in run and "(org/none at x)" in run
    assert all("\n" not in line for line in (altered, pickle, empty, outside, none, run))
    assert not any("pytorch_model.bin" in line for line in server.asked)


def cached(home: Path, name: str = "org/cached") -> Path:
    """A repository in the layout of the hub's cache, with links to blobs."""
    folder = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    (folder / "refs").mkdir(parents=True)
    (folder / "blobs").mkdir()
    snapshot.mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    for file in filter(Path.is_file, runs.head_model().iterdir()):
        blob = folder / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    return folder


def test_the_cache_is_read_without_the_client_and_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub_repository, "hub_client", lambda: None)
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    folder = cached(tmp_path / "home")
    expected = TextClassifier.load(runs.head_model(), threads=1).predict_proba(["win cash"])
    for run in ("org/cached", f"org/cached@{COMMIT}", str(folder)):
        found = TextClassifier.load(run, threads=1).predict_proba(["win cash"])
        assert (found == expected).all(), run
    assert load_backbone(folder).model.config.n_embd == 32
    with pytest.raises(MissingExtraError, match=r"downloading org/other from the Hugging Face hub"):
        find_model("org/other")
    (folder / "snapshots" / COMMIT / "model.safetensors").unlink()
    with pytest.raises(MissingExtraError):
        find_model("org/cached@main")


def test_the_cache_folder_follows_the_clients_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert hub_cache_directory() == Path.home() / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert hub_cache_directory() == tmp_path / "xdg" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    assert hub_cache_directory() == tmp_path / "home" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert hub_cache_directory() == tmp_path / "cache"


def test_a_folder_of_the_cache_without_main_needs_a_single_revision(tmp_path: Path) -> None:
    for commit in (COMMIT, OTHER):
        (tmp_path / "models--a--b" / "snapshots" / commit).mkdir(parents=True)
    folder = tmp_path / "models--a--b"
    assert snapshot_in(folder) == folder
    (folder / "snapshots" / OTHER).rmdir()
    assert snapshot_in(folder) == folder / "snapshots" / COMMIT


def test_names_and_paths_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert hub_name("org/name") == HubName("org/name")
    assert hub_name("org/name@refs/pr/1") == HubName("org/name", "refs/pr/1")
    for text in (
        "gpt2",
        "a/b/c",
        "/org/name",
        "../name",
        "org/..",
        "org/name@",
        "org/na me",
        "./a",
    ):
        assert hub_name(text) is None, text
    (tmp_path / "runs").mkdir()
    assert hub_name("runs/sms") is None
    with pytest.raises(RunError, match="runs/sms does not exist"):
        find_model("runs/sms")
    with pytest.raises(ConfigError, match="neither a folder nor a known name"):
        load_backbone("runs/sms")


def test_a_backbones_own_checksums_come_before_those_of_gpt2s_vocabulary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = runs.pretrained()
    own = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    backbone = hub.NamedBackbone(
        "own", "org/own", COMMIT, 1, {"tokenizer.json": own, "config.json": "0" * 64}
    )
    asked: dict[str, str] = {}

    class Files:
        def __init__(self, client: object, name: str, revision: str, sums: dict[str, str]) -> None:
            asked.update(sums)
            raise DownloadError("enough")

    monkeypatch.setitem(hub.NAMED_BACKBONES, "own", backbone)
    monkeypatch.setattr(hub, "hub_client", lambda: _NoCache)
    monkeypatch.setattr(hub, "HubFiles", Files)
    with pytest.raises(DownloadError, match="enough"):
        hub.fetch_backbone("own")
    assert asked["tokenizer.json"] == own
    assert asked["vocab.json"] == hub.VOCABULARY_SHA256["vocab.json"]


class _NoCache:
    @staticmethod
    def try_to_load_from_cache(*args: object, **named: object) -> None:
        return None


def test_an_adapter_names_its_base_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_repository, "hub_client", lambda: None)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "adapter"
    folder.mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": "org/base", "revision": "v2"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    from safetensors.torch import save_file

    save_file({}, folder / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"adapter whose base 'org/base@v2' cannot be had"):
        TextClassifier.load(folder)
