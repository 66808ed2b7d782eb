"""Taking a body in: whole or as it comes, how much, how fast."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from proxy.config import Tcp
from proxy.errors import Refusal
from proxy.gate.rows import Row
from proxy.intake import SMALL, body_of, read_whole
from proxy.listener import open_listener
from proxy.relay.upstream import Upload
from tests.wire import Wire, connected

ORDER = Row("order", "POST", "/o", "trade", mutating=True)
UPLOAD = Row("upload", "POST", "/u", "read")
READ = Row("read", "GET", "/r", "read")
CANCEL = Row("cancel", "DELETE", "/o", "trade", mutating=True)

Take = Callable[[web.BaseRequest], Awaitable[object]]


@asynccontextmanager
async def taking(take: Take) -> AsyncIterator[tuple[Wire, list[object]]]:
    """A client's connection to a server that only takes bodies in, and what became of each."""
    found: list[object] = []

    async def handle(_listener: object, request: web.BaseRequest) -> web.StreamResponse:
        try:
            body = await take(request)
            found.append([piece async for piece in body] if isinstance(body, Upload) else body)
        except Refusal as refusal:
            found.append(refusal.kind.name)
        return web.Response()

    listener = await open_listener(Tcp("127.0.0.1", 0), handle, grace=0.1)
    assert isinstance(listener.bound, Tcp)
    try:
        async with connected("127.0.0.1", listener.bound.port) as wire:
            yield wire, found
    finally:
        await listener.close()


def request(method: str, body: bytes = b"", *headers: str) -> bytes:
    return "\r\n".join([f"{method} / HTTP/1.1", "Host: x", *headers]).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("row", "headers", "body", "expected"),
    [
        (READ, [], b"", None),
        (READ, ["Content-Length: 0"], b"", None),
        (READ, ["Transfer-Encoding: chunked"], b"0\r\n\r\n", None),
        (READ, ["Content-Length: 1"], b"x", "body-too-large"),
        (CANCEL, [], b"", None),
        (CANCEL, ["Content-Length: 2"], b"{}", b"{}"),
        (ORDER, [], b"", b""),
        (ORDER, ["Content-Length: 2"], b"{}", b"{}"),
        (ORDER, ["Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n", b"{}"),
        (UPLOAD, ["Content-Length: 2"], b"{}", b"{}"),
        (UPLOAD, ["Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n", [b"{}"]),
    ],
)
async def test_a_body_is_whole_unless_it_is_large(row: Row, headers: list[str], body: bytes, expected: object) -> None:
    """Orders always; a read has none, and a POST at least an empty one."""
    async with taking(lambda taken: body_of(taken, row, 1 << 20)) as (wire, found):
        await wire.send(request(row.method, body, *headers))
        await wire.reply()
        assert [expected] == found


async def test_a_large_body_comes_in_pieces() -> None:
    """Up to 64 KiB it is read whole, so that it can be sent again; above it is an upload of known length."""
    lengths: list[object] = []

    async def take(taken: web.BaseRequest) -> object:
        body = await body_of(taken, UPLOAD, 1 << 20)
        lengths.append(body.length if isinstance(body, Upload) else "whole")
        return body

    async with taking(take) as (wire, found):
        for size in (SMALL, SMALL + 1):
            await wire.send(request("POST", b"x" * size, f"Content-Length: {size}"))
            await wire.reply()
        assert ["whole", SMALL + 1] == lengths
        assert b"x" * SMALL == found[0]
        assert isinstance(found[1], list)
        assert b"x" * (SMALL + 1) == b"".join(found[1])


@pytest.mark.parametrize("row", [ORDER, UPLOAD])
async def test_a_body_that_stops_coming_is_refused(row: Row) -> None:
    """Patience counts from one piece to the next: a slow body passes, a stalled one is 408."""
    async with taking(lambda taken: body_of(taken, row, 1 << 20, patience=0.6)) as (wire, found):
        await wire.send(request("POST", b"", "Transfer-Encoding: chunked"))
        for _ in range(4):
            await asyncio.sleep(0.1)
            await wire.send(b"1\r\nx\r\n")
        await wire.send(b"0\r\n\r\n")
        await wire.reply()
        await wire.send(request("POST", b"1\r\nx\r\n", "Transfer-Encoding: chunked"))
        await wire.reply()
        assert "slow-request" == found[1]
        assert "slow-request" != found[0]


async def test_an_invitation_is_sent_once_and_only_for_a_body_that_may_come() -> None:
    """`Expect: 100-continue` is answered here, by nobody else."""
    async with taking(lambda taken: read_whole(taken, 4)) as (wire, found):
        await wire.send(request("POST", b"", "Expect: 100-continue", "Content-Length: 4"))
        assert (100, []) == await wire.head()
        await wire.send(b"four")
        assert 200 == (await wire.reply()).status
        await wire.send(request("POST", b"", "Expect: 100-continue", "Content-Length: 5"))
        assert 200 == (await wire.head())[0]
        assert [b"four", "body-too-large"] == found


async def test_the_operators_limit_is_only_for_rows_without_one() -> None:
    """And never raises what a method allows."""
    own = Row("own", "POST", "/w", "read", max_body=8)
    for row, limit, size, fits in (
        (UPLOAD, 4, 4, True),
        (UPLOAD, 4, 5, False),
        (own, 4, 8, True),
        (CANCEL, 999, 65, False),
    ):
        async with taking(lambda taken, row=row, limit=limit: body_of(taken, row, limit)) as (wire, found):  # type: ignore[misc]
            await wire.send(request(row.method, b"x" * size, f"Content-Length: {size}"))
            await wire.reply()
            assert [b"x" * size if fits else "body-too-large"] == found
