"""The process: a socket, uvicorn on it, and a stop that answers what was accepted."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from tamis.errors import ConfigError, RunError
from tamis.serving.errors import Refusal
from tamis.serving.limits import Limits
from tamis.serving.service import Service

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""Names of this machine that nobody else can reach."""
_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; clients that come before the server runs wait in its queue.

    Raises:
        ConfigError: there is no such address here.
        RunError: the port is taken, or may not be taken.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise ConfigError(f"--host {host}: there is no such address") from None
    # The protocol's number is given: asyncio looks at it before it turns Nagle's delay off, which
    # costs 40 ms an answer.
    listener = socket.socket(family, kind, number)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(f"--host {host}: this machine has no such address") from None
        if error.errno == errno.EADDRINUSE:
            raise RunError(
                f"port {port} of {host} is taken by another program; give another --port, or 0 "
                "for a free one"
            ) from None
        raise RunError(f"port {port} of {host} cannot be taken: {error.strerror}") from None
    return listener


def url(listener: socket.socket) -> str:
    """Where a socket listens, as a browser takes it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; what was accepted by then is answered."""
    # uvicorn raises the signal again once it has stopped; the work is done by then, so that ends
    # nothing.
    before = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        server(app).run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def server(app: FastAPI) -> uvicorn.Server:
    """Uvicorn for an application; setting its `should_exit` stops it as a signal does."""
    service: Service = app.state.service
    config = uvicorn.Config(
        app,
        http=protocol(service.limits),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(service.limits.stop_s),
    )
    return _Server(config, service)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """From here on `/readyz` says no."""
        self._service.stopping = True
        super().handle_exit(sig, frame)


class OneWrite:
    """A transport that sends what is written in one step of the event loop with one system call:
    head and body of an answer together.

    Each call lets go of the interpreter, and a busy batcher may be slow to give it back.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Stand before a transport; everything but writing and closing is its own."""
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """Whatever else the transport can do."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send at the end of this step of the event loop."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Send what was written, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._transport.write(data)


def protocol(limits: Limits) -> type[asyncio.Protocol]:
    """The protocol of uvicorn, with an end to its patience for the head of a request and with
    errors in this API's form.
    """

    class Protocol(H11Protocol):
        _patience: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(cast("asyncio.Transport", OneWrite(transport, self.loop)))
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self._wait()
            else:
                self._stop_waiting()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(limits.read_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._unread is not None:
                self._unread.cancel()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            # Closing waits until the last answer is taken, and a client may never take it.
            self.loop.call_later(limits.read_s, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            body = Refusal(400, "this is no HTTP request").response().body
            head = (
                "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: "
                f"{len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + bytes(body))
            self.transport.close()

        def _wait(self) -> None:
            if self._patience is None:
                self._patience = self.loop.call_later(limits.header_s, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None

    return Protocol
