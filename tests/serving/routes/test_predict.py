"""Verdicts and explanations over HTTP against the library's own, and every way of asking for them
wrongly.
"""

from __future__ import annotations

import dataclasses
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tamis.classifier.explain import Explanation, explain
from tamis.classifier.text_classifier import TextClassifier
from tamis.serving.limits import Limits
from tests.rows import messages
from tests.serving import served

ODD = [
    "",
    " ",
    "a\x00b",
    "<|endoftext|>",
    "é e\u0301 👨‍👩‍👧",
    "two\nlines\r\n",
    "word " * 900,
    "x" * 5_000,
]
JSON = {"content-type": "application/json"}


def probabilities(answer: dict, labels: list[str]) -> np.ndarray:
    return np.array(
        [[result["probabilities"][label] for label in labels] for result in answer["results"]]
    )


def test_answers_are_the_classifiers_own_in_the_order_of_the_texts(
    small: TestClient, classifier: TextClassifier
) -> None:
    texts = [*ODD, *(text for _, text in messages()[:40]), ODD[6], ODD[0]]
    answer = small.post("/v1/predict", json={"texts": texts})
    assert answer.status_code == 200
    expected = classifier.verdicts(texts)
    assert [(r["label"], r["verdict"]) for r in answer.json()["results"]] == [
        (v.label, v.verdict) for v in expected
    ]
    assert answer.json()["results"][0].keys() == {"label", "verdict", "probabilities"}
    np.testing.assert_allclose(
        probabilities(answer.json(), ["ham", "spam"]), classifier.predict_proba(texts), atol=1e-5
    )
    assert small.post("/v1/predict", json={"texts": [], "model": "small"}).json() == {"results": []}


def test_a_doubtful_text_is_unsure_and_has_its_label_all_the_same(tmp_path: Path) -> None:
    loaded = served.models(tmp_path / "s.sqlite")
    classifier = loaded.named(None).classifier()
    classifier.rule_ = dataclasses.replace(classifier.rule_, low=0.0, high=1.0)
    with served.client(loaded) as client:
        results = client.post("/v1/predict", json={"texts": ["a", "WINNER! call now"]}).json()[
            "results"
        ]
        assert [result["verdict"] for result in results] == ["unsure", "unsure"]
        assert [result["label"] for result in results] == classifier.predict(
            ["a", "WINNER! call now"]
        ).tolist()
        assert (
            'tamis_verdict_share{model="small",verdict="unsure"} 1.0' in client.get("/metrics").text
        )


def test_who_shares_a_batch_changes_no_answer(
    small: TestClient, classifier: TextClassifier
) -> None:
    texts = [text for _, text in messages()] + ODD
    random.Random(5).shuffle(texts)
    expected = dict(zip(texts, classifier.predict_proba(texts), strict=True))

    def ask(number: int) -> list[tuple[str, np.ndarray]]:
        own = texts[number::11] if number % 2 else [texts[number]]
        return list(
            zip(
                own,
                probabilities(
                    small.post("/v1/predict", json={"texts": own}).json(), ["ham", "spam"]
                ),
                strict=True,
            )
        )

    with ThreadPoolExecutor(11) as pool:
        found = [pair for pairs in pool.map(ask, range(11)) for pair in pairs]
    assert len(found) > 60
    for text, row in found:
        np.testing.assert_allclose(row, expected[text], atol=1e-5)


def test_explanations_are_the_librarys_own(small: TestClient, classifier: TextClassifier) -> None:
    texts = ["WINNER! call now for a prize", "", "é 👨‍👩‍👧 <|endoftext|>"]
    results = small.post("/v1/explain", json={"texts": texts}).json()["results"]
    for text, found in zip(texts, results, strict=True):
        expected = explain(classifier, text).to_dict()
        assert (
            found.keys() == expected.keys()
            and found["label"] == expected["label"]
            and found["notes"] == expected["notes"]
        )
        assert [(w["start"], w["end"], w["word"]) for w in found["words"]] == [
            (w["start"], w["end"], w["word"]) for w in expected["words"]
        ]
        for kind, value in (("tokens", "probability"), ("words", "attribution")):
            np.testing.assert_allclose(
                [x[value] for x in found[kind]], [x[value] for x in expected[kind]], atol=1e-4
            )


def test_explanations_are_bounded_and_one_that_waited_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, reached = threading.Event(), threading.Event()

    def slow(classifier: TextClassifier, text: str) -> Explanation:
        reached.set()
        gate.wait(5)
        return explain(classifier, text)

    monkeypatch.setattr("tamis.serving.routes.predict.explain", slow)
    limits = Limits(explanations=2, wait_s=0.05)
    with (
        served.client(served.models(tmp_path / "s.sqlite"), limits=limits) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        first = pool.submit(client.post, "/v1/explain", json={"texts": ["a", "b"]})
        assert reached.wait(5)
        second = pool.submit(client.post, "/v1/explain", json={"texts": ["a"]})
        service = client.app.state.service  # type: ignore[attr-defined]
        while service.explanations < 2:
            time.sleep(0.001)
        begun = time.monotonic()
        third = client.post("/v1/explain", json={"texts": ["a"]})
        assert time.monotonic() - begun < 2  # told at once
        assert (
            client.post("/v1/predict", json={"texts": ["a"]}).status_code == 200
        )  # verdicts do not wait for explanations
        time.sleep(0.06)
        gate.set()
        assert [first.result().status_code, second.result().status_code, third.status_code] == [
            200,
            429,
            429,
        ]
        assert (
            int(second.result().headers["retry-after"]) >= 1
            and int(third.headers["retry-after"]) >= 1
        )
        assert len(first.result().json()["results"]) == 2 and service.explanations == 0


def test_a_user_is_answered_by_the_users_own_model(tmp_path: Path) -> None:
    loaded = served.models(tmp_path / "s.sqlite")
    with served.client(loaded) as client:
        learning = loaded.named(None).learning
        assert isinstance(learning, served.Parrot)
        learning.users.clear()
        for path in ("/v1/predict", "/v1/explain"):
            for user in ({}, {"user": None}, {"user": "me"}):
                assert client.post(path, json={"texts": ["a"], **user}).status_code == 200
        assert learning.users == ["", "", "me"] * 2


WRONG = [
    (b"", "the body is not valid JSON"),
    (b"nothing", "the body is not valid JSON"),
    (b"\xff\xfe", "the body is not valid JSON"),
    (b'{"texts": ["a"]', "the body is not valid JSON"),
    (b'{"texts": ["\\ud800"]}', "texts.0 is not valid Unicode: character 0 (counted from 0)"),
    (b'{"texts": ["\xed\xa0\x80"]}', "the body is not valid JSON"),
    (b'{"texts": [NaN]}', "the body is not valid JSON"),
    (b"[" * 100_000, "the body is not valid JSON"),
    (b'{"texts":' * 50_000, "the body is not valid JSON"),
    (b"9" * 100_000, "the body"),
    (b"[]", "the body must be an object"),
    (b"null", "the body must be an object"),
    (b"{}", "texts is missing"),
    (b'{"texts": "hello"}', "texts must be a list"),
    (b'{"texts": ["a", 1]}', "texts.1 must be a string"),
    (b'{"texts": ["a", null]}', "texts.1 must be a string"),
    (b'{"texts": [[["a"]]]}', "texts.0 must be a string"),
    (b'{"texts": ["a"], "model": 3}', "model must be a string"),
    (b'{"texts": ["a"], "modle": "x"}', "unknown field 'modle'; known: texts, model, user"),
    (b'{"texts": [' + b"1," * 900_000 + b"1]}", "texts.0 must be a string"),
    (b"{" + b",".join(b'"%d":1' % i for i in range(100_000)) + b"}", "unknown field '0'"),
]


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/explain"])
@pytest.mark.parametrize(
    ("body", "words"), WRONG, ids=[words + str(number) for number, (_, words) in enumerate(WRONG)]
)
def test_a_wrong_body_is_422_and_says_where(
    small: TestClient, path: str, body: bytes, words: str
) -> None:
    answer = small.post(path, content=body, headers=JSON)
    error = answer.json()["error"]
    assert (
        answer.status_code == 422
        and answer.json().keys() == {"error"}
        and error.keys() == {"code", "message", "field"}
    )
    assert error["code"] == "invalid" and words in error["message"]
    assert error["field"] == (words.split()[0] if words.startswith(("texts", "model")) else None)


BODIES = st.binary(max_size=300) | st.recursive(
    st.none() | st.text() | st.floats(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


@settings(max_examples=25)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.recursive(
            st.none() | st.text() | st.floats(),
            lambda x: st.lists(x) | st.dictionaries(st.text(), x),
        ),
    )
)
def test_no_body_is_a_fault_of_the_servers(small: TestClient, body: object) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    for path in ("/v1/predict", "/v1/feedback"):
        assert small.post(path, content=content, headers=JSON).status_code == 422


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/jsonp",
    ],
)
def test_what_a_foreign_page_could_post_is_refused(small: TestClient, kind: str) -> None:
    answer = small.post(
        "/v1/predict", content=b'{"texts": ["a"]}', headers={"content-type": kind} if kind else {}
    )
    assert answer.status_code == 415 and answer.json()["error"]["code"] == "unsupported_media_type"
    assert (
        small.post(
            "/v1/predict",
            content=b'{"texts": []}',
            headers={"content-type": "Application/JSON; charset=utf-8"},
        ).status_code
        == 200
    )
    assert (
        small.post(
            "/v1/predict", content=b"\x1f\x8b", headers=JSON | {"content-encoding": "gzip"}
        ).status_code
        == 415
    )


def test_an_unknown_model_is_404(small: TestClient) -> None:
    answer = small.post("/v1/predict", json={"texts": ["a"], "model": "other"})
    assert (answer.status_code, answer.json()["error"]["field"]) == (404, "model")
    assert answer.json()["error"]["message"] == "unknown model 'other'; known: small"


def test_no_error_repeats_a_text(small: TestClient) -> None:
    secret = "call me at 0900, my love"
    bodies: list[object] = [
        secret,
        [secret],
        {secret: 1},
        {"texts": secret},
        {"texts": [secret], secret: 1},
        {"texts": [secret, 1]},
        {"texts": [secret], "model": secret},
        {"texts": [secret], "user": secret * 99},
        {"items": [{"text": secret, "label": secret}]},
        {"items": [{"text": secret, "label": "ham", secret: 1}]},
        {"items": [{"text": secret, "label": "ham", "model": secret}]},
    ]
    for path in (
        "/v1/predict",
        "/v1/explain",
        "/v1/feedback",
        f"/{secret}",
        f"/v1/feedback/{secret}",
    ):
        for body in bodies:
            answer = small.post(path, json=body)
            assert answer.status_code >= 400 and "0900" not in answer.text, answer.text


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory):
    limits = Limits(body_bytes=2_000, texts=3, text_chars=50)
    with served.client(
        served.models(tmp_path_factory.mktemp("store") / "s.sqlite"), limits=limits
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/predict", {"texts": ["a"] * 4}, "texts"),
        ("/v1/explain", {"texts": ["a"] * 4}, "texts"),
        ("/v1/predict", {"texts": ["a", "b" * 51]}, "texts.1"),
        ("/v1/feedback", {"items": [{"text": "a", "label": "ham"}] * 4}, "items"),
        ("/v1/feedback", {"items": [{"text": "b" * 51, "label": "ham"}]}, "items.0.text"),
        ("/v1/predict", {"texts": ["c" * 2_000]}, None),
    ],
)
def test_too_much_is_413_and_says_how_much_may_be(
    narrow: TestClient, path: str, body: object, field: str | None
) -> None:
    answer = narrow.post(path, json=body)
    assert (
        answer.status_code == 413
        and answer.json()["error"]["code"] == "too_large"
        and answer.json()["error"]["field"] == field
    )
    assert (
        narrow.post("/v1/predict", json={"texts": ["é" * 50] * 3}).status_code == 200
    )  # characters count, not bytes


def test_the_log_holds_no_text_unless_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for asked in (False, True):
        caplog.clear()
        with (
            caplog.at_level("INFO", "tamis.serving"),
            served.client(served.models(tmp_path / f"{asked}.sqlite"), log_texts=asked) as client,
        ):
            client.post("/v1/predict", json={"texts": ["my secret"]})
            client.get("/my secret")
        (line,) = [
            record.fields  # type: ignore[attr-defined]
            for record in caplog.records
            if getattr(record, "fields", {}).get("route") == "/v1/predict"
        ]
        assert ("said" in line) == asked and (line["model"], line["texts"], line["status"]) == (
            "small",
            1,
            200,
        )
        assert (
            "my secret" in str([getattr(record, "fields", {}) for record in caplog.records])
        ) == asked
