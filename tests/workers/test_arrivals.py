"""Connections that come from workers: served at their door, and only once it was said that we have them."""

import asyncio
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.admission import Door, scheme_of
from proxy.certificates import shown_names
from proxy.clock import SystemClock
from proxy.config import Address, Config
from proxy.doors import Doors
from proxy.listener import BACKLOG, Entry, Given, bind_at
from proxy.settings import read
from proxy.workers.arrivals import Arrivals
from proxy.workers.link import Link, Message, pair

BOTH_LOOPS = True
TEXT = """version: 1
listen: 127.0.0.1:0
clients: {bot: {questrade: [read_acc]}}
mounts:
  questrade: {broker: questrade, environment: live, scopes: [read_acc]}
"""
REQUEST = b"GET /questrade/v1/time HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def handle(door: Door, request: web.BaseRequest) -> web.StreamResponse:
    names = ",".join(sorted(shown_names(request.transport)))
    return web.Response(text=f"{scheme_of(request.transport)} {names} {await request.text()} {door.mount}")


async def bound(_name: str, address: Address, entry: Entry) -> Given:
    end = await bind_at(address, entry)
    end.listen(BACKLOG)
    return Given(end, accepts=False, closed=end.close)


async def served(arrivals: Arrivals, data: bytes, shown: list[str] | None, door: str) -> tuple[bytes, list[str]]:
    """What a client hears after its first bytes were read elsewhere, and what the worker was told before."""
    client, theirs = socket.socketpair()
    ours, worker = pair()
    told: list[str] = []
    link, far = Link(ours, lambda _: None), Link(worker, lambda message: told.append(message.kind))
    link.open()
    far.open()
    work: list[Coroutine[Any, Any, None]] = []
    message = Message("connection", {"id": 1, "door": door, "shown": shown}, data, (theirs.detach(),))
    arrivals.take(link, message, work.append)
    await asyncio.sleep(0.01)
    before = list(told)
    await asyncio.gather(*work)
    client.settimeout(5)
    answer = await asyncio.to_thread(client.recv, 65536)
    client.close()
    link.close()
    far.close()
    return answer, before


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(TEXT)
    return read(path, {"HOME": str(tmp_path)}).config


async def test_a_connection_is_served_where_it_came_in(config: Config) -> None:
    """What was read elsewhere counts first; of TLS it is known what was shown. An unknown door ends it."""
    doors = Doors(SystemClock(), handle, lambda _: None, sockets=bound)
    await doors.open(config)
    arrivals = Arrivals(doors)
    answer, told = await served(arrivals, REQUEST, None, " 127.0.0.1:0")
    assert told == ["taken"]
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"http   None")
    answer, _ = await served(arrivals, REQUEST, ["bot"], " 127.0.0.1:0")
    assert answer.endswith(b"https bot  None")
    assert not (await served(arrivals, REQUEST, None, "another"))[0]
    await doors.close()
