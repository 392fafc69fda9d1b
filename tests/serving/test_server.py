"""Real sockets: slow, rude and broken-off clients, and a stop with requests under way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tamis.errors import ConfigError, RunError
from tamis.serving.app import create_app
from tamis.serving.limits import Limits
from tamis.serving.server import OneWrite, listen, server, url
from tests.serving import served

PREDICT = b"POST /v1/predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"


@contextlib.contextmanager
def running(
    store: Path, limits: Limits | None = None, **settings: Any
) -> Iterator[tuple[str, int]]:
    """A server on a port of its own; its address. `settings` are of uvicorn."""
    app = create_app(served.models(store), limits=limits)
    found = server(app)
    vars(found.config).update(settings)
    with listen("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        thread = threading.Thread(target=lambda: found.run(sockets=[listener]))
        thread.start()
        try:
            yield address
        finally:
            found.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    limits = Limits(header_s=0.4, body_s=0.4, read_s=0.4, stop_s=5)
    with running(tmp_path_factory.mktemp("store") / "s.sqlite", limits) as found:
        yield found


def ask(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    """Status and body of an answer with a length."""
    connection.sendall(request)
    return answer(connection)


def answer(connection: socket.socket) -> tuple[int, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(2**16)
        assert part, f"closed after {received!r}"
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(2**16)
    return int(head.split()[1]), body


def predict(texts: list[str], more: bytes = b"") -> bytes:
    body = json.dumps({"texts": texts}).encode()
    return PREDICT + more + f"content-length: {len(body)}\r\n\r\n".encode() + body


def alive(address: tuple[str, int]) -> bool:
    with socket.create_connection(address, timeout=5) as connection:
        status, body = ask(connection, predict(["hello"]))
        return status == 200 and len(json.loads(body)["results"]) == 1


def test_answers_come_at_once_on_a_connection_that_stays(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=5) as connection:
        ask(connection, b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        begun = time.perf_counter()
        for _ in range(20):
            assert ask(connection, b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")[0] == 200
        assert time.perf_counter() - begun < 20 * 0.03, (
            "an answer in two packets waits 40 ms for the client's word"
        )


def test_head_sends_no_body_and_the_connection_stays(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(b"HEAD /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(2**16)
        assert head.startswith(b"HTTP/1.1 200") and b"content-length: 0" not in head
        status, body = ask(connection, b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert (status, body) == (200, b'{"status":"ok"}')


def test_requests_may_follow_each_other_without_waiting(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n" * 3)
        received = b""
        while received.count(b'{"status":"ok"}') < 3:
            received += connection.recv(2**16)


@pytest.mark.parametrize("sent", [b"", b"POST /v1/pre", b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: "])
def test_who_never_ends_a_head_is_let_go(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address, timeout=5) as connection:
        begun = time.monotonic()
        connection.sendall(sent)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begun < 5:
                connection.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(10):
                        break
                if sent:
                    connection.sendall(b"a")  # a byte now and then gains no time
        assert 0.2 < time.monotonic() - begun < 3
    assert alive(address)


def test_who_sends_a_body_slowly_is_told(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=5) as connection:
        status, body = ask(connection, PREDICT + b'content-length: 100\r\n\r\n{"texts"')
        assert status == 408 and json.loads(body)["error"]["code"] == "timeout"
    assert alive(address)


@pytest.mark.parametrize(
    "head",
    [b"content-length: 10485760\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n"],
    ids=["length", "chunked"],
)
@pytest.mark.parametrize("close", [b"", b"connection: close\r\n"], ids=["stays", "closes"])
def test_ten_megabytes_are_refused_and_the_client_hears_it(
    address: tuple[str, int], head: bytes, close: bytes
) -> None:
    chunk = b"x" * 2**16
    framed = b"10000\r\n" + chunk + b"\r\n" if b"chunked" in head else chunk
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(PREDICT + close + head)
        for _ in range(160):
            connection.sendall(framed)
        if b"chunked" in head:
            connection.sendall(b"0\r\n\r\n")
        status, body = answer(connection)
        assert status == 413 and json.loads(body)["error"]["code"] == "too_large"
    assert alive(address)


def test_who_asks_before_sending_much_need_not_send_it(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=5) as connection:
        status, _ = ask(
            connection, PREDICT + b"expect: 100-continue\r\ncontent-length: 10485760\r\n\r\n"
        )
        assert status == 413
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(PREDICT + b"expect: 100-continue\r\ncontent-length: 12\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        assert ask(connection, b'{"texts":[]}')[0] == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\xfc",
        b"hello\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400_in_the_usual_form(address: tuple[str, int], garbage: bytes) -> None:
    with socket.create_connection(address, timeout=5) as connection:
        status, body = ask(connection, garbage + b"\r\n\r\n")
        assert status == 400 and json.loads(body)["error"]["code"] == "bad_request"
    assert alive(address)


def test_broken_off_connections_harm_nobody(address: tuple[str, int]) -> None:
    large = predict([f"text {number} " * 20 for number in range(300)])
    for request, cut in (
        (large, len(large)),
        (large, len(large) // 2),
        (predict(["a"]), 200),
        (predict(["a"]), 20),
    ):
        for _ in range(3):
            with socket.create_connection(address, timeout=5) as connection:
                connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
                )  # reset, not closed
                connection.sendall(request[:cut])
    assert alive(address)


def test_who_takes_no_answer_is_let_go(tmp_path: Path) -> None:
    limits = Limits(read_s=0.2)
    with (
        running(tmp_path / "s.sqlite", limits, timeout_keep_alive=0.1) as address,
        socket.socket() as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(0.1)
        connection.connect(address)
        begun = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - begun < 20:
                with contextlib.suppress(TimeoutError):
                    connection.sendall(predict(["a"] * 1_000))  # an answer of 70 kB
        assert alive(address)


def test_a_stop_answers_what_was_accepted(tmp_path: Path) -> None:
    texts = [f"text number {number}, a little longer than the others were" for number in range(900)]
    with running(tmp_path / "s.sqlite") as address:
        connections = [socket.create_connection(address, timeout=10) for _ in range(4)]
        idle = socket.create_connection(address, timeout=10)
        assert ask(idle, predict(["a"]))[0] == 200
        for connection in connections:
            connection.sendall(predict(texts))
        time.sleep(0.1)
    for connection in connections:  # the server has ended; what it wrote is there
        status, body = answer(connection)
        assert status == 200 and len(json.loads(body)["results"]) == 900
        connection.close()
    assert idle.recv(10) == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=1)


def test_head_and_body_leave_in_one_packet(tmp_path: Path) -> None:
    class Transport:
        def __init__(self) -> None:
            self.sent: list[bytes | str] = []

        def write(self, data: bytes) -> None:
            self.sent.append(data)

        def close(self) -> None:
            self.sent.append("closed")

    async def scenario() -> None:
        bare = Transport()
        transport = OneWrite(cast("asyncio.Transport", bare), asyncio.get_running_loop())
        transport.write(b"head ")
        transport.write(b"body")
        await asyncio.sleep(0)
        assert bare.sent == [b"head body"]
        transport.write(b"last")
        transport.close()
        await asyncio.sleep(0)
        assert bare.sent == [b"head body", b"last", "closed"]

    asyncio.run(scenario())


def test_a_port_or_address_that_cannot_be_had_is_said() -> None:
    with listen("127.0.0.1", 0) as taken:
        host, port = taken.getsockname()
        assert url(taken) == f"http://127.0.0.1:{port}"
        assert taken.proto == socket.IPPROTO_TCP  # without it asyncio leaves Nagle's delay on
        with pytest.raises(
            RunError,
            match=f"port {port} of 127.0.0.1 is used by another program; choose another --port, or "
            "0",
        ):
            listen(host, port)
    for host in ("no-such-host.invalid", "192.0.2.1", "a" * 300):
        with pytest.raises(
            (ConfigError, RuntimeError), match=r"no such address|asked for the address"
        ):
            listen(host, 0)
