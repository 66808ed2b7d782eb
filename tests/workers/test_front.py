"""What becomes of a request at a worker's door, and that nothing gets in beside another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web

from proxy.config import Tcp
from proxy.connection import ExpressHandler
from proxy.listener import Listener, open_listener
from proxy.workers.front import FrontHandler, Threshold
from tests.callers import Wire

BOTH_LOOPS = True


class Judge:
    """The express lane's place: says yes to what begins like a read of `/mine`."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def take(self, _line: ExpressHandler, _data: bytes) -> bool:
        return False

    def lets_in(self, _line: ExpressHandler, data: bytes) -> bool:
        self.asked.append(data)
        return data.startswith(b"GET /mine") and data.count(b"\r\n\r\n") == 1


@asynccontextmanager
async def door(left: list[bytes], served: list[str]) -> AsyncIterator[str]:
    """A door where reads of `/mine` are served slowly, and everything else leaves."""

    async def handle(_listener: Listener, request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        served.append(request.raw_path)
        return web.Response(body=b"mine")

    def depart(line: ExpressHandler, data: bytes) -> None:
        left.append(data)
        assert line.line is not None
        line.line.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nleft")
        line.line.close()

    lane = Threshold(Judge(), depart, express=True)  # type: ignore[arg-type]
    make = partial(FrontHandler, lane=lane)
    listener = await open_listener(Tcp("127.0.0.1", 0), handle, grace=0, make=lambda _: make)
    try:
        yield listener.url
    finally:
        await listener.close()


async def test_reads_are_served_and_all_else_leaves_with_its_bytes() -> None:
    """Several on one connection; then one that is not for here, byte for byte."""
    left: list[bytes] = []
    served: list[str] = []
    async with door(left, served) as url:
        wire = Wire(url)
        for _ in range(2):
            reply = await wire.call("GET", "/mine")
            assert reply is not None
            assert reply.body == b"mine"
        order = wire.request("POST", "/order", None, {"quantity": 1})
        await wire.send(order)
        reply = await wire.reply()
        assert reply is not None
        assert reply.body == b"left"
    assert left == [order]
    assert served == ["/mine", "/mine"]


async def test_what_is_sent_ahead_waits_and_leaves_together() -> None:
    """While a read is served nothing is looked at; then what has come goes, in its order."""
    left: list[bytes] = []
    served: list[str] = []
    async with door(left, served) as url:
        wire = Wire(url)
        read, order = wire.request("GET", "/mine"), wire.request("POST", "/order", None, {})
        await wire.send(read)
        await asyncio.sleep(0.005)
        await wire.send(order)
        await asyncio.sleep(0.005)
        assert not left
        await wire.send(read)
        replies = [await wire.reply(), await wire.reply()]
        assert [reply.body for reply in replies if reply is not None] == [b"mine", b"left"]
        partial_head = Wire(url)
        await partial_head.send(read[:20])
        assert (await partial_head.reply()) is not None
        await partial_head.close()
        await wire.close()
    assert left == [order, read[:20]]  # what came later is still in the connection, and goes with it
    assert served == ["/mine"]
