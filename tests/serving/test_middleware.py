"""The door: keys, names, headers on whatever answer, and faults that tell nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tamis.serving.api_keys import Keys
from tamis.serving.middleware import HEADERS
from tests.serving import served

KEY = "a long and secret key"
OPEN = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/"),
    ("GET", "/static/x"),
]
CLOSED = [
    ("POST", "/v1/predict"),
    ("POST", "/v1/explain"),
    ("POST", "/v1/feedback"),
    ("GET", "/v1/feedback"),
    ("DELETE", "/v1/feedback"),
    ("DELETE", "/v1/feedback/1"),
    ("GET", "/v1/models"),
    ("GET", "/v1/nothing"),
    ("GET", "/metrics"),
]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = served.models(tmp_path_factory.mktemp("store") / "s.sqlite")
    with served.client(models, keys=Keys.of(KEY)) as client:
        yield client


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_without_its_key_nothing_is_answered(closed: TestClient, method: str, path: str) -> None:
    for given in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": KEY},
    ):
        answer = closed.request(method, path, headers=given)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "unauthorized" and KEY not in answer.text
    assert (
        closed.request(method, path, headers={"authorization": f"Bearer {KEY}"}).status_code != 401
    )


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_health_and_documents_need_none(closed: TestClient, method: str, path: str) -> None:
    assert closed.request(method, path).status_code in (200, 307, 404)


def test_every_answer_has_the_security_headers_and_none_opens_to_other_origins(
    small: TestClient,
) -> None:
    origin = {"origin": "https://elsewhere.example", "access-control-request-method": "POST"}
    for method, path in [*OPEN, *CLOSED, ("OPTIONS", "/v1/predict"), ("GET", "/nothing")]:
        answer = small.request(method, path, headers=origin)
        for name, value in HEADERS.items():
            found = answer.headers[name]
            assert (
                found == value
                or (name == "cache-control" and found == "no-cache")
                or path == "/docs"
            ), (path, name)
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "server" not in answer.headers


def test_an_open_server_answers_to_its_own_names_only(tmp_path: Path) -> None:
    models = served.models(tmp_path / "s.sqlite")
    with served.client(
        models, hosts=frozenset({"127.0.0.1", "localhost", "::1", "mine.example"})
    ) as client:
        for host in (
            "127.0.0.1",
            "127.0.0.1:8000",
            "LOCALHOST:1",
            "localhost.",
            "[::1]:8000",
            "[::1]",
            "mine.example:443",
        ):
            assert client.get("/v1/models", headers={"host": host}).status_code == 200, host
        for host in (
            "evil.example",
            "evil.example:8000",
            "127.0.0.1.evil.example",
            "[::2]:8000",
            "mine.example.evil",
            ":8000",
        ):
            answer = client.get("/v1/models", headers={"host": host})
            assert answer.status_code == 421 and answer.json()["error"]["code"] == "wrong_host", (
                host
            )


def test_a_fault_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    models = served.models(tmp_path / "s.sqlite")

    def fault(user: str = "") -> None:
        raise RuntimeError(f"a secret text in {tmp_path}")

    with served.client(models) as client, caplog.at_level("INFO", "tamis.serving"):
        monkeypatch.setattr(next(iter(models)), "classifier", fault)
        answer = client.post("/v1/predict", json={"texts": ["a secret text"]})
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "internal"
    assert "secret" not in answer.text and str(tmp_path) not in answer.text
    (line,) = [record.fields for record in caplog.records if record.message == "error"]  # type: ignore[attr-defined]
    assert (
        line["error"] == "RuntimeError"
        and line["at"][-1].startswith("test_middleware.py:")
        and "secret" not in str(line)
    )
