"""A stand-in that answers the page by the API's contract: verdicts that a text names itself,
refusals on order, a log of what was asked.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tamis.serving.middleware import HEADERS
from tamis.serving.routes.admin import INDEX, static_files

SPAM = {
    "labels": ["ham", "spam"],
    "positive": "spam",
    "threshold": 0.6,
    "unsure": [0.5, 0.7],
    "confidence_floor": None,
}
TOPICS = {
    "labels": ["alarm", "music", "weather"],
    "positive": None,
    "threshold": None,
    "unsure": None,
    "confidence_floor": 0.4,
}
_SCORE = re.compile(r"p=(0?\.\d+)")
_WORD = re.compile(r"\S+")


@dataclass
class Answers:
    """What the stand-in knows and has seen."""

    models: dict[str, dict[str, Any]] = field(default_factory=lambda: {"sms": SPAM})
    key: str | None = None
    most_chars: int = 1_000
    most_texts: int = 500
    refusals: deque[tuple[str, int, dict[str, str]]] = field(default_factory=deque)
    """Paths to be refused once, each with status and headers, in this order."""
    hold: threading.Event | None = None
    """Predictions wait for it, and are never answered."""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path and body of each API request that was answered with 200."""
    kept: dict[int, dict[str, str]] = field(default_factory=dict)
    made: int = 0
    learning: dict[str, Any] | None = None
    examples: list[dict[str, str]] = field(default_factory=list)
    hides_texts: bool = False

    def sent(self, path: str = "/v1/predict") -> list[list[str]]:
        """The texts of each answered request to a path."""
        return [body["texts"] for _, asked, body in self.asked if asked == path]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and body of the answer."""
        if (method, path) == ("GET", "/v1/models"):
            found = [
                {"name": n, "loaded": "", "stale": False, "learning": self.learning, **m}
                for n, m in self.models.items()
            ]
            return 200, {"models": found}
        if path.startswith("/v1/examples?model="):
            return 200, {"examples": self.examples}
        if path in ("/v1/predict", "/v1/explain"):
            return self.judged(path, body["texts"], self.models[body["model"]])
        if (method, path) == ("POST", "/v1/feedback"):
            return 200, {
                "ids": [self.keep(item) for item in body["items"]],
                "learned": False,
                "reason": "queued",
            }
        if (method, path) == ("GET", "/v1/feedback"):
            return 200, {
                "items": [
                    {"id": i, "label": item["label"], "created": "2026-01-02T03:04:05+00:00"}
                    | {"in_effect": i % 2 == 1}
                    | ({} if self.hides_texts else {"excerpt": item["text"]})
                    for i, item in self.kept.items()
                ]
            }
        gone = list(self.kept) if path == "/v1/feedback" else [int(path.rpartition("/")[2])]
        for number in gone:
            if self.kept.pop(number, None) is None:
                return 404, error("there is no such correction")
        self.learning = {"learned": True, "reason": f"learnt {len(self.kept)} corrections"}
        return 200, {"removed": len(gone), "learned": False, "reason": "queued"}

    def judged(self, path: str, texts: list[str], model: dict[str, Any]) -> tuple[int, Any]:
        if len(texts) > self.most_texts:
            return 413, error("too many texts", field="texts")
        for number, text in enumerate(texts):
            if len(text) > self.most_chars:
                return 413, error(
                    f"texts.{number}: a text may have {self.most_chars:,} characters",
                    field=f"texts.{number}",
                )
        return 200, {
            "results": [
                (explained if path == "/v1/explain" else self.verdict)(text, model, self)
                for text in texts
            ]
        }

    def keep(self, item: dict[str, str]) -> int:
        self.made += 1
        self.kept[self.made] = item
        self.learning = {"learned": True, "reason": f"learnt {len(self.kept)} corrections"}
        return self.made

    @staticmethod
    def verdict(text: str, model: dict[str, Any], answers: Answers) -> dict[str, Any]:
        """P(positive), or P of the first label, is what the text says of itself; a corrected text
        is what it was corrected to.
        """
        labels = model["labels"]
        first = model["positive"] or labels[0]
        learnt = next(
            (item["label"] for item in answers.kept.values() if item["text"] == text), None
        )
        score = (
            (0.99 if learnt == first else 0.01)
            if learnt
            else float(found[1])
            if (found := _SCORE.search(text))
            else 0.25
        )
        probabilities = {
            label: score if label == first else (1 - score) / (len(labels) - 1) for label in labels
        }
        if model["positive"]:
            label = first if score >= model["threshold"] else labels[0]
            unsure = model["unsure"][0] <= score <= model["unsure"][1]
        else:
            label = max(labels, key=lambda name: probabilities[name])
            unsure = probabilities[label] < model["confidence_floor"]
        return {
            "label": label,
            "verdict": "unsure" if unsure else label,
            "probabilities": probabilities,
        }


def explained(text: str, model: dict[str, Any], answers: Answers) -> dict[str, Any]:
    """Words in capitals speak for the label with 1.5, others against it with -0.25; a token is a
    word, P grows by capitals.
    """
    verdict = Answers.verdict(text, model, answers)
    spans = [(match.start(), match.end(), match[0]) for match in _WORD.finditer(text)]
    words = [
        {"start": a, "end": b, "word": word, "attribution": 1.5 if word.isupper() else -0.25}
        for a, b, word in spans
    ]
    capitals = [
        sum(word.isupper() for _, _, word in spans[:count]) for count in range(len(spans) + 1)
    ]
    tokens = [{"start": 0, "end": 0, "token": "", "probability": 0.1}]
    tokens += [
        {"start": a, "end": b, "token": w, "probability": min(0.9, 0.1 + 0.2 * capitals[k + 1])}
        for k, (a, b, w) in enumerate(spans)
    ]
    sums = {"log_odds": 1.0, "empty_log_odds": -1.0, "remainder": 0.5}
    name = model["positive"] or verdict["label"]
    return {
        "text": text,
        **verdict,
        "explained": name,
        "threshold": model["threshold"],
        "tokens": tokens,
        "turn": 2,
        "words": words,
    } | {
        **sums,
        "notes": [],
    }


def error(message: str, *, field: str | None = None) -> dict[str, Any]:
    return {"error": {"code": "any", "message": message, "field": field}}


class PageServer:
    """The stand-in on a port of its own, with the page's files and the headers of the real
    server.
    """

    def __init__(self) -> None:
        files = static_files()
        outer = self
        self.answers = Answers()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                raw = self.rfile.read(length)
                name = INDEX if self.path == "/" else self.path.removeprefix("/static/")
                if name in files:
                    return self.give(200, *files[name])
                self.api(json.loads(raw) if raw else None)

            do_GET = do_POST = do_DELETE = do

            def api(self, body: Any) -> None:
                answers = outer.answers
                if answers.key and self.headers.get("Authorization") != f"Bearer {answers.key}":
                    return self.tell(401, error("an API key is required"))
                if answers.refusals and answers.refusals[0][0] == self.path:
                    _, status, headers = answers.refusals.popleft()
                    return self.tell(status, error("refused"), headers)
                if answers.hold and not answers.hold.is_set() and self.path == "/v1/predict":
                    answers.hold.wait(10)
                    raise ConnectionAbortedError
                status, answer = answers.answer(self.command, self.path, body)
                if status == 200:
                    answers.asked.append((self.command, self.path, body))
                self.tell(status, answer)

            def tell(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
                self.give(status, json.dumps(answer).encode(), "application/json", headers)

            def give(
                self, status: int, content: bytes, kind: str, headers: dict[str, str] | None = None
            ) -> None:
                self.send_response(status)
                for header, value in {
                    **HEADERS,
                    "Content-Type": kind,
                    "Content-Length": str(len(content)),
                    **(headers or {}),
                }.items():
                    self.send_header(header, value)
                self.end_headers()
                self.wfile.write(content)

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A browser that stops breaks off."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}
        )

    def __enter__(self) -> PageServer:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()
