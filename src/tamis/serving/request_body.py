"""Reading of request bodies: size limits are enforced while they arrive, and everything is
validated before use.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from email.message import Message
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from tamis.serving.errors import Refusal, invalid
from tamis.serving.json_body import parse_json
from tamis.serving.limits import Limits

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_DRAINED_BYTES = 32 * 2**20
_DRAINED_S = 5.0


class Bodies:
    """Reads the bodies of one server's requests."""

    def __init__(self, limits: Limits) -> None:
        """Start with no bytes in memory."""
        self.limits = limits
        self._held = 0

    async def read(self, request: Request, kind: type[M]) -> M:
        """Read a JSON body and validate it as `kind`.

        Raises:
            Refusal: 415 for another content type, 413 for a body that is too large, 408 for one
                that arrives too slowly, 429 if too many bodies arrive at once, 422 for an invalid
                one.
            ClientDisconnect: the client disconnected.
        """
        # A page of another site can make a browser send any type except JSON without a preflight
        # request.
        content_type = request.headers.get("content-type", "")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "the body must be JSON, sent with Content-Type: application/json")
        if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Refusal(415, "the body must not be compressed")
        raw = await self._bytes(request)
        value = parse_json(raw, _charset(content_type))
        try:
            return kind.model_validate(value)
        except ValidationError as error:
            raise invalid(error) from None

    async def _bytes(self, request: Request) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and len(declared) < 19 and int(declared) > self.limits.body_bytes:
            raise self._too_large()
        body, held = bytearray(), 0
        try:
            async with asyncio.timeout(self.limits.body_s):
                async for chunk in request.stream():
                    if len(body) + len(chunk) > self.limits.body_bytes:
                        raise self._too_large()
                    if self._held + len(chunk) > self.limits.held_bytes:
                        raise Refusal(
                            429,
                            "too many request bodies are arriving at once; try again later",
                            retry_after_s=1,
                        )
                    body += chunk
                    held += len(chunk)
                    self._held += len(chunk)
        except TimeoutError:
            raise Refusal(
                408, f"the body did not arrive within {self.limits.body_s:g} seconds"
            ) from None
        finally:
            self._held -= held
        return bytes(body)

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            f"the body is larger than {self.limits.body_bytes:,} bytes; send the texts in "
            "several requests",
        )

    def check_texts(
        self, texts: Sequence[str], *, what: str = "texts", each: str = "texts.{}"
    ) -> None:
        """Raise 413 for too many or too long texts; `each` makes a field name from an index."""
        if len(texts) > self.limits.texts:
            raise Refusal(
                413,
                f"a request may have at most {self.limits.texts:,} {what}; got {len(texts):,}",
                field=what,
            )
        for number, text in enumerate(texts):
            if len(text) > self.limits.text_chars:
                field = each.format(number)
                raise Refusal(
                    413,
                    f"{field}: a text may have at most {self.limits.text_chars:,} characters; "
                    f"got {len(text):,}",
                    field=field,
                )


def _charset(content_type: str) -> str:
    """The charset of a Content-Type header; empty if it names none."""
    message = Message()
    message["Content-Type"] = content_type
    return message.get_content_charset("")


async def drain(receive: Receive) -> None:
    """Read and discard a refused body, up to a limit: a client that is still sending would not see
    the response.
    """
    seen = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAINED_S):
            while seen <= _DRAINED_BYTES:
                message = await receive()
                seen += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Return the result of `work`; cancel it if the client disconnects.

    The request's body must have been read.

    Raises:
        ClientDisconnect: the client disconnected.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
