"""One connection, on real sockets: one call at a time, told once, and nothing taken that nobody asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.brokers.definition import BEARER
from proxy.outbound import Lost
from proxy.relay import credential, wirehead
from proxy.relay.pool.answer import ENOUGH, ComingAnswer, PooledAnswer
from proxy.relay.pool.connection import Connection
from proxy.relay.pool.deadlines import Deadlines
from proxy.relay.pool.plainanswer import PlainAnswers
from proxy.relay.pool.pool import Single
from proxy.relay.pool.pooled import PooledUpstream
from proxy.relay.pool.reading import SMALL
from tests.callers import eventually
from tests.calling import ANYWHERE, call, fetch
from tests.lab import TRUST
from tests.wire import ScriptedBroker, Step, Visit, answer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Caller:
    """Waits for an answer, and counts what it is told."""

    def __init__(self) -> None:
        self.told: list[PooledAnswer | Lost] = []
        self.done = asyncio.Event()

    def answered(self, answer: PooledAnswer) -> None:
        self.told.append(answer)
        self.done.set()

    def failed(self, error: Lost) -> None:
        self.told.append(error)
        self.done.set()

    async def outcome(self) -> PooledAnswer | Lost:
        async with asyncio.timeout(5):
            await self.done.wait()
        (told,) = self.told
        return told


@asynccontextmanager
async def line() -> AsyncIterator[tuple[Connection, ScriptedBroker, PooledUpstream]]:
    """A connection that was taken, after a first call over it."""
    broker, upstream = ScriptedBroker(TRUST.tls), PooledUpstream()
    await broker.start()
    try:
        await fetch(upstream, call(broker))
        connection = upstream.at_hand(ANYWHERE, call(broker).pair)
        assert connection is not None
        yield connection, broker, upstream
    finally:
        await upstream.close()
        await broker.stop()


def request(broker: ScriptedBroker, method: bytes = b"GET") -> bytes:
    lines = credential.lines(BEARER, call(broker).pair.access_token)
    assert lines is not None
    host = b"127.0.0.1:%d" % broker.port
    return wirehead.head(method, b"/v1/x", host, wirehead.block_of([("Accept", "*/*")], BEARER), lines)


def ask(
    connection: Connection,
    broker: ScriptedBroker,
    step: Step,
    method: str = "GET",
    *,
    total: float = 5.0,
    idle: float = 5.0,
) -> Caller:
    broker.script, caller = [step], Caller()
    connection.send(request(broker, method.encode()), caller, method=method, total=total, idle=idle)
    return caller


def says(*pieces: bytes, pause: float = 0.01, ends: bool = False) -> Step:
    async def step(visit: Visit) -> None:
        for piece in pieces:
            await visit.write(piece)
            await asyncio.sleep(pause)
        if ends:
            visit.writer.close()

    return step


@pytest.mark.parametrize(
    ("method", "pieces", "whole"),
    [
        pytest.param("GET", (answer(200, b"{}"),), b"{}", id="at once"),
        pytest.param("GET", (answer(200, b"{}", "Connection: x"),), b"{}", id="at once, by the parser"),
        pytest.param("GET", (answer(200, b"{}")[:9], answer(200, b"{}")[9:]), b"{}", id="in two pieces"),
        pytest.param("GET", (answer(200, b"x" * SMALL),), b"x" * SMALL, id="as large as may be"),
        pytest.param("GET", (answer(200, b"x" * (SMALL + 1)),), None, id="a byte larger"),
        pytest.param("GET", (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",), None, id="chunks"),
        pytest.param("HEAD", (answer(200, b"", length=9),), b"", id="HEAD"),
        pytest.param("GET", (b"HTTP/1.1 204 X\r\n\r\n",), b"", id="204"),
        pytest.param("GET", (b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n",), b"", id="304"),
    ],
)
async def test_a_small_answer_is_whole(method: str, pieces: tuple[bytes, ...], whole: bytes | None) -> None:
    """And its connection is free again by then; a large one, and one of unknown size, is read on."""
    async with line() as (connection, broker, upstream):
        found = await ask(connection, broker, says(*pieces), method).outcome()
        assert isinstance(found, PooledAnswer)
        assert whole == found.whole
        if whole is None:
            assert (await found.start(1 << 20))[1]
        assert connection is upstream.at_hand(ANYWHERE, call(broker).pair)
        again = await ask(connection, broker, says(answer(200, b"next"))).outcome()
        assert isinstance(again, PooledAnswer)
        assert (1, b"next") == (broker.connections, again.whole)


async def test_a_connection_carries_one_call_at_a_time() -> None:
    """A second one is a fault of ours; nothing of it is written."""
    async with line() as (connection, broker, _):
        first = ask(connection, broker, says(b"", answer(200, b"{}"), pause=0.05))
        with pytest.raises(AssertionError, match="two calls"):
            connection.send(request(broker), Caller(), method="GET", total=1, idle=1)
        assert isinstance(await first.outcome(), PooledAnswer)
        assert 2 == len(broker.visits)


async def test_a_head_for_another_origin_does_not_leave() -> None:
    """The last look before a credential is written: the connection knows where it leads."""
    async with line() as (connection, broker, _):
        data = request(broker).replace(b"Host: 127.0.0.1", b"Host: 127.0.0.2")
        with pytest.raises(AssertionError, match="another origin"):
            connection.send(data, Caller(), method="GET", total=1, idle=1)
        await asyncio.sleep(0.02)
        assert 1 == len(broker.visits)


@pytest.mark.parametrize("taken", [False, True], ids=["idle", "taken"])
async def test_what_nobody_asked_for_ends_the_connection(taken: bool) -> None:
    """Whether it waits in the pool or was just taken; it is nobody's answer."""
    async with line() as (connection, broker, upstream):
        if not taken:
            connection.put_back()
        broker.visits[0].writer.write(answer(200, b"smuggled"))
        async for _ in eventually(5):
            if not list(upstream._open):
                break
        assert upstream.at_hand(ANYWHERE, call(broker).pair) is None
        assert b'{"ok": true}' == await fetch(upstream, call(broker))
        assert 2 == broker.connections


async def test_what_has_come_but_was_not_read_yet_is_seen() -> None:
    """A loop that was busy has not been told; a call must not take what lies there for its answer."""
    async with line() as (connection, broker, upstream):
        connection.put_back()
        transport = broker.visits[0].writer.transport
        transport.write(answer(200, b"smuggled"))
        for _ in range(200):  # nothing is awaited: only the kernel knows
            if connection.unread(5):
                break
        assert upstream.at_hand(ANYWHERE, call(broker).pair) is None


async def test_whoever_goes_away_is_told_nothing() -> None:
    """And the connection is cut."""
    async with line() as (connection, broker, _):
        caller = ask(connection, broker, says(b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n", pause=0.02))
        async for _ in eventually(5):
            if len(broker.visits) > 1:
                break
        connection.abort()
        await broker.visits[1].wait_gone()
        assert [] == caller.told


@pytest.mark.parametrize(
    ("options", "pieces"),
    [
        pytest.param({"idle": 0.1}, (b"",), id="silence"),
        pytest.param({"idle": 0.1}, (answer(200, b"{")[:-1],), id="silence in a head"),
        pytest.param({"total": 0.2}, (*(b"HTTP/1.1 200 OK\r\n", *(b"X-A: 1\r\n",) * 20),), id="a slow head"),
        pytest.param({"total": 0.2}, (answer(200, b"", length=99), *(b"x",) * 20), id="a slow small body"),
    ],
)
async def test_an_answer_has_its_time(options: dict[str, float], pieces: tuple[bytes, ...]) -> None:
    """For the whole of it, and for each silence; the connection is cut then."""
    async with line() as (connection, broker, upstream):
        times = {"total": 5.0, "idle": 5.0} | options
        step = says(*pieces, pause=0.05)
        found = await ask(connection, broker, step, total=times["total"], idle=times["idle"]).outcome()
        assert isinstance(found, Lost)
        assert ("timeout", False) == (found.kind, found.reused and found.begun)
        assert upstream.at_hand(ANYWHERE, call(broker).pair) is None


async def test_a_slow_reader_is_not_a_silent_broker() -> None:
    """While nobody takes the body, the broker is not read, and its silence does not count; little of it waits here."""
    async with line() as (connection, broker, _):
        body = b"x" * (8 << 20)
        found = await ask(connection, broker, says(answer(200, body)), idle=0.3).outcome()
        assert isinstance(found, ComingAnswer)
        await asyncio.sleep(0.6)
        assert found._size <= ENOUGH + 256 * 1024  # of a piece as uvloop reads them
        got = sum([len(piece) async for piece in found.chunks()])
        assert len(body) == got
        found.close()


async def test_the_broker_takes_an_upload_at_its_own_pace() -> None:
    """What it has not taken yet waits where it comes from."""
    async with line() as (connection, broker, _):
        wait, sent = asyncio.Event(), 0

        async def slow(visit: Visit) -> None:
            await wait.wait()
            await visit.read()
            await visit.json({"got": len(visit.body)})

        broker.script, caller = [slow], Caller()
        head = request(broker, b"POST")[:-2] + wirehead.length(16 << 20) + b"\r\n"
        connection.send(head, caller, method="POST", total=10, idle=0.2, uploading=True)

        async def upload() -> None:
            nonlocal sent
            for _ in range(256):
                await connection.upload(b"u" * 65_536)
                sent += 65_536
            connection.uploaded()

        async with asyncio.TaskGroup() as group:
            group.create_task(upload())
            await asyncio.sleep(0.5)  # more than `idle`, which does not count yet
            assert sent < (12 << 20)
            assert [] == caller.told
            wait.set()
        found = await caller.outcome()
        assert isinstance(found, PooledAnswer)
        assert b'{"got": %d}' % (16 << 20) == found.whole


async def test_one_that_is_spoken_to_before_we_know_of_it_is_not_kept() -> None:
    """Through a tunnel, TLS may bring the broker's first words along with the end of its handshake."""
    loop, home = asyncio.get_running_loop(), Single()
    async with line() as (_, broker, _upstream):
        transport, _plain = await loop.create_connection(asyncio.Protocol, "127.0.0.1", broker.port)
        connection = Connection(b"h", home, Deadlines(loop), PlainAnswers(), loop)
        connection.data_received(answer(200, b"{}"))
        connection.connection_made(transport)
        assert (False, set()) == (connection.alive, home.open)
        assert transport.is_closing()


async def test_a_broker_s_certificate_is_not_kept_as_a_dict() -> None:
    """There may be a thousand connections at a time; OpenSSL has it anyway."""
    async with line() as (connection, _, _upstream):
        assert connection._transport is not None
        assert not connection._transport.get_extra_info("peercert")
        assert connection._transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
