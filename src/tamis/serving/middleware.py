"""Middleware of all routes: checks host and API key first, sets security headers, counts and logs
each request.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tamis.serving import json_logs
from tamis.serving.api_keys import Keys
from tamis.serving.errors import Refusal
from tamis.serving.metrics import Metrics
from tamis.serving.request_body import drain

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
}
"""Default headers of every response."""
_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
NOTES = "tamis"
"""Key of the request scope where routes put fields for the log line."""


class Guard:
    """ASGI middleware around all routes."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys,
        hosts: frozenset[str] | None,
        metrics: Metrics,
        protected: tuple[str, ...],
    ) -> None:
        """Create the middleware.

        Args:
            app: the wrapped application.
            keys: the valid API keys; none: no key is required.
            hosts: host names that requests may use; None: any. This prevents DNS rebinding: a
                malicious page whose name points to this server uses its own name.
            metrics: counts the requests.
            protected: path prefixes that need a key.
        """
        self.app, self.keys, self.hosts, self.metrics, self.protected = (
            app,
            keys,
            hosts,
            metrics,
            protected,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun = time.perf_counter()
        scope = _without_trailing_slash(scope)
        scope[NOTES] = {}
        call = _Call(scope, receive, send)
        if call.head:
            scope = {**scope, "method": "GET"}
        try:
            try:
                self._admit(scope)
                await self.app(scope, call.receive, call.send)
            except Refusal as refusal:
                await refusal.response()(scope, call.receive, call.send)
        except (ClientDisconnect, asyncio.CancelledError) as error:
            self._count(scope, call, begun, "gone")
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        except Exception as error:
            json_logs.event("error", level=40, route=_route(scope), **json_logs.failure(error))
            if not call.status:
                fault = Refusal(500, "internal server error; see the server's log")
                await fault.response()(scope, call.receive, call.send)
        self._count(scope, call, begun, "request")

    def _admit(self, scope: Scope) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if self.hosts is not None and host and _bare(host) not in self.hosts:
            raise Refusal(
                421,
                "this server does not accept that host name; allow it with: tamis serve "
                "--allow-host NAME",
            )
        if (
            self.keys
            and scope["path"].startswith(self.protected)
            and not self.keys.accept(headers.get(b"authorization", b""))
        ):
            raise Refusal(401, "an API key is required; send it as Authorization: Bearer KEY")

    def _count(self, scope: Scope, call: _Call, begun: float, event: str) -> None:
        seconds = time.perf_counter() - begun
        status = call.status or 499  # the client disconnected before the answer
        route = _route(scope)
        asked = "HEAD" if call.head else scope["method"]
        self.metrics.answered(route, asked, status, seconds)
        method = asked if asked.isalpha() and len(asked) < 10 else "other"
        json_logs.event(
            event,
            method=method,
            route=route,
            status=status,
            ms=round(1000 * seconds, 2),
            **scope[NOTES],
        )


class _Call:
    """The state of one request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        # No more body follows: all was read, or the client waits for "100 Continue".
        self._read = any(name == b"expect" for name, _ in scope["headers"])
        self.status = 0
        self.head = scope["method"] == "HEAD"
        """Whether the request is HEAD: the server sends GET's response without its body."""

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._read = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status >= 400 and self.status != 408 and not self._read:
                await drain(self.receive)
            given: list[tuple[bytes, bytes]] = list(message.get("headers", []))
            names = {name.lower() for name, _ in given}
            message["headers"] = given + [header for header in _HEADERS if header[0] not in names]
        await self._send(message)


def _without_trailing_slash(scope: Scope) -> Scope:
    """The request for /v1/predict where it asks for /v1/predict/. Some clients would follow a
    redirect of a POST with a GET.
    """
    path = str(scope["path"])
    if len(path) < 2 or not path.endswith("/") or path == "/docs/":  # whose links are relative
        return scope
    raw = scope.get("raw_path")
    shorter = {"path": path.rstrip("/") or "/"}
    return {**scope, **shorter, **({"raw_path": raw.rstrip(b"/") or b"/"} if raw else {})}


def _route(scope: Scope) -> str:
    """Return the route's pattern, because an unknown path could contain anything."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "other"))


def _bare(host: str) -> str:
    """`name:port` -> name; `[::1]:port` -> ::1."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")
