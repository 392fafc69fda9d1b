"""Corrections over HTTP: kept before the answer, learnt behind it, undone with their texts."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tamis.feedback.store import CorrectionStore, NewCorrection, with_model_labels
from tests import runs
from tests.serving import served


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "s.sqlite"


@pytest.fixture
def client(store: Path) -> Iterator[TestClient]:
    with served.client(served.models(store)) as found:
        yield found


def parrot(client: TestClient, name: str | None = None) -> served.Parrot:
    learning: Any = client.app.state.service.models.named(name).learning  # type: ignore[attr-defined]
    return learning


def learnt(client: TestClient, words: str) -> None:
    """Wait until a model has learnt."""
    until = time.monotonic() + 5
    found = None
    while time.monotonic() < until:
        found = client.get("/v1/models").json()["models"][0]["learning"]
        if found == {"learned": True, "reason": words}:
            return
        time.sleep(0.005)
    pytest.fail(f"{found} is not {words!r}")


def item(text: str, label: str = "spam", **more: object) -> dict[str, object]:
    return {"text": text, "label": label, **more}


def test_a_correction_is_on_the_disk_when_it_is_acknowledged_and_learnt_soon(
    client: TestClient, store: Path
) -> None:
    odd = ["", "a\x00b", "<|endoftext|>", "é 👨‍👩‍👧"]
    answer = client.post(
        "/v1/feedback", json={"items": [item(text, user="me", force=True) for text in odd]}
    )
    assert answer.json() == {"ids": [1, 2, 3, 4], "learned": False, "reason": "queued"}
    kept = CorrectionStore(store).all(model="small")
    assert [(c.text, c.label, c.user, c.force) for c in kept] == [
        (text, "spam", "me", True) for text in odd
    ]
    learnt(client, "learnt 4 corrections")
    assert client.post("/v1/feedback", json={"items": [item("", "ham", user="me")]}).json()[
        "ids"
    ] == [1]
    listed = client.get("/v1/feedback").json()["items"]
    assert [(entry["id"], entry["label"]) for entry in listed] == [
        (1, "ham"),
        (2, "spam"),
        (3, "spam"),
        (4, "spam"),
    ]
    assert listed[0].keys() == {"id", "label", "created", "in_effect", "user", "excerpt"}
    assert [entry["excerpt"] for entry in listed] == [
        "(empty)",
        "a\\x00b",
        "<|endoftext|>",
        "é 👨‍👩‍👧",
    ]
    assert client.post("/v1/feedback", json={"items": []}).json()["ids"] == []


def test_answers_do_not_wait_for_learning_and_many_are_learnt_at_once(client: TestClient) -> None:
    gate = threading.Event()
    learning = parrot(client)
    learning.before = lambda: gate.wait(5)
    for number in range(10):
        assert (
            client.post("/v1/feedback", json={"items": [item(f"text {number}")]}).status_code == 200
        )
    assert learning.solves == 0 and len(client.get("/v1/feedback").json()["items"]) == 10
    gate.set()
    learnt(client, "learnt 10 corrections")
    assert learning.solves <= 2
    assert 'tamis_corrections_total{model="small"} 10.0' in client.get("/metrics").text


def test_what_is_undone_leaves_no_byte_and_is_unlearnt(client: TestClient, store: Path) -> None:
    client.post(
        "/v1/feedback",
        json={"items": [item("the first secret"), item("the second secret"), item("third")]},
    )
    assert client.delete("/v1/feedback/1").json() == {
        "removed": 1,
        "learned": False,
        "reason": "queued",
    }
    learnt(client, "learnt 2 corrections")
    held = b"".join(file.read_bytes() for file in store.parent.iterdir())
    assert b"the first secret" not in held and b"the second secret" in held
    assert client.delete("/v1/feedback/1").status_code == 404
    assert client.delete("/v1/feedback").json()["removed"] == 2
    learnt(client, "learnt 0 corrections")
    assert b"the second secret" not in b"".join(
        file.read_bytes() for file in store.parent.iterdir()
    )
    assert (
        client.get("/v1/feedback").json() == {"items": []}
        and client.delete("/v1/feedback").json()["removed"] == 0
    )


@pytest.mark.parametrize(
    ("items", "status", "field"),
    [
        ([item("a"), item("b", "spma")], 422, "items.1.label"),
        ([item("a"), {"text": "b"}], 422, "items.1.label"),
        ([item("a"), {"text": 3, "label": "spam"}], 422, "items.1.text"),
        ([item("a"), item("b", force="yes")], 422, "items.1.force"),
        ([item("a"), item("b", user="u" * 201)], 422, "items.1.user"),
        ([item("a"), item("b", modle="small")], 422, "items.1"),
        ([item("a"), item("b", model="other")], 404, "items.1.model"),
    ],
)
def test_all_of_a_request_is_kept_or_nothing(
    client: TestClient, items: list[object], status: int, field: str
) -> None:
    answer = client.post("/v1/feedback", json={"items": items})
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field)
    assert client.get("/v1/feedback").json() == {"items": []}


@pytest.mark.parametrize("id", ["0", "-1", "abc", "1.5", str(2**63), "9" * 5_000, "%00"])
def test_what_is_no_id_is_422(client: TestClient, id: str) -> None:
    assert client.delete(f"/v1/feedback/{id}").status_code == 422
    assert client.delete(f"/v1/feedback/{2**63 - 1}").status_code == 404


def test_each_model_has_corrections_of_its_own_in_one_store(store: Path) -> None:
    named = [("first", runs.finished_run()), ("second", runs.finished_run())]
    with served.client(served.models(store, named)) as client:
        items = [item("a", model="second"), item("b"), item("c", model="first"), item("a", "ham")]
        ids = client.post("/v1/feedback", json={"items": items}).json()["ids"]
        listed = client.get("/v1/feedback").json()["items"]
        assert {entry["id"]: entry["model"] for entry in listed} == dict(
            zip(ids, ["second", "first", "first", "first"], strict=True)
        )
        assert [entry["id"] for entry in listed] == sorted(ids)
        solves = parrot(client, "first").solves, parrot(client, "second").solves
        assert client.delete(f"/v1/feedback/{ids[0]}").status_code == 200
        until = time.monotonic() + 5
        while (
            client.get("/v1/models").json()["models"][1]["learning"]["reason"]
            != "learnt 0 corrections"
        ):
            assert time.monotonic() < until
        assert (
            parrot(client, "first").solves <= solves[0] + 1
            and parrot(client, "second").solves > solves[1]
        )
        assert parrot(client, "second").items() == [] and len(parrot(client, "first").items()) == 3


def test_undoing_all_can_be_of_one_model_or_one_user_and_a_misspelt_wish_undoes_nothing(
    store: Path,
) -> None:
    named = [("first", runs.finished_run()), ("second", runs.finished_run())]
    with served.client(served.models(store, named)) as client:
        items = [
            item(f"{model} {user}", model=model, user=user)
            for model in ("first", "second")
            for user in (None, "anna", "bo")
        ]
        ids = client.post("/v1/feedback", json={"items": items}).json()["ids"]
        CorrectionStore(store).add(
            [NewCorrection("of a model that is not served", "spam")], model="third"
        )

        def listed(query: str = "") -> list[int]:
            return [entry["id"] for entry in client.get(f"/v1/feedback{query}").json()["items"]]

        assert (
            listed("?model=first") == ids[:3]
            and listed("?user=anna") == [ids[1], ids[4]]
            and listed("?model=second&user=") == ids[3:4]
        )
        for query, status in (
            ("?modle=first", 422),
            ("?model=third", 404),
            (f"?user={'x' * 201}", 422),
        ):
            assert (
                client.delete(f"/v1/feedback{query}").status_code
                == client.get(f"/v1/feedback{query}").status_code
                == status
            )
        assert listed() == ids
        assert client.delete("/v1/feedback?model=first&user=anna").json()[
            "removed"
        ] == 1 and listed() == [ids[0], *ids[2:]]
        assert (
            client.delete("/v1/feedback?model=first").json()["removed"] == 2 and listed() == ids[3:]
        )
        assert client.delete("/v1/feedback").json()["removed"] == 3 and listed() == []
    assert [kept.text for kept in CorrectionStore(store).all()] == ["of a model that is not served"]


def test_what_waits_to_be_learnt_is_told(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    parrot(client).before = go_on.wait
    client.post("/v1/feedback", json={"items": [item("a"), item("b")]})
    assert client.get("/v1/models").json()["models"][0]["pending"] == 2
    go_on.set()
    learnt(client, "learnt 2 corrections")
    assert client.get("/v1/models").json()["models"][0]["pending"] == 0

    def unreadable() -> int:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(parrot(client), "pending", unreadable)
    answer = client.get("/v1/models")
    assert answer.status_code == 200 and answer.json()["models"][0]["pending"] is None


def test_a_store_that_cannot_be_written_is_said_and_nothing_is_acknowledged(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> list[int]:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(parrot(client), "add", full)
    answer = client.post("/v1/feedback", json={"items": [item("a")]})
    assert (
        answer.status_code == 507
        and answer.json()["error"]["code"] == "not_stored"
        and "disk" not in answer.text
    )
    monkeypatch.setattr(parrot(client), "remove_all", full)
    assert client.delete("/v1/feedback").status_code == 507


def test_a_failure_to_learn_stops_nothing(client: TestClient) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    parrot(client).before = fail
    assert client.post("/v1/feedback", json={"items": [item("a")]}).status_code == 200
    until = time.monotonic() + 5
    while (
        'tamis_learnings_total{model="small",outcome="failed"} 1.0'
        not in client.get("/metrics").text
    ):
        assert time.monotonic() < until
    parrot(client).before = lambda: None
    assert client.post("/v1/feedback", json={"items": [item("b")]}).status_code == 200
    learnt(client, "learnt 2 corrections")


def test_the_list_says_what_is_in_effect_and_tells_similar_texts_apart(client: TestClient) -> None:
    start = "the same long beginning of two messages " * 6
    go_on = threading.Event()
    parrot(client).before = go_on.wait
    texts = [f"{start} of Monday", f"{start} of Tuesday", "short"]
    client.post("/v1/feedback", json={"items": [item(text) for text in texts]})
    listed = client.get("/v1/feedback").json()["items"]
    assert [entry["in_effect"] for entry in listed] == [False] * 3
    excerpts = [entry["excerpt"] for entry in listed]
    assert excerpts[0].endswith("of Monday") and excerpts[1].endswith("of Tuesday")
    assert excerpts[2] == "short" and max(map(len, excerpts)) <= 120
    go_on.set()
    learnt(client, "learnt 3 corrections")
    assert all(entry["in_effect"] for entry in client.get("/v1/feedback").json()["items"])


def test_a_server_that_hides_texts_shows_none(store: Path) -> None:
    with served.client(served.models(store), show_texts=False) as client:
        client.post("/v1/feedback", json={"items": [item("a secret message")]})
        answer = client.get("/v1/feedback")
        assert "secret" not in answer.text and "excerpt" not in answer.json()["items"][0]


def test_labels_of_numbers_are_numbers_as_in_tables(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tamis.serving.model_registry.Served.labels", property(lambda self: ["0", "1"])
    )
    with served.client(served.models(store)) as client:
        monkeypatch.setattr(
            parrot(client),
            "add",
            lambda new: CorrectionStore(store).add(
                with_model_labels(new, ["0", "1"]), model="small"
            ),
        )
        given = [1, 1.0, "1", "1.0", "+1", 0, "0.0", -0.0]
        items = [{"text": f"{place}", "label": label} for place, label in enumerate(given)]
        answer = client.post("/v1/feedback", json={"items": items})
        assert answer.status_code == 200, answer.text
        kept = [correction.label for correction in CorrectionStore(store).all()]
        assert kept == ["1", "1", "1", "1", "1", "0", "0", "0"]
        for wrong in (2, 0.5, True, "01", "one", None, [1], {"a": 1}):
            answer = client.post("/v1/feedback", json={"items": [{"text": "a", "label": wrong}]})
            assert answer.status_code == 422, wrong
            assert answer.json()["error"]["field"] == "items.0.label", answer.text


def test_what_another_process_corrects_is_learned_soon(store: Path) -> None:
    with served.client(served.models(store, look_every_s=0.02)) as client:
        CorrectionStore(store).add([NewCorrection("from a shell", "spam")], model="small")
        parrot(client).elsewhere = True
        until = time.monotonic() + 5
        while not parrot(client).learnt:
            assert time.monotonic() < until
            time.sleep(0.01)
        parrot(client).elsewhere = False
        learnt(client, "learnt 1 corrections")
