"""Log lines: JSON, without what an error says, and never in anybody's way."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest

from tamis.serving import json_logs


@pytest.fixture(autouse=True)
def loggers_as_found() -> Iterator[None]:
    found = {name: logging.getLogger(name) for name in ("tamis.serving", "uvicorn.error")}
    before = {name: (log.handlers, log.propagate, log.level) for name, log in found.items()}
    yield
    for name, log in found.items():
        log.handlers, log.propagate = before[name][:2]
        log.setLevel(before[name][2])


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_a_json_line_with_its_fields() -> None:
    handler = json_logs.write_to(stream := io.StringIO())
    json_logs.event("request", route="/v1/predict", status=200, text="é\n")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logging.getLogger("uvicorn.error").info("not worth a line")
    handler.close()
    first, second = lines(stream)
    assert first.pop("time") <= second.pop("time")
    assert first == {
        "level": "info",
        "event": "request",
        "route": "/v1/predict",
        "status": 200,
        "text": "é\n",
    }
    assert second == {"level": "warning", "event": "Invalid HTTP request received."}


def test_an_error_leaves_its_place_and_not_its_words() -> None:
    handler = json_logs.write_to(stream := io.StringIO())
    try:
        raise ValueError("a secret text")
    except ValueError as error:
        json_logs.event("error", level=logging.ERROR, **json_logs.failure(error))
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    handler.close()
    assert "secret" not in stream.getvalue()
    for line in lines(stream):
        assert line["error"] == "ValueError" and line["at"][-1].startswith("test_json_logs.py:")


def test_a_reader_that_does_not_read_costs_lines_and_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_logs, "MOST_LINES", 5)
    monkeypatch.setattr(json_logs, "WRITE_EVERY_S", 0.001)
    gate, stuck = threading.Event(), threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            stuck.set()
            gate.wait(5)
            return super().write(text)

    handler = json_logs.write_to(stream := Stuck())
    json_logs.event("first")
    assert stuck.wait(5)
    for number in range(20):
        json_logs.event("more", number=number)
    gate.set()
    handler.close()
    events = [line["event"] for line in lines(stream)]
    assert events == ["first", *["more"] * 5, "lines dropped"] and lines(stream)[-1]["count"] == 15


def test_a_log_nobody_can_read_any_more_stops_nothing() -> None:
    handler = json_logs.write_to(stream := io.StringIO())
    stream.close()
    json_logs.event("request")
    handler.close()
