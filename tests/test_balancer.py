"""The programs that judge several servers: what they send elsewhere, what they excuse, and what they count."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.balancer import Balancer
from tests.cli.terminal import free_port

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
DRAINING = (
    b'HTTP/1.1 503 x\r\nProxy-Status: bearerd; error=x; details="draining"\r\nConnection: close\r\n'
    b"Content-Length: 0\r\n\r\n"
)


@dataclass
class Scripted:
    """A server that gives each request the same answer; None: it ends the connection instead."""

    number: int
    answer: bytes | None
    port: int = 0
    down: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def was_down(self, since: float, until: float) -> bool:
        assert since <= until
        return self.down

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            if self.answer is None:
                break
            writer.write(self.answer)
        writer.close()


@asynccontextmanager
async def serving(*targets: Scripted) -> AsyncIterator[tuple[Scripted, ...]]:
    servers = []
    for target in targets:
        server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
        target.port = server.sockets[0].getsockname()[1]
        servers.append(server)
    yield targets
    for server in servers:
        server.close()


async def sent(*targets: Scripted, heeds: bool, calls: int = 4) -> Balancer:
    """So many calls by one program."""
    balancer = Balancer(targets, "/x", "key", heeds=heeds)
    await balancer.run(1, lambda: balancer.tally.total + len(balancer.tally.others) >= calls)
    return balancer


async def test_calls_go_to_each_server_in_turn() -> None:
    """And every 200 is counted where it came from."""
    async with serving(Scripted(0, GOOD), Scripted(1, GOOD)) as targets:
        assert {0: 2, 1: 2} == dict((await sent(*targets, heeds=False)).tally.good)


@pytest.mark.parametrize("word", ["503 draining", "connection refused"])
async def test_what_was_not_sent_is_sent_elsewhere_by_one_that_heeds(word: str) -> None:
    """The other one counts it as what it is."""
    async with serving(Scripted(0, DRAINING), Scripted(1, GOOD)) as targets:
        if word == "connection refused":
            targets[0].port = free_port()
        heeding, simple = await sent(*targets, heeds=True), await sent(*targets, heeds=False)

    assert ({1: 4}, {}) == (dict(heeding.tally.good), heeding.tally.words())
    assert word in heeding.tally.moved
    assert {word: 2} == simple.tally.words()


@pytest.mark.parametrize("down", [True, False])
async def test_a_call_without_an_answer_is_excused_only_if_its_server_was_down(down: bool) -> None:
    """Neither kind sends it again: it may have been carried out."""
    async with serving(Scripted(0, None, down=down), Scripted(1, GOOD)) as targets:
        balancer = Balancer(targets, "/x", "key", heeds=True)
        await balancer.run(1, lambda: balancer.tally.total >= 3)

    assert ({"cut off"} if down else set()) == balancer.tally.excused.keys()
    assert (set() if down else {"cut off"}) == balancer.tally.words().keys()


async def test_a_burst_uses_connections_that_are_open() -> None:
    """So all calls go out at the same moment."""
    async with serving(Scripted(0, GOOD), Scripted(1, GOOD)) as targets:
        balancer = Balancer(targets, "/x", "key")
        await balancer.burst(10)

    assert {0: 5, 1: 5} == dict(balancer.tally.good)
