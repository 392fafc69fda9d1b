"""What an operator and a browser ask for: models, health, figures, documents, the page's files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tamis import serving
from tamis.classifier.text_classifier import TextClassifier
from tamis.data.files.columns import TEXT_NAMES
from tamis.serving.api_keys import Keys
from tamis.serving.limits import Limits
from tests import runs
from tests.serving import served

CALLS = {
    ("post", "/v1/predict"),
    ("post", "/v1/explain"),
    ("post", "/v1/feedback"),
    ("get", "/v1/feedback"),
    ("delete", "/v1/feedback"),
    ("delete", "/v1/feedback/{id}"),
    ("get", "/v1/models"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
}


def test_models_say_how_they_decide_and_nothing_of_where_they_lie(
    small: TestClient, classifier: TextClassifier
) -> None:
    (model,) = small.get("/v1/models").json()["models"]
    rule = classifier.rule_
    assert model.pop("loaded").endswith("+00:00")
    learning = model.pop("learning")  # what other tests taught this server, if they ran before
    assert learning is None or set(learning) == {"learned", "reason"}
    assert isinstance(model.pop("pending"), int)
    assert model == {
        "name": "small",
        "default": True,
        "labels": ["ham", "spam"],
        "positive": "spam",
        "threshold": rule.threshold,
        "unsure": None if rule.low is None else [rule.low, rule.high],
        "confidence_floor": None,
        "stale": False,
    }
    assert str(runs.finished_run()) not in small.get("/v1/models").text


def test_health_and_readiness(small: TestClient, tmp_path: Path) -> None:
    assert small.get("/healthz").json() == {"status": "ok"} and small.get("/readyz").json() == {
        "status": "ready"
    }
    with served.client(served.models(tmp_path / "s.sqlite")) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        service.stopping = True
        assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 503)
        service.batcher.close()
        assert client.get("/healthz").status_code == 503
        answer = client.post("/v1/predict", json={"texts": ["a"]})
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "not_ready"


def test_metrics_follow_what_was_asked(tmp_path: Path) -> None:
    with served.client(served.models(tmp_path / "s.sqlite")) as client:
        verdicts = [
            result["verdict"]
            for result in client.post("/v1/predict", json={"texts": ["win", "see you", ""]}).json()[
                "results"
            ]
        ]
        client.post("/v1/predict", json={"texts": 1})
        client.get("/no/such/path")
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    for line in (
        f'tamis_verdicts_total{{model="small",verdict="ham"}} {float(verdicts.count("ham"))}',
        f'tamis_verdict_share{{model="small",verdict="unsure"}} {verdicts.count("unsure") / 3}',
        'tamis_requests_total{method="POST",route="/v1/predict",status="200"} 1.0',
        'tamis_requests_total{method="POST",route="/v1/predict",status="422"} 1.0',
        'tamis_requests_total{method="GET",route="other",status="404"} 1.0',
        "tamis_waiting_requests 0.0",
    ):
        assert line in answer.text, line
    assert float(re.findall(r"^tamis_batches (.*)", answer.text, flags=re.MULTILINE)[0]) >= 2


def test_the_document_has_every_call_with_every_refusal(small: TestClient) -> None:
    document = small.get("/openapi.json").json()
    assert {
        (method, path) for path, methods in document["paths"].items() for method in methods
    } == CALLS
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            wanted = {"200", "401", "405", "421", "422", "500", "503"}
            wanted |= {"408", "413", "415", "429"} if method == "post" else set()
            assert wanted <= call["responses"].keys(), (method, path)
            for status, answer in call["responses"].items():
                (schema,) = [content["schema"] for content in answer["content"].values()]
                assert schema == {"$ref": "#/components/schemas/ErrorAnswer"} or status == "200"
            assert call["description"] and ("requestBody" in call) == (method == "post")
    schemas = document["components"]["schemas"]
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert references <= schemas.keys() and "FeedbackStatus" in references
    texts = schemas["TextsBody"]["properties"]["texts"]
    assert (texts["description"], texts["items"]["description"]) == (
        "up to 1,000",
        "up to 100,000 characters",
    )
    assert schemas["FeedbackItem"]["properties"]["label"]["enum"] == ["ham", "spam"]
    assert (
        schemas["TextsBody"]["additionalProperties"]
        is schemas["FeedbackItem"]["additionalProperties"]
        is False
    )
    assert "securitySchemes" not in document["components"]


def test_with_keys_the_document_asks_for_one_and_names_nothing_without(tmp_path: Path) -> None:
    with served.client(served.models(tmp_path / "s.sqlite"), keys=Keys.of("k")) as client:
        document = client.get("/openapi.json").json()
        assert document["components"]["securitySchemes"] == {
            "key": {"type": "http", "scheme": "bearer"}
        }
        assert (
            document["paths"]["/v1/predict"]["post"]["security"]
            == document["paths"]["/metrics"]["get"]["security"]
            == [{"key": []}]
        )
        assert "security" not in document["paths"]["/healthz"]["get"]
        for path in ("/openapi.json", "/docs"):
            assert "small" not in client.get(path).text and "ham" not in client.get(path).text
            assert "small" in client.get(path, headers={"authorization": "Bearer k"}).text


def test_the_answers_are_as_the_document_says(small: TestClient) -> None:
    from tamis.serving import schemas

    texts = {"texts": ["win a prize", ""]}
    schemas.Predictions.model_validate_json(
        small.post("/v1/predict", json=texts).content, strict=True, extra="forbid"
    )
    schemas.Explanations.model_validate_json(
        small.post("/v1/explain", json=texts).content, strict=True, extra="forbid"
    )
    schemas.ServedModels.model_validate_json(
        small.get("/v1/models").content, strict=True, extra="forbid"
    )
    schemas.ErrorAnswer.model_validate_json(
        small.get("/nothing").content, strict=True, extra="forbid"
    )


def test_the_docs_name_every_call_and_fetch_nothing(small: TestClient) -> None:
    answer = small.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for method, path in CALLS:
        assert f"<code>{method.upper()} {path}</code>" in answer.text
    assert "script" not in answer.text and not re.search(r"(src|url|@import|https?:)", answer.text)
    assert re.findall(r'href="([^"]*)"', answer.text) == ["openapi.json"]
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy


def test_the_page_and_its_files_are_served_and_nothing_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    (package / "static" / "deeper").mkdir(parents=True)
    (package / "secret.txt").write_text("secret")
    for name, content in {
        "index.html": "<p>page",
        "page.js": "1",
        "page.css": "p{}",
        "notes.py": "secret",
        "deeper/x.js": "secret",
    }.items():
        (package / "static" / name).write_text(content)
    monkeypatch.setattr("importlib.resources.files", lambda name: package)
    with served.client(served.models(tmp_path / "s.sqlite")) as client:
        page = client.get("/")
        assert page.text == "<p>page" and page.headers["content-type"] == "text/html; charset=utf-8"
        assert (
            "default-src 'self'" in page.headers["content-security-policy"]
            and "unsafe" not in page.headers["content-security-policy"]
        )
        assert (
            client.get("/static/page.js").headers["content-type"]
            == "text/javascript; charset=utf-8"
        )
        assert client.get("/static/page.css").text == "p{}"
        for name in (
            "notes.py",
            "secret.txt",
            "..%2fsecret.txt",
            "%2e%2e/secret.txt",
            "deeper/x.js",
            "deeper%2fx.js",
            "",
            "x" * 3_000,
        ):
            assert client.get(f"/static/{name}").status_code == 404, name


def test_without_a_page_the_root_leads_to_the_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda name: tmp_path)
    with served.client(served.models(tmp_path / "s.sqlite")) as client:
        assert (client.get("/").status_code, client.get("/").headers["location"]) == (307, "docs")


def test_a_path_knows_all_its_methods(small: TestClient) -> None:
    answer = small.put("/v1/feedback")
    assert answer.status_code == 405 and answer.json()["error"]["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "DELETE, GET, HEAD, POST"
    for method in ("OPTIONS", "TRACE", "PATCH", "BREW"):
        assert small.request(method, "/v1/predict").status_code == 405
    assert small.get("/v1/predict/").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/models",
        "/v1/feedback",
        "/healthz",
        "/readyz",
        "/metrics",
        "/docs",
        "/static/page.js",
        "/nothing",
    ],
)
def test_head_is_get_without_the_body(small: TestClient, path: str) -> None:
    full, head = small.get(path), small.head(path)
    assert head.content == b"" and head.status_code == full.status_code
    changing = {"content-length"} if path == "/metrics" else set()
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in full.headers.items() if k not in changing
    }
    assert small.head("/v1/predict").status_code == 405 and small.head("/v1/predict").content == b""


def test_the_models_come_with_what_a_request_may_hold(small: TestClient) -> None:
    limits = Limits()
    expected = {
        "body_bytes": limits.body_bytes,
        "texts": limits.texts,
        "text_chars": limits.text_chars,
    }
    assert small.get("/v1/models").json()["limits"] == expected


def test_the_document_says_how_a_correction_is_undone(small: TestClient) -> None:
    paths = small.get("/openapi.json").json()["paths"]
    (link,) = paths["/v1/feedback"]["post"]["responses"]["200"]["links"].values()
    assert link["operationId"] == paths["/v1/feedback/{id}"]["delete"]["operationId"]
    kept = small.post("/v1/feedback", json={"items": [{"text": "a link", "label": "ham"}]}).json()
    assert (
        link["parameters"] == {"id": "$response.body#/ids/0"}
        and small.delete(f"/v1/feedback/{kept['ids'][0]}").status_code == 200
    )


def test_the_page_finds_the_text_column_by_the_names_that_tables_are_read_by() -> None:
    script = (Path(serving.__file__).parent / "static" / "tables.js").read_text(encoding="utf-8")
    listed = script.partition("const TEXT_NAMES = [")[2].partition("];")[0]
    assert tuple(re.findall(r'"(\w+)"', listed)) == TEXT_NAMES
