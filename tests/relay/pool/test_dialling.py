"""How a connection is opened: to which address, trusting whom; and a failure leaves nothing behind."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.brokers.origin import HostPattern, Origin
from proxy.outbound import KEEP_ALIVE, NotSent
from proxy.relay.pool.connection import Connection
from proxy.relay.pool.deadlines import Deadlines
from proxy.relay.pool.dialling import Address, Dialling, Route, connect
from proxy.relay.pool.plainanswer import PlainAnswers
from proxy.relay.pool.pool import Single
from proxy.relay.pool.pooled import PooledUpstream
from proxy.relay.upstream import Place
from tests.calling import ANYWHERE, call, fetch
from tests.lab import CA_FILE, TRUST
from tests.wire import ScriptedBroker

BOTH_LOOPS = True
NEAR = "127.1"  # no address to a strict reader, so it goes to the resolver, and that knows the old short form


@asynccontextmanager
async def listening(*, answers: bool = True) -> AsyncIterator[int]:
    """A port; without `answers` its queue is full, so that whoever connects waits."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = int(server.getsockname()[1])
        fillers = []
        if not answers:
            for _ in range(3):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
        try:
            yield port
        finally:
            for filler in fillers:
                filler.close()


def here(port: int) -> Address:
    return (socket.AF_INET, "127.0.0.1", port)


async def test_an_address_that_refuses_costs_no_time() -> None:
    """The next one is tried at once, whatever comes after it."""
    async with listening() as port:
        began = time.perf_counter()
        line = await connect([here(1), here(port), here(1)])
        assert ("127.0.0.1", port) == line.getpeername()
        assert 0.2 > time.perf_counter() - began
        line.close()


async def test_an_address_that_says_nothing_has_a_head_start_only() -> None:
    """The next one is tried beside it, and the first is given up when that answers."""
    async with listening(answers=False) as silent, listening() as port:
        began = time.perf_counter()
        line = await connect([here(silent), here(port)])
        assert ("127.0.0.1", port) == line.getpeername()
        assert 0.2 <= time.perf_counter() - began < 2
        line.close()


@pytest.mark.parametrize("count", [1, 3])
async def test_where_no_address_answers_nothing_is_left(count: int) -> None:
    """An error of the system's, and no socket."""
    with pytest.raises(OSError, match=r"refused|no address|[0-9]"):
        await connect([here(1)] * count)


async def test_waiting_for_an_address_can_be_given_up() -> None:
    """By a time-out: the attempts end with it."""
    async with listening(answers=False) as silent:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await connect([here(silent), here(silent)])


async def test_a_name_that_leads_to_a_private_address_is_refused() -> None:
    """Unless it is declared: a poisoned answer must not aim a bearer at the local network."""
    broker, upstream = ScriptedBroker(TRUST.tls), PooledUpstream()
    await broker.start()
    try:
        place = Place("g", (HostPattern.parse("127.1:*"),), CA_FILE, total=2, origin=Origin(NEAR, broker.port))
        with pytest.raises(NotSent, match="private address"):
            await upstream.send(call(broker), place)
        assert 0 == broker.connections
        declared = Place("g", place.api_hosts, CA_FILE, frozenset((NEAR,)), total=2, origin=place.origin)
        with pytest.raises(NotSent, match="not trusted"):  # it was reached, and its certificate names another
            await upstream.send(call(broker), declared)
    finally:
        await upstream.close()
        await broker.stop()


async def test_a_silent_peer_is_asked_whether_it_is_there() -> None:
    """By TCP, after half a minute."""
    broker, upstream = ScriptedBroker(TRUST.tls), PooledUpstream()
    await broker.start()
    try:
        await fetch(upstream, call(broker))
        (connection,) = upstream._open
        assert connection._transport is not None
        line = connection._transport.get_extra_info("socket")
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert KEEP_ALIVE[0] == line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    finally:
        await upstream.close()
        await broker.stop()


async def test_a_broker_that_does_not_speak_tls_gets_nothing() -> None:
    """Not a byte of a call."""
    seen = b""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += await reader.read(10_000)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    upstream, broker = PooledUpstream(), ScriptedBroker(TRUST.tls)
    await broker.start()
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(NotSent, match="TLS could not be established"):
        await upstream.send(call(broker), Place("g", ANYWHERE.api_hosts, CA_FILE, origin=Origin("127.0.0.1", port)))
    assert b"the-bearer" not in seen
    assert not list(upstream._open)
    await upstream.close()
    await broker.stop()
    server.close()


def test_a_route_is_all_that_leads_to_an_origin() -> None:
    """Two that differ in anything are two: no connection serves both."""
    origin = Origin("h", 443)
    routes = {
        Route(origin), Route(Origin("h", 444)), Route(origin, "ca.pem"), Route(origin, None, frozenset(("h",))),
        Route(origin, egress="http://p:1"),
    }  # fmt: skip
    assert 5 == len(routes)
    assert Route(origin) in routes


class Leaver(Single):
    """Goes away in the moment in which its connection is there."""

    task: "asyncio.Task[Connection]"

    def add(self, connection: Connection) -> None:
        super().add(connection)
        self.task.cancel()


async def test_whoever_leaves_as_the_connection_is_there_leaves_nothing_behind() -> None:
    """Nothing listens any more on its socket, whose number the next one may have."""
    loop, broker, leaver = asyncio.get_running_loop(), ScriptedBroker(TRUST.tls), Leaver()
    await broker.start()
    dialling, route = Dialling(loop), Route(Origin("127.0.0.1", broker.port), CA_FILE)

    def make() -> Connection:
        return Connection(b"h", leaver, Deadlines(loop), PlainAnswers(), loop)

    leaver.task = loop.create_task(dialling.dial(route, make))
    with pytest.raises(asyncio.CancelledError):
        await leaver.task
    assert set() == leaver.open
    await broker.stop()
