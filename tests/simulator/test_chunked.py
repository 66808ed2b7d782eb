"""Streams over plain HTTP."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from proxy.simulator.chunked import Chunked
from proxy.simulator.faults import Faults
from proxy.simulator.listener import Listener
from proxy.simulator.streams import FAULTS, Streams


@pytest.fixture
async def made() -> AsyncIterator[tuple[str, list[Chunked], Faults]]:
    """An address, the streams that were opened there, and their faults."""
    faults = Faults(FAULTS)
    streams, opened = Streams(faults, slow=lambda: 0.1), list[Chunked]()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        opened.append(Chunked(request, streams, "text/plain"))
        return await opened[-1].serve(headers={"X-One": "1"})

    listener = Listener(handle)
    await listener.start(0)
    yield listener.url, opened, faults
    await listener.stop()


async def test_the_head_comes_before_there_is_anything_to_say(made: tuple[str, list[Chunked], Faults]) -> None:
    """Then chunks, as they are written, and the end when it is told."""
    url, opened, _ = made
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert ("1", "chunked") == (answer.headers["X-One"], answer.headers["Transfer-Encoding"])
        opened[0].write(opened[0].framed(b"one"))
        assert b"one" == await answer.content.readany()
        opened[0].end()
        assert b"" == await answer.content.read()


async def test_what_breaks_off_has_no_end(made: tuple[str, list[Chunked], Faults]) -> None:
    """The reader sees that something is lacking."""
    url, _, faults = made
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        faults.add("stream-drop")
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()
