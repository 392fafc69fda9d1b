"""Bodies off the wire: counted while they come in, never held beyond the limit, checked before
anything is done with them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from tamis.serving.errors import Refusal, invalid
from tamis.serving.limits import Limits

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_DRAINED_BYTES = 32 * 2**20
_DRAINED_S = 5.0


class Bodies:
    """Reads the bodies of one server's requests."""

    def __init__(self, limits: Limits) -> None:
        """Nothing is held yet."""
        self.limits = limits
        self._held = 0

    async def read(self, request: Request, kind: type[M]) -> M:
        """A request's JSON body as an object of `kind`.

        Raises:
            Refusal: 415 for another content type, 413 for a body too large, 408 for one that comes
                too slowly, 429 where too many come in at once, 422 for one that is not what was
                expected.
            ClientDisconnect: the client went away.
        """
        # A page elsewhere can make a browser post anything but JSON to this server without asking
        # first.
        if (
            request.headers.get("content-type", "").partition(";")[0].strip().lower()
            != "application/json"
        ):
            raise Refusal(415, "the body must be JSON, sent with Content-Type: application/json")
        if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Refusal(415, "the body must not be compressed")
        raw = await self._bytes(request)
        try:
            value = from_json(raw, allow_inf_nan=False)
        except ValueError as error:
            raise Refusal(422, f"the body is not valid JSON: {error}") from None
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
                            429, "too many bodies are coming in at once; try again", retry_after_s=1
                        )
                    body += chunk
                    held += len(chunk)
                    self._held += len(chunk)
        except TimeoutError:
            raise Refusal(
                408, f"the body did not come in within {self.limits.body_s:g} seconds"
            ) from None
        finally:
            self._held -= held
        return bytes(body)

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            f"a body may have {self.limits.body_bytes:,} bytes; send the texts in several requests",
        )

    def check_texts(
        self, texts: Sequence[str], *, what: str = "texts", each: str = "texts.{}"
    ) -> None:
        """Refuse what is too much (413); `each` makes the name of a text's field from its
        number.
        """
        if len(texts) > self.limits.texts:
            raise Refusal(
                413,
                f"a request may have {self.limits.texts:,} {what}; got {len(texts):,}",
                field=what,
            )
        for number, text in enumerate(texts):
            if len(text) > self.limits.text_chars:
                field = each.format(number)
                raise Refusal(
                    413,
                    f"{field}: a text may have {self.limits.text_chars:,} characters; got "
                    f"{len(text):,}",
                    field=field,
                )


async def drain(receive: Receive) -> None:
    """Let a refused body come in and forget it, up to a bound: a client that still sends would not
    see the refusal.
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
    """What `work` gives; cancelled when the client goes away. The request's body must have been
    read.

    Raises:
        ClientDisconnect: the client went away.
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
