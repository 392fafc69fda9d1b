"""A load generator in its own process: persistent connections, one request at a time on each, one
thread.

It uses only the standard library, so it starts quickly and leaves the CPU to the server. In the
mode `canned` it talks to its own sockets, which answer at once, and limits itself to a share of the
CPU: this measures the cost of a client without a server.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_STEP_S = 0.002
"""Longest pause of a client that is ahead of its CPU share."""
_ANSWERED_BYTES = 160
_CANNED = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (
    _ANSWERED_BYTES,
    b"." * _ANSWERED_BYTES,
)


@dataclass
class Load:
    """The results of a client."""

    seconds: float = 0.0
    processor_s: float = 0.0
    """CPU seconds of the client"""
    statuses: dict[str, int] = field(default_factory=dict)
    """number of answers by status; `broken` is a connection that ended during a request"""
    ms: list[float] = field(default_factory=list)
    """seconds from the first byte sent to the last byte received, of every answer in order of
    arrival"""

    @property
    def answers(self) -> int:
        """Number of answers with a status."""
        return len(self.ms)


class Client:
    """N connections; each sends the next request as soon as it has its answer."""

    def __init__(
        self,
        address: tuple[str, int] | None,
        requests: Sequence[bytes],
        *,
        share: float = 1.0,
        keep: bool = False,
    ) -> None:
        """Prepare requests, which are sent in turn and repeatedly.

        Without an address the client answers itself, limited to a share of the CPU.
        """
        self.address, self.requests, self.share = address, requests, share
        self.bodies: dict[int, bytes] | None = {} if keep else None
        """Bodies by request number."""
        self._selector = selectors.DefaultSelector()
        self._next = 0

    def run(
        self,
        clients: int,
        *,
        count: int | None = None,
        seconds: float | None = None,
        pause_s: float = 0.0,
    ) -> Load:
        """Send `count` requests, or send for some seconds; `pause_s` is the pause between an answer
        and the next request.
        """
        load, statuses = Load(), Counter[str]()
        begun, processor = time.perf_counter(), time.process_time()
        last = begun + seconds if seconds is not None else float("inf")
        left = count if count is not None else sys.maxsize
        under_way = 0
        for _ in range(min(clients, left)):
            left, under_way = left - 1, under_way + 1
            self._ask(_Connection(self))
        while under_way:
            ahead = (time.process_time() - processor) - self.share * (time.perf_counter() - begun)
            if ahead > 0:
                time.sleep(min(ahead / self.share, _STEP_S))
            for key, _ in self._selector.select(1.0):
                connection: _Connection = key.data
                status = connection.step()
                if status is None:
                    continue
                now = time.perf_counter()
                statuses[status] += 1
                if status == "broken":
                    connection.reopen()
                else:
                    load.ms.append(1000 * (now - connection.since))
                    if self.bodies is not None:
                        self.bodies[connection.number] = bytes(connection.body)
                if left and now < last:
                    left -= 1
                    if pause_s:
                        time.sleep(pause_s)
                    self._ask(connection)
                else:
                    under_way -= 1
                    connection.close()
        load.seconds, load.processor_s = (
            time.perf_counter() - begun,
            time.process_time() - processor,
        )
        load.statuses = dict(statuses)
        return load

    def _ask(self, connection: _Connection) -> None:
        connection.ask(
            self._next % len(self.requests), self.requests[self._next % len(self.requests)]
        )
        self._next += 1


class _Connection:
    """One connection, and the part of its answer received so far."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._peer: socket.socket | None = None
        self._open()

    def _open(self) -> None:
        if self._client.address is None:
            self._socket, self._peer = socket.socketpair()
        else:
            self._socket = socket.create_connection(self._client.address, timeout=60.0)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client._selector.register(self._socket, selectors.EVENT_READ, self)

    def reopen(self) -> None:
        """Replace a broken connection."""
        self.close()
        self._open()

    def close(self) -> None:
        """Close the connection."""
        self._client._selector.unregister(self._socket)
        self._socket.close()
        if self._peer is not None:
            self._peer.close()

    def ask(self, number: int, request: bytes) -> None:
        """Send a request."""
        self.number, self.since, self._received, self._length = (
            number,
            time.perf_counter(),
            bytearray(),
            -1,
        )
        try:
            self._socket.sendall(request)
            if self._peer is not None:
                self._peer.recv(2**20)
                self._peer.sendall(_CANNED)
        except OSError:
            pass  # the next read reports the broken connection

    def step(self) -> str | None:
        """Receive the available bytes; returns the status when the answer is complete."""
        try:
            part = self._socket.recv(2**18)
        except OSError:
            part = b""
        if not part:
            return "broken"
        received = self._received
        received += part
        if self._length < 0:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = bytes(received[:end]).lower()
            place = head.find(b"content-length:")
            self._start, self._length = (
                end + 4,
                int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0,
            )
        return (
            bytes(received[9:12]).decode() if len(received) >= self._start + self._length else None
        )

    @property
    def body(self) -> bytearray:
        """Return the answer without its head."""
        return self._received[self._start :]


def request(method: str, path: str, body: Any = None) -> bytes:
    """Return a request as bytes."""
    raw = b"" if body is None else json.dumps(body).encode()
    kind = b"" if body is None else b"content-type: application/json\r\n"
    return (
        f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n".encode()
        + kind
        + b"content-length: %d\r\n\r\n" % len(raw)
        + raw
    )


def main() -> None:
    """Run as a process: settings (JSON) on stdin, results (JSON) on stdout."""
    order = json.load(sys.stdin)
    asked = [
        request(*one) for one in json.loads(Path(order["requests"]).read_text(encoding="utf-8"))
    ]
    address = (order["host"], order["port"]) if "host" in order else None
    client = Client(address, asked, share=order.get("share", 1.0), keep=order.get("keep", False))
    load = client.run(
        order["clients"],
        count=order.get("count"),
        seconds=order.get("seconds"),
        pause_s=order.get("pause_s", 0.0),
    )
    bodies = {number: body.decode() for number, body in (client.bodies or {}).items()}
    json.dump({"load": asdict(load), "bodies": bodies}, sys.stdout)


if __name__ == "__main__":
    main()
