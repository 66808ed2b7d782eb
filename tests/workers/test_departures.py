"""Connections on their way to custody: with it once, or told that nothing was sent."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from proxy.workers.departures import Departures
from proxy.workers.line import Line
from proxy.workers.link import Link, Message, pair
from proxy.workers.worker import Worker
from tests.workers.house import until

BOTH_LOOPS = True


@dataclass
class Client:
    """A connection that is to go, and its other end; in the place of a handler of the listener's."""

    line: asyncio.Transport | None
    far: socket.socket

    @classmethod
    async def new(cls) -> "Client":
        ours, far = socket.socketpair()
        far.settimeout(5)
        line, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, ours)
        return cls(line, far)

    async def read(self) -> bytes:
        return await asyncio.to_thread(self.far.recv, 65536)


class Custody:
    """The other end of a worker's link, as long as it lives."""

    def __init__(self, line: Line, departures: Departures) -> None:
        ours, theirs = pair()
        self.got: list[Message] = []
        self.link = Link(theirs, self.got.append)
        self.link.open()
        self.near = Link(ours, lambda message: departures.taken(message.data), self.lost(line, departures))
        self.near.open()
        line.joined(self.near)
        departures.joined()

    @staticmethod
    def lost(line: Line, departures: Departures) -> Any:
        def lost() -> None:
            line.lost()
            departures.lost()

        return lost

    async def connection(self) -> Message:
        await until(lambda: self.got)
        return self.got[0]

    async def die(self) -> None:
        self.link.close()
        await until(lambda: self.near.over)

    def close(self) -> None:
        for message in self.got:
            for file in message.files:
                with contextlib.suppress(OSError):
                    os.close(file)
        self.link.close()
        self.near.close()


@asynccontextmanager
async def leaving(*, wait: float = 5.0, most: int = 10) -> AsyncIterator[tuple[Line, Departures, Client]]:
    line = Line()
    departures = Departures(line, wait=wait, most=most)
    client = await Client.new()
    yield line, departures, client
    client.far.close()


async def test_a_connection_goes_as_it_is_with_what_was_read() -> None:
    """Custody has the client's own socket, and serves it when the worker has none any more."""
    async with leaving() as (line, departures, client):
        custody = Custody(line, departures)
        departures.go(client, b"POST / HTTP/1.1\r\n", " 127.0.0.1:8080")  # type: ignore[arg-type]
        message = await custody.connection()
        assert (message.kind, message.blob) == ("connection", b"POST / HTTP/1.1\r\n")
        assert (message.data["door"], message.data["shown"]) == (" 127.0.0.1:8080", None)
        custody.link.say("taken", message.data["id"])
        await until(lambda: not departures.on_their_way)
        await custody.die()
        os.write(message.files[0], b"served")
        assert await client.read() == b"served"
        custody.close()


async def test_what_one_custody_has_not_taken_goes_to_the_next_once() -> None:
    """It died without a word of it, so it has not looked at it; what it has taken ends with it."""
    async with leaving() as (line, departures, client):
        first = Custody(line, departures)
        other = await Client.new()
        departures.go(client, b"one", "door")  # type: ignore[arg-type]
        departures.go(other, b"two", "door")  # type: ignore[arg-type]
        message = await first.connection()
        first.link.say("taken", message.data["id"])
        await first.die()
        first.close()
        second = Custody(line, departures)
        assert (await second.connection()).blob == b"two"
        assert len(second.got) == 1
        assert not await client.read()
        second.close()
        other.far.close()


async def test_who_waits_too_long_is_told_that_nothing_was_sent() -> None:
    """After the wait, or at once where very many wait already; then nobody gets the connection."""
    async with leaving(wait=0.02, most=1) as (line, departures, client):
        departures.go(client, b"POST", "door")  # type: ignore[arg-type]
        other = await Client.new()
        departures.go(other, b"POST", "door")  # type: ignore[arg-type]
        for each in (other, client):
            answer = await each.read()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 1" in answer
        assert not departures.on_their_way
        custody = Custody(line, departures)
        await asyncio.sleep(0.02)
        assert not custody.got
        custody.close()
        other.far.close()


async def test_what_custody_has_taken_is_not_given_to_the_next_though_its_word_was_not_read_yet() -> None:
    """The next one may be there before we have heard the last words of the one before: no order is served twice."""
    supervisor, ours = pair()
    worker = Worker(ours)
    worker._control.open()
    first_end, first_ours = pair()
    second_end, second_ours = pair()
    got: list[Message] = []
    first, second = Link(first_end, got.append), Link(second_end, got.append)
    first.open()
    control = Link(supervisor, lambda _: None)
    control.open()
    control.say("link", {}, files=[first_ours.fileno()])
    await until(lambda: worker._line.up)
    client = await Client.new()
    worker._departures.go(client, b"POST", "door")  # type: ignore[arg-type]
    await until(lambda: got)
    control.say("link", {}, files=[second_ours.fileno()])  # it is noticed first
    first.say("taken", got[0].data["id"])
    first.close()
    second.open()
    await until(lambda: worker._line.up and not worker._departures.on_their_way)
    await asyncio.sleep(0.02)
    assert len(got) == 1
    for file in got[0].files:
        os.close(file)
    for end in (first_ours, second_ours, client.far):
        end.close()
    for link in (second, control, worker._control):
        link.close()
    assert worker._line.link is not None
    worker._line.link.close()


async def test_who_is_refused_while_a_body_waits_can_read_why() -> None:
    """What was left unread would have the system cut the client off: nobody would know that nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        far = socket.create_connection(door.getsockname())
        ours, _ = door.accept()
    line, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, ours)
    line.pause_reading()
    far.settimeout(5)
    far.send(b"x" * 100_000)
    departures = Departures(Line(), most=0)
    departures.go(Client(line, far), b"POST", "door")  # type: ignore[arg-type]
    heard = b""
    while piece := await asyncio.to_thread(far.recv, 65536):
        heard += piece
    assert heard.startswith(b"HTTP/1.1 503 ")
    far.close()
