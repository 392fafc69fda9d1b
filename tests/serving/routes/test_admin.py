"""What an operator and a browser ask for: models, health, figures, documents, the page's files."""

from __future__ import annotations

import html
import json
import re
import shlex
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tamis import serving
from tamis.classifier.text_classifier import TextClassifier
from tamis.data.files.column_names import TEXT_NAMES
from tamis.serving.api_keys import Keys
from tamis.serving.limits import Limits
from tests import runs
from tests.serving import served

CALLS = {
    ("post", "/v1/predict"),
    ("post", "/v1/explain"),
    ("post", "/v1/feedback"),
    ("get", "/v1/feedback"),
    ("get", "/v1/examples"),
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
    assert not re.search(r"(url\(|@import|javascript:| on\w+=)", answer.text)
    assert re.findall(r'src="([^"]*)"', answer.text) == ["static/docs.js"]
    assert small.get("/static/docs.js").status_code == 200
    links = re.findall(r'href="([^"]*)"', answer.text)
    assert [link for link in links if not link.startswith("#")] == ["openapi.json", "./"]
    assert {link[1:] for link in links if link.startswith("#")} <= set(
        re.findall(r'id="([^"]*)"', answer.text)
    ), "every link of the contents and of the errors has a target"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert "script-src 'self'; connect-src 'self';" in policy


def test_each_call_of_the_docs_has_a_curl_line_and_a_form_and_each_error_is_told_once(
    small: TestClient,
) -> None:
    page = small.get("/docs").text
    sections = page.split("<section ")[1:-1]
    assert len(sections) == len(CALLS) == page.count('<form class="try"')
    for section in sections:
        (method, path) = re.findall(r'data-method="(\w+)" data-path="([^"]*)"', section)[0]
        (line,) = re.findall(r"<pre><code>(curl .*?)</code></pre>", section)
        words = shlex.split(html.unescape(line))
        target = path.replace("{id}", "1")
        assert words[:2] == ["curl", "-s"] and f"http://127.0.0.1{target}" in words
        sent = words[words.index("-X") + 1] if "-X" in words else "POST" if "-d" in words else "GET"
        assert sent == method
        if "-d" in words:
            shown = html.unescape(re.findall(r"<textarea[^>]*>(.*?)</textarea>", section)[0])
            body = words[words.index("-d") + 1]
            assert body == shown
            answer = small.post(target, content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 200, "the example is accepted as it is"
    assert page.count("The server does not accept that host name") == 1
    assert page.count('id="error-429"') == 1 and page.count("<table>") == 1


def test_the_docs_ask_for_a_key_where_one_is_needed_and_quote_no_strange_host(
    tmp_path: Path,
) -> None:
    with served.client(served.models(tmp_path / "s.sqlite"), keys=Keys.of("k")) as client:
        page = client.get("/docs").text
        assert '<label for="key">API key</label>' in page
        assert page.count("Authorization: Bearer $TAMIS_API_KEY") == 9
        strange = client.get("/docs", headers={"host": "x$(id)"}).text
        assert "$(id)" not in strange and "http://localhost:8000/v1/predict" in strange


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
    assert small.get("/v1/predict/").status_code == 405


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
