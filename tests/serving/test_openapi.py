"""Whatever is asked, the answer is one that the OpenAPI document promises: its status, its type,
its form; and what fits is taken.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.testclient import TestClient

from tamis.serving import schemas

JSON = {"Content-Type": "application/json"}
TEXTS = st.lists(st.text(max_size=30), max_size=4)
ITEMS = st.fixed_dictionaries(
    {"text": st.text(max_size=20), "label": st.sampled_from(["ham", "spam"])},
    optional={
        "user": st.none() | st.text(max_size=200),
        "force": st.booleans(),
        "model": st.none() | st.just("small"),
    },
)
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "TextsBody": st.fixed_dictionaries(
        {"texts": TEXTS},
        optional={"model": st.none() | st.just("small"), "user": st.none() | st.text(max_size=200)},
    ),
    "FeedbackBody": st.fixed_dictionaries({"items": st.lists(ITEMS, max_size=3)}),
}
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["texts", "items", "text", "label", "model", "user", "force", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


def promised(client: TestClient) -> dict[tuple[str, str], dict[str, Any]]:
    """Every call of the document with what it promises."""
    paths = client.get("/openapi.json").json()["paths"]
    return {(method, path): call for path, calls in paths.items() for method, call in calls.items()}


def check(client: TestClient, method: str, path: str, call: dict[str, Any], **how: Any) -> int:
    """Ask, and hold the answer against the document; its status."""
    place = path.replace("{id}", str(how.pop("id", 1)))
    answer = client.request(method.upper(), place, **how)
    assert str(answer.status_code) in call["responses"] and answer.status_code < 500, (
        method,
        place,
        how,
        answer.text,
    )
    (content,) = call["responses"][str(answer.status_code)]["content"].items()
    assert answer.headers["content-type"].startswith(content[0])
    if "$ref" in content[1]["schema"]:
        form: type[BaseModel] = getattr(schemas, content[1]["schema"]["$ref"].rpartition("/")[2])
        form.model_validate_json(answer.content, strict=True, extra="forbid")
    return answer.status_code


def asked(call: dict[str, Any]) -> str | None:
    """Name of the body that a call takes."""
    body = call.get("requestBody")
    return (
        body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2] if body else None
    )


def with_bodies(client: TestClient, bodies: dict[str, st.SearchStrategy[Any]], *taken: int) -> None:
    """Ask each call that takes a body for some; its status must be one of `taken`."""
    calls = [
        (method, path, call, name)
        for (method, path), call in promised(client).items()
        if (name := asked(call))
    ]
    assert {name for *_, name in calls} == bodies.keys()

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(found=st.fixed_dictionaries(bodies))
    def holds(found: dict[str, Any]) -> None:
        for method, path, call, name in calls:
            assert (
                check(client, method, path, call, content=json.dumps(found[name]), headers=JSON)
                in taken
            ), (path, found[name])

    holds()


def test_what_fits_the_document_is_taken(small: TestClient) -> None:
    with_bodies(small, FITTING, 200)


def test_what_does_not_is_answered_as_the_document_says(small: TestClient) -> None:
    with_bodies(small, dict.fromkeys(FITTING, ANYTHING), 200, 404, 422)


def test_calls_without_a_body_answer_as_the_document_says(small: TestClient) -> None:
    calls = promised(small)
    queries = st.dictionaries(
        st.sampled_from(["model", "user", "x"]), st.text(max_size=5) | st.just("small"), max_size=2
    )
    ids = st.integers() | st.text(
        st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=9
    )

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(query=queries, id=ids)
    def holds(query: dict[str, str], id: object) -> None:
        for (method, path), call in calls.items():
            if asked(call) is None:
                check(small, method, path, call, params=query, id=id)

    holds()
