"""The server process: a socket, uvicorn, and a graceful shutdown that answers accepted requests."""

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
"""Host names that only this machine can reach."""
_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; clients that connect before the server runs wait in its queue.

    Raises:
        ConfigError: this machine has no such address.
        RunError: the port is in use, or its use is not permitted.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise ConfigError(
            f"--host {host}: there is no such address; use an address of this machine"
        ) from None
    # The protocol number is set because asyncio checks it before it disables Nagle's algorithm,
    # which would delay each answer by 40 ms.
    listener = socket.socket(family, kind, number)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(
                f"--host {host}: this machine has no such address; use one of its addresses"
            ) from None
        if error.errno == errno.EADDRINUSE:
            raise RunError(
                f"port {port} of {host} is used by another program; choose another --port, or 0 "
                "for a free one"
            ) from None
        raise RunError(
            f"port {port} of {host} cannot be used: {error.strerror}; choose another --port"
        ) from None
    return listener


def url(listener: socket.socket) -> str:
    """Return the URL of a listening socket, for a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; requests accepted by then are answered."""
    # uvicorn raises the signal again after it has stopped; all work is done then, so the signal is
    # ignored.
    before = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        server(app).run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def server(app: FastAPI) -> uvicorn.Server:
    """Return a uvicorn server; setting its `should_exit` stops it as a signal does."""
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
        """Start the shutdown: from now on `/readyz` returns 503."""
        self._service.stopping = True
        super().handle_exit(sig, frame)


class OneWrite:
    """A transport that sends everything written in one step of the event loop with one system call.

    Head and body of a response go out together. Each system call releases the interpreter lock, and
    a busy batcher thread may return it late.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Wrap a transport; only writing and closing differ."""
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """Forward everything else to the transport."""
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
    """Return uvicorn's protocol with a time limit for request heads and this API's errors."""

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
            # Closing waits until the last response is received, which a client may never do.
            self.loop.call_later(limits.read_s, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            body = Refusal(400, "this is not an HTTP request").response().body
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
