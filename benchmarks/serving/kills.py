"""Durability of corrections under kill -9: clients correct and undo, the server is killed
meanwhile, and the store is compared with the acknowledgements.

Each client records the answers it received. What was acknowledged must be in the store after a
kill; what was in progress may or may not be, and is sent again.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.serving.process import Server, start
from benchmarks.serving.results import Figure
from tamis.errors import TamisError
from tamis.feedback.store import CorrectionStore

WORKERS = 4
UNDONE = 0.25
"""Share of the corrections that their client undoes later."""
_PATIENCE_S = 120.0

Plan = list[tuple[bool, str]]
"""Steps in order: a text, and whether it is corrected or its correction is undone."""


@dataclass
class Ledger:
    """The answers that one client received."""

    kept: dict[str, int] = field(default_factory=dict)
    """Text to id: acknowledged and not undone."""
    undone: set[str] = field(default_factory=set)
    """Texts whose undo was acknowledged."""
    open: str | None = None
    """The text of the request that is in progress, or was interrupted."""
    pauses: bool = False
    """Whether the client waits for a server, or has ended."""


@dataclass
class Tally:
    """The counts of a trial."""

    kills: int = 0
    broken_off: int = 0
    """Requests interrupted by a kill."""
    refused: int = 0
    """Answers with an unexpected status; sent again."""
    lost: int = 0
    came_back: int = 0
    unopened: int = 0


def kills(
    run: Path,
    texts: Sequence[str],
    labels: Sequence[str],
    folder: Path,
    *,
    count: int,
    threads: int | None,
    seed: int = 42,
) -> list[Figure]:
    """Correct every text, undo some, kill the server `count` times meanwhile and once at the
    end.
    """
    trial = Trial(run, folder / "store.sqlite", texts, labels, threads=threads, seed=seed)
    tally = trial.go(count)
    scale = {
        "corrections": len(texts),
        "kills": tally.kills,
        "undone": sum(len(ledger.undone) for ledger in trial.ledgers),
    }
    return [
        Figure(name, getattr(tally, name), scale, asdict(tally))
        for name in ("lost", "came_back", "unopened")
    ]


def plan(texts: Sequence[str], chance: random.Random) -> Plan:
    """Return steps that correct every text once and undo some later."""
    found: Plan = []
    waiting: list[str] = []
    for text in texts:
        found.append((True, text))
        if chance.random() < UNDONE:
            waiting.append(text)
        if waiting and chance.random() < UNDONE:
            found.append((False, waiting.pop(chance.randrange(len(waiting)))))
    return found + [(False, text) for text in waiting]


class Trial:
    """A server that is killed and restarted, and its clients."""

    def __init__(
        self,
        run: Path,
        store: Path,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        threads: int | None,
        seed: int,
    ) -> None:
        """Create the trial; `texts` are distinct, and each is corrected to one of `labels`."""
        self.run, self.store, self.labels, self.threads = run, store, labels, threads
        self.chance = random.Random(seed)
        self.plans = [plan(texts[number::WORKERS], self.chance) for number in range(WORKERS)]
        self.ledgers = [Ledger() for _ in range(WORKERS)]
        self.tally = Tally()
        self.done = 0
        self._server: Server | None = None
        self._changed = threading.Condition()

    def go(self, count: int) -> Tally:
        """Execute the plans, with the kills spread over them."""
        workers = [
            threading.Thread(target=self._work, args=(number,), daemon=True)
            for number in range(WORKERS)
        ]
        for worker in workers:
            worker.start()
        whole = sum(map(len, self.plans))
        while any(worker.is_alive() for worker in workers):
            if self._server is None:
                self._start()
            time.sleep(self.chance.uniform(0.0, 0.05))  # at a random point of a request
            if self.tally.kills < count and self.done * (count + 1) > whole * (
                self.tally.kills + 1
            ):
                self.kill()
        self.kill()
        return self.tally

    def _start(self) -> None:
        server = start(self.run, self.store, threads=self.threads)
        listed = {
            int(item["id"]) for item in json.loads(_ask(server, "GET", "/v1/feedback")[1])["items"]
        }
        for ledger in self.ledgers:
            self.tally.lost += sum(
                id not in listed for text, id in ledger.kept.items() if text != ledger.open
            )
        with self._changed:
            self._server = server
            self._changed.notify_all()

    def kill(self) -> None:
        """Kill the server; when all clients have noticed, check the store."""
        with self._changed:
            server, self._server = self._server, None
        if server is not None:
            server.kill()
        with self._changed:
            self._changed.wait_for(
                lambda: all(ledger.pauses for ledger in self.ledgers), timeout=_PATIENCE_S
            )
        self.tally.kills += 1
        self.tally.broken_off += sum(ledger.open is not None for ledger in self.ledgers)
        try:
            store = CorrectionStore(self.store)
        except TamisError:
            self.tally.unopened += 1
            return
        there = {item.text: item.id for item in store.all()}
        store.close()
        for ledger in self.ledgers:
            self.tally.lost += sum(
                there.get(text) != id for text, id in ledger.kept.items() if text != ledger.open
            )
            self.tally.came_back += sum(text in there for text in ledger.undone)

    def _work(self, number: int) -> None:
        """Execute one client's plan."""
        ledger, chance = self.ledgers[number], random.Random(number)
        for corrects, text in self.plans[number]:
            label = chance.choice(list(self.labels))
            while not self._asked(ledger, corrects, text, label):
                pass
            self.done += 1
        with self._changed:
            ledger.pauses = True
            self._changed.notify_all()

    def _asked(self, ledger: Ledger, corrects: bool, text: str, label: str) -> bool:
        """Send a request once, when there is a server; returns whether it was acknowledged."""
        with self._changed:
            ledger.pauses = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._server is not None)
            ledger.pauses = False
            server = self._server
        assert server is not None
        ledger.open = text
        try:
            if corrects:
                status, body = _ask(
                    server,
                    "POST",
                    "/v1/feedback",
                    {"items": [{"text": text, "label": label, "force": True}]},
                )
            else:
                status, body = _ask(server, "DELETE", f"/v1/feedback/{ledger.kept[text]}")
        except (OSError, http.client.HTTPException):
            return False
        if corrects and status == 200:
            ledger.kept[text] = int(json.loads(body)["ids"][0])
        elif not corrects and status in (
            200,
            404,
        ):  # 404: it was undone before the kill, and the answer was lost
            del ledger.kept[text]
            ledger.undone.add(text)
        else:
            self.tally.refused += 1
            return False
        ledger.open = None
        return True


def _ask(server: Server, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    """Return status and body of one request on a new connection."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_PATIENCE_S)
    try:
        raw = None if body is None else json.dumps(body)
        connection.request(method, path, raw, {"Content-Type": "application/json"} if raw else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
