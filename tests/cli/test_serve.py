"""`tamis serve` as a process: its address, its stop, what a kill leaves, and how it refuses to
start.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tamis.classifier.model_folder import find_model
from tamis.classifier.text_classifier import TextClassifier
from tamis.errors import install_command
from tests import runs
from tests.runs import tamis as run


@contextlib.contextmanager
def serving(
    *arguments: str | Path, before: str = ""
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server process and the first line it prints; `before` is Python that runs first."""
    process = runs.process("serve", *arguments, "--port", "0", "--threads", "1", before=before)
    assert process.stdout is not None and process.stderr is not None
    try:
        line = process.stdout.readline().decode().strip()
        assert line, process.stderr.read().decode()
        yield process, line
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def call(
    address: str, path: str, body: object = None, method: str | None = None, **headers: str
) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{address}{path}", data, {"content-type": "application/json", **headers}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return runs.copy_of(find_model(runs.finished_run()), tmp_path / "mine")


def test_a_server_answers_keeps_what_it_acknowledged_through_a_kill_and_stops_when_asked(
    folder: Path,
) -> None:
    before = runs.contents(folder)
    with serving(folder) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        ids = call(
            address,
            "/v1/feedback",
            {"items": [{"text": "win a prize", "label": "ham", "force": True}]},
        )[1]["ids"]
        process.kill()
    with serving(folder, "--json", "--allow-host", "Mine.example") as (process, line):
        said = json.loads(line)
        address = said["url"]
        assert said["models"] == ["mine"]
        assert [
            call(address, "/healthz", host=name)[0]
            for name in ("mine.example", "localhost:1", "evil.example")
        ] == [200, 200, 421]
        assert [item["id"] for item in call(address, "/v1/feedback")[1]["items"]] == ids
        assert call(address, "/v1/models")[1]["models"][0]["learning"] is not None
        with socket.create_connection(
            ("127.0.0.1", int(address.rpartition(":")[2])), timeout=30
        ) as connection:
            body = json.dumps(
                {"texts": [f"text number {number}" for number in range(900)]}
            ).encode()
            head = (
                "POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: "
                "application/json\r\nexpect: 100-continue\r\n"
            )
            connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode())
            assert connection.recv(100).startswith(
                b"HTTP/1.1 100"
            )  # from here on the request is accepted
            process.send_signal(signal.SIGTERM)
            until = time.monotonic() + 10
            with pytest.raises(OSError):  # no longer listening
                while time.monotonic() < until:
                    socket.create_connection(connection.getpeername(), timeout=5).close()
            connection.sendall(body)
            answer = b"".join(iter(lambda: connection.recv(2**16), b""))
        assert (
            answer.startswith(b"HTTP/1.1 200")
            and len(json.loads(answer.partition(b"\r\n\r\n")[2])["results"]) == 900
        )
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0 and out == b""
        events = [json.loads(line) for line in err.decode().splitlines()]
        assert {"request"} <= {event["event"] for event in events} and b"text number" not in err
    assert runs.contents(folder) == before, "a run is never written to"
    assert folder.with_name("mine.feedback.sqlite").is_file()


def test_named_models_keys_and_limits_reach_the_server(folder: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    made = run("serve", "--new-key", keys)
    key = made.out.strip()
    assert made.code == 0 and len(key) > 40 and key not in keys.read_text(encoding="utf-8")
    options: list[str | Path] = [
        "--api-key-file",
        keys,
        "--store",
        tmp_path / "kept" / "s.sqlite",
        "--max-texts",
        "2",
    ]
    with serving(f"first={folder}", f"second={folder}", *options) as (_, address):
        assert call(address, "/v1/models")[0] == 401
        bearer = {"authorization": f"Bearer {key}"}
        assert [model["name"] for model in call(address, "/v1/models", **bearer)[1]["models"]] == [
            "first",
            "second",
        ]
        assert call(address, "/v1/predict", {"texts": ["a"] * 3}, **bearer)[0] == 413
        expected = TextClassifier.load(folder, threads=1).predict_proba(["win a prize"])[0]
        found = call(
            address, "/v1/predict", {"texts": ["win a prize"], "model": "second"}, **bearer
        )[1]["results"][0]
        assert list(found["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-5)
        assert (
            call(
                address,
                "/v1/feedback",
                {"items": [{"text": "a", "label": "ham", "model": "second"}]},
                **bearer,
            )[0]
            == 200
        )
        assert len(call(address, "/v1/feedback", **bearer)[1]["items"]) == 1
    assert (tmp_path / "kept" / "s.sqlite").is_file() and not folder.with_name(
        "mine.feedback.sqlite"
    ).exists()


def test_a_server_that_cannot_start_says_why(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = ("--port", "0")
    assert "no-run does not exist" in run("serve", tmp_path / "no-run", *free).error
    assert "different names" in run("serve", folder, folder, *free).error
    assert "contains no API key" in run("serve", folder, *free, "--api-key-file", "/dev/null").error
    assert (
        "everyone who can reach 0.0.0.0 can use this server"
        in run("serve", tmp_path / "no-run", *free, "--host", "0.0.0.0").err
    )
    (tmp_path / "notes.txt").write_text("these are notes, not a store" * 50)
    assert (
        "not a store of corrections"
        in run("serve", folder, *free, "--store", tmp_path / "notes.txt").error
    )
    monkeypatch.setenv("TAMIS_API_KEY", "")
    assert "TAMIS_API_KEY is set but empty" in run("serve", folder, *free).error
    monkeypatch.delenv("TAMIS_API_KEY")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert (
            f"port {port} of 127.0.0.1 is used" in run("serve", folder, "--port", str(port)).error
        )
    assert not (tmp_path / "no-run.feedback.sqlite").exists() and (
        tmp_path / "notes.txt"
    ).read_text().startswith("these are notes")
    assert (
        run("serve").code
        == run("serve", folder, "--port", "70000").code
        == run("serve", folder, "--max-texts", "0").code
        == 2
    )


def test_without_the_extra_the_install_line_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert install_command("serve") in run("serve", folder, "--port", "0").error
