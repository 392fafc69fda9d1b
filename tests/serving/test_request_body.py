"""Bodies as they come off the wire: chunk by chunk, too many bytes, too slowly, too many at once,
or broken off.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from tamis.serving.errors import Refusal
from tamis.serving.limits import Limits
from tamis.serving.request_body import Bodies, drain, unless_gone
from tamis.serving.schemas import TextsBody


class Wire:
    """A request whose chunks come one by one; `None` breaks it off, a number is a pause in
    seconds.
    """

    def __init__(self, *chunks: bytes | float | None, endless: bytes = b"", **headers: str) -> None:
        self.chunks, self.endless, self.received = list(chunks), endless, 0
        given = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        self.scope = {
            "type": "http",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }

    async def receive(self) -> dict[str, Any]:
        self.received += 1
        while self.chunks and isinstance(self.chunks[0], float):
            await asyncio.sleep(self.chunks.pop(0))  # type: ignore[arg-type]
        if self.chunks:
            chunk = self.chunks.pop(0)
            if chunk is None:
                return {"type": "http.disconnect"}
            return {
                "type": "http.request",
                "body": chunk,
                "more_body": bool(self.chunks or self.endless),
            }
        if not self.endless:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": self.endless, "more_body": True}

    @property
    def request(self) -> Request:
        return Request(self.scope, self.receive)


def read(wire: Wire, limits: Limits | None = None) -> TextsBody:
    return asyncio.run(Bodies(limits or Limits()).read(wire.request, TextsBody))


def test_chunks_make_one_body() -> None:
    assert read(Wire(b'{"texts"', b': ["a\xc3', b'\xa9"]}', b"")).texts == ["aé"]


def test_an_endless_body_is_refused_when_it_passes_the_limit() -> None:
    wire = Wire(endless=b" " * 1_000)
    with pytest.raises(Refusal) as error:
        read(wire, Limits(body_bytes=10_500))
    assert error.value.status == 413 and wire.received == 11
    with pytest.raises(Refusal) as error:
        read(wire := Wire(b"{}", content_length="10501"), Limits(body_bytes=10_500))
    assert error.value.status == 413 and wire.received == 0  # its own word is enough
    assert read(Wire(b'{"texts":[]}' + b" " * 88), Limits(body_bytes=100)).texts == []
    for length in ("-1", "x", "9" * 5_000):  # not to be believed, so it is counted
        assert read(Wire(b'{"texts":[]}', content_length=length)).texts == []


def test_a_slow_body_is_408() -> None:
    begun = time.monotonic()
    with pytest.raises(Refusal) as error:
        read(Wire(b"{", 5.0, b"}"), Limits(body_s=0.05))
    assert error.value.status == 408 and time.monotonic() - begun < 2


def test_a_body_broken_off_is_no_request() -> None:
    with pytest.raises(ClientDisconnect):
        read(Wire(b'{"texts": ["a"', None))


def test_all_bodies_together_are_bounded_and_what_was_held_is_given_back() -> None:
    async def scenario() -> None:
        bodies = Bodies(Limits(held_bytes=100))
        slow = asyncio.create_task(
            bodies.read(Wire(b" " * 80, 0.1, b'{"texts":[]}').request, TextsBody)
        )
        await asyncio.sleep(0.02)
        with pytest.raises(Refusal) as error:
            await bodies.read(Wire(b" " * 30 + b'{"texts":[]}').request, TextsBody)
        assert error.value.status == 429 and error.value.retry_after_s
        assert (await slow).texts == []
        assert (await bodies.read(Wire(b" " * 80 + b'{"texts":[]}').request, TextsBody)).texts == []

    asyncio.run(scenario())


def test_what_is_drained_is_bounded_in_bytes() -> None:
    asyncio.run(drain((wire := Wire(endless=b" " * 2**20)).receive))
    assert 32 <= wire.received <= 34
    asyncio.run(drain((wire := Wire(b"a", b"b", None)).receive))
    assert wire.received == 3


def test_work_ends_when_its_client_goes() -> None:
    async def scenario() -> None:
        ended = asyncio.Event()

        async def work() -> str:
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()
            return "never"

        with pytest.raises(ClientDisconnect):
            await unless_gone(Wire(0.02, None).request, work())
        await asyncio.wait_for(ended.wait(), 1)

        async def quick() -> str:
            return "done"

        assert await unless_gone(Wire().request, quick()) == "done"

    asyncio.run(scenario())
