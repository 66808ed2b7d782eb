"""A listener, and connections that break."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from proxy.simulator import listener
from proxy.simulator.listener import Answer, Listener

GOOD = Answer(200, b'{"answer":42}', headers={"X-One": "1"})


async def _handle(request: web.BaseRequest) -> web.StreamResponse:
    match request.raw_path:
        case "/hang":
            await listener.hang()
        case "/reset":
            return listener.reset(request)
        case "/truncate":
            return await listener.truncate(request, GOOD, 5)
        case _:
            pass
    return GOOD.response()


@pytest.fixture
async def server() -> AsyncIterator[Listener]:
    server = Listener(_handle)
    await server.start(0)
    yield server
    await server.stop()


async def _raw(server: Listener, target: str) -> bytes:
    """All bytes until the end of the connection."""
    reader, writer = await asyncio.open_connection(listener.HOST, server.port)
    try:
        writer.write(f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()


async def test_an_answer_arrives_whole(server: Listener) -> None:
    """Status, content type, headers and body are those of the Answer."""
    async with aiohttp.request("GET", server.url + "/") as answer:
        assert 200 == answer.status
        assert listener.JSON == answer.headers["Content-Type"]
        assert "1" == answer.headers["X-One"]
        assert GOOD.body == await answer.read()


async def test_a_reset_sends_nothing(server: Listener) -> None:
    """The client sees ECONNRESET, not an orderly end."""
    with pytest.raises(ConnectionResetError):
        await _raw(server, "/reset")


async def test_a_truncated_answer_promises_more_than_it_sends(server: Listener) -> None:
    """The head names the full length; the body ends early, and then the connection does."""
    head, _, body = (await _raw(server, "/truncate")).partition(b"\r\n\r\n")

    assert f"Content-Length: {len(GOOD.body)}".encode() in head
    assert GOOD.body[:5] == body


async def test_stopping_ends_a_request_that_hangs(server: Listener) -> None:
    """A test that leaves a hanging request behind must not wait for it."""
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_raw(server, "/hang"))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(3):
            await server.stop()

    assert b"" == waiting.result()


async def test_stopping_twice_is_harmless(server: Listener) -> None:
    """Clean-up may come from two sides."""
    await server.stop()
    await server.stop()


async def test_a_port_that_is_taken_is_an_error(server: Listener) -> None:
    """A fixed port in use is reported as OSError, and nothing stays open."""
    with pytest.raises(OSError, match="address already in use"):
        await Listener(_handle).start(server.port)


async def test_a_port_that_was_taken_before(server: Listener) -> None:
    """Whoever has bound a socket may hand it over later; nothing answers until then."""
    bound = socket.socket()
    bound.bind((listener.HOST, 0))
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*bound.getsockname())
    other = Listener(_handle)
    await other.start_on(bound)
    assert bound.getsockname()[1] == other.port
    assert GOOD.body in await _raw(other, "/")
    await other.stop()
