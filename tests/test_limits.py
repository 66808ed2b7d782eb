"""Every limit at its edge: what is just within passes, and a little more gets the refusal that belongs to it.

Bodies and calls in flight are in `test_gateway.py`, a broker's heads in `test_hostile_answers.py`.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace

import pytest

from proxy import connection, flow, intake, outbound, parser
from proxy.admission import Door
from proxy.config import Tcp
from proxy.config.model import Limits
from proxy.connection import LARGEST_HEAD, LONGEST_LINE, MOST_HEADERS
from proxy.console import forms, live, session
from proxy.console import server as console
from proxy.gate.browser import Hosts
from proxy.listener import Listener, open_listener
from proxy.relay import delivery, upstream
from proxy.relay.upstream import Place
from tests.callers import eventually
from tests.console.visitor import View, console_at
from tests.lab import Lab, running
from tests.wire import Visit, Wire, answer, connected

ACCOUNTS = "/lab/v1/accounts"


@dataclass
class Opened:
    """Another listener of a lab's gateway."""

    listener: Listener

    @property
    def port(self) -> int:
        assert isinstance(self.listener.bound, Tcp)
        return self.listener.bound.port

    @property
    def waiting(self) -> int:
        """Bytes that its clients have not taken yet."""
        return sum(line.get_write_buffer_size() for line in self.lines)

    @property
    def lines(self) -> list[asyncio.Transport]:
        """Those of its clients."""
        assert self.listener._runner is not None
        assert self.listener._runner.server is not None
        transports = [handler.transport for handler in self.listener._runner.server.connections]
        return [transport for transport in transports if transport is not None]


@asynccontextmanager
async def door(
    lab: Lab, *, head_timeout: float = connection.HEAD_TIMEOUT, take_timeout: float = connection.TAKE_TIMEOUT
) -> AsyncIterator[Opened]:
    """The options are those of `open_listener`."""
    place = Door(None)
    listening = await open_listener(
        Tcp("127.0.0.1", 0),
        lambda _listener, request: lab.gateway.handle(place, request),
        grace=0,
        head_timeout=head_timeout,
        take_timeout=take_timeout,
    )
    place.hosts = Hosts(listening.names)
    try:
        yield Opened(listening)
    finally:
        await listening.close()


def test_the_limits_are_what_they_are_said_to_be() -> None:
    """A limit that is changed is changed here too, and in SECURITY.md."""
    limits = Limits()
    assert (16 * 1024, 8190, 64) == (LARGEST_HEAD, LONGEST_LINE, MOST_HEADERS)
    assert (10.0, 10.0, 10.0, 20.0) == (
        connection.HEAD_TIMEOUT, intake.PATIENCE, forms.PATIENCE, connection.TAKE_TIMEOUT,
    )  # fmt: skip
    assert (20_480, 16, 32, 8) == (forms.LARGEST, session.MOST, live.MOST, live.MOST_EACH)
    assert (1000, 12_000, 1 << 20) == (limits.in_flight_per_client, limits.connections, limits.body_bytes)
    place = Place("g", ())
    assert (5.0, 30.0, 60.0) == (outbound.CONNECT_TIMEOUT, place.total, place.idle)
    assert (8, 16 * 1024, 32 * 1024) == (parser.REQUESTS_AHEAD, flow.WAITING, delivery.PART)
    assert (32 * 1024, 128, 8) == (upstream.LARGEST_HEAD, outbound.MOST_HEADERS, outbound.MOST_INTERIM)


# -- heads ------------------------------------------------------------------------------------------------------------


def padded(lab: Lab, *, headers: int = 0, line: int = 0, head: int = 0, target: int = 0) -> bytes:
    """A request whose head is filled up: to so many headers, to a line of so many bytes, to so many bytes in all."""
    query = "?" + "a" * (target - len(ACCOUNTS) - 1) if target else ""
    own = ["Host: " + lab.host, f"Authorization: Bearer {lab.key}"]
    lines = own + ["X: 1"] * (headers - len(own)) + (["X: " + "a" * line] if line else [])
    if head:
        left = head - len("GET" + ACCOUNTS) - sum(len(each) - 2 for each in own)
        while left:
            part = min(left, 8000)
            lines.append("X: " + "a" * (part - 1))
            left -= part
    return "\r\n".join([f"GET {ACCOUNTS}{query} HTTP/1.1", *lines, "", ""]).encode()


@pytest.mark.parametrize(("what", "limit"), [("headers", MOST_HEADERS), ("line", LONGEST_LINE), ("head", LARGEST_HEAD)])
async def test_a_head_at_its_limit_reaches_the_broker(what: str, limit: int) -> None:
    """Headers, bytes of a line, bytes in all: one more is 431, names no byte of it, and ends the connection."""
    async with running() as lab:
        for size, expected in ((limit, 200), (limit + 1, 431)):
            async with lab.connect() as wire:
                await wire.send(padded(lab, **{what: size}))
                reply = await wire.reply()
                assert expected == reply.status
                if expected == 431:
                    assert (431, "head-too-large") == reply.problem
                    assert await wire.ended()
        assert 1 == len(lab.broker.visits)


async def test_a_target_at_its_limit_reaches_the_broker() -> None:
    """The line is the target's here: GET and the version are not counted."""
    async with running() as lab:
        for size, expected in ((LONGEST_LINE, 200), (LONGEST_LINE + 1, 431)):
            async with lab.connect() as wire:
                await wire.send(padded(lab, target=size))
                assert expected == (await wire.reply()).status
        assert [LONGEST_LINE - len("/lab")] == [len(visit.target) for visit in lab.broker.visits]


# -- time -------------------------------------------------------------------------------------------------------------


async def drip(wire: Wire, data: bytes, *, size: int, pause: float) -> float:
    """Send a few bytes at a time: how long it took until the other end had enough, or all was sent."""
    began = asyncio.get_running_loop().time()
    with suppress(ConnectionError):
        for at in range(0, len(data), size):
            await wire.send(data[at : at + size])
            await asyncio.sleep(pause)
            if wire.reader.at_eof():
                break
    return asyncio.get_running_loop().time() - began


@pytest.mark.parametrize("before", [0, 1], ids=["the first", "the next"])
async def test_a_head_has_its_time(before: int) -> None:
    """From the connection or, after another call, from its first byte: one that comes in time passes, a slow one ends.

    A byte now and then does not prolong it.
    """
    async with running() as lab, door(lab, head_timeout=0.6) as opened:
        request = lab.request("GET", ACCOUNTS, host=f"127.0.0.1:{opened.port}")
        for size, passes in ((30, True), (1, False)):
            async with connected("127.0.0.1", opened.port) as wire:
                for _ in range(before):
                    await wire.send(request)
                    assert 200 == (await wire.reply()).status
                    await asyncio.sleep(0.7)  # idle for longer than a head may take
                took = await drip(wire, request, size=size, pause=0.01)
                if passes:
                    assert 200 == (await wire.reply()).status
                else:
                    assert await wire.ended()
                    assert 0.5 < took < 5
        assert 1 + 2 * before == len(lab.broker.visits)


async def test_the_time_of_a_head_is_no_answers() -> None:
    """Nor a body's, nor that of an idle connection."""

    async def slow(visit: Visit) -> None:
        await asyncio.sleep(0.5)
        await visit.json({})

    async with running() as lab, door(lab, head_timeout=0.2) as opened, connected("127.0.0.1", opened.port) as wire:
        lab.broker.script = [slow]
        host = f"127.0.0.1:{opened.port}"
        await wire.send(lab.request("GET", ACCOUNTS, host=host))
        assert 200 == (await wire.reply()).status
        await asyncio.sleep(0.3)
        await wire.send(lab.request("POST", "/lab/v1/orders", "Content-Length: 4", host=host) + b"{")
        for byte in (b"}", b" ", b" "):
            await asyncio.sleep(0.1)
            await wire.send(byte)
        assert 200 == (await wire.reply()).status


@pytest.mark.parametrize("target", ["orders", "upload"])
async def test_a_body_has_its_time(target: str) -> None:
    """As a whole: one that comes in time passes; one that drips, never silent for long, is 408, and the call ends."""
    async with running() as lab:
        lab.change(patience=0.8)
        for size, expected in ((50, 200), (1, 408)):
            async with lab.connect() as wire, asyncio.TaskGroup() as group:
                await wire.send(lab.request("POST", f"/lab/v1/{target}", "Content-Length: 100", "Connection: close"))
                answered = group.create_task(wire.reply())
                for _ in range(100 // size):
                    await wire.send(b"x" * size)
                    await asyncio.wait([answered], timeout=0.02)
                    if answered.done():
                        break
                reply = await answered
                assert expected == reply.status
                assert expected == 200 or reply.problem == (408, "slow-request")
        assert (0, 0) == (lab.lent, lab.gateway.serving.in_flight)


async def test_a_large_body_has_more_time() -> None:
    """The same for each 64 KiB: an upload that takes longer than the time of one part passes."""
    async with running() as lab, lab.connect() as wire:
        lab.change(patience=0.4)
        size = 8 * 65_536
        await wire.send(lab.request("POST", "/lab/v1/upload", f"Content-Length: {size}"))
        for _ in range(8):
            await wire.send(b"x" * 65_536)
            await asyncio.sleep(0.15)
        assert 200 == (await wire.reply()).status
        assert size == len(lab.broker.visits[0].body)


async def test_an_answer_has_to_be_taken() -> None:
    """A client that takes nothing loses its connection and its place; one that takes it slowly gets all of it."""
    size = 24 << 20  # more than the kernel keeps for a connection

    async def large(visit: Visit) -> None:
        await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            await visit.write(b"x" * 65_536)

    async with running(total=30) as lab, door(lab, take_timeout=0.6) as opened:
        lab.broker.script = [large, large]
        request = lab.request("GET", ACCOUNTS, "Connection: close", host=f"127.0.0.1:{opened.port}")
        for patient in (True, False):
            reader, writer = await asyncio.open_connection("127.0.0.1", opened.port, limit=4096)
            with closing(writer):
                writer.write(request)
                await reader.readuntil(b"\r\n\r\n")
                got = 0
                while patient and (piece := await reader.read(1 << 20)):
                    got += len(piece)
                    if got % 50 == 0:
                        await asyncio.sleep(0.01)
                async for _ in eventually(5):
                    if lab.gateway.serving.in_flight == 0:
                        break
                assert (size if patient else 0, 0, 0) == (got, lab.gateway.serving.in_flight, lab.lent)


async def test_little_waits_here_for_a_client_that_takes_nothing() -> None:
    """Of a large answer a part and what is read ahead; the rest stays with the broker until the client goes on."""
    size, sent = 24 << 20, 0

    async def large(visit: Visit) -> None:
        nonlocal sent
        for line in opened.lines:
            line.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            await visit.write(b"x" * 65_536)
            sent += 65_536

    async with running(total=30) as lab, door(lab) as opened:
        lab.broker.script = [large]
        with closing(line_that_reads_nothing(opened.port)) as line:
            line.send(lab.request("GET", ACCOUNTS, host=f"127.0.0.1:{opened.port}"))
            seen = [-1]
            async for _ in eventually(10, pause=0.05):
                seen.append(sent)
                if sent and len(set(seen[-6:])) == 1:
                    break
            assert 0 < sent < size
            assert flow.WAITING < opened.waiting < flow.WAITING + delivery.PART


async def test_a_slow_client_gets_all_of_its_answer() -> None:
    """The system asks for more only when a third of what it keeps is gone: what goes from there is progress too."""
    size = 6 << 20

    async def large(visit: Visit) -> None:
        await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            await visit.write(b"x" * 65_536)

    async with running(total=30) as lab, door(lab, take_timeout=0.2) as opened:
        lab.broker.script = [large]
        with closing(line_that_reads_nothing(opened.port, room=65_536)) as line:
            line.setblocking(False)
            loop, got = asyncio.get_running_loop(), 0
            await loop.sock_sendall(line, lab.request("GET", ACCOUNTS, host=f"127.0.0.1:{opened.port}"))
            while got <= size and (piece := await loop.sock_recv(line, 65_536)):
                got += len(piece)
                await asyncio.sleep(0.02)
            assert got > size


@pytest.mark.parametrize("ends", [False, True], ids=["idle", "closing"])
async def test_what_nobody_takes_does_not_keep_a_connection(ends: bool) -> None:
    """Whole answers that fit between two limits count too, also on a connection that is to be closed after them."""

    async def some(visit: Visit) -> None:
        await visit.write(answer(200, b"x" * 10_000))

    async def ask(*headers: str) -> None:
        asked = len(lab.broker.visits)
        line.send(lab.request("GET", ACCOUNTS, *headers, host=f"127.0.0.1:{opened.port}"))
        async for _ in eventually(5, pause=0.001):
            if len(lab.broker.visits) > asked and lab.gateway.serving.in_flight == 0:
                break

    async with running() as lab, door(lab, take_timeout=0.3) as opened:
        lab.broker.script = [some] * 1000
        with closing(line_that_reads_nothing(opened.port)) as line:
            while not opened.waiting:
                await ask()
            if ends:
                await ask("Connection: close")
            assert (opened.waiting > 0, ended(line)) == (True, False)
            async for _ in eventually(5):
                if ended(line):
                    break
            assert (0, True) == (opened.waiting, ended(line))


def line_that_reads_nothing(port: int, room: int = 4096) -> socket.socket:
    """A connection whose other end can get rid of little more than what its own system keeps."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    found.connect(("127.0.0.1", port))
    return found


def ended(line: socket.socket) -> bool:
    """Whether the other end has ended the connection. Reads nothing."""
    established = 1
    return line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != established


# -- before anybody is known ------------------------------------------------------------------------------------------


REFUSED: list[tuple[str, list[str], bool, tuple[int, str]]] = [
    ("/lab/v1/orders", [], False, (401, "unknown-client")),
    ("/lab/v1/orders", ["Expect: 100-continue"], False, (401, "unknown-client")),
    ("/lab/v1/orders", ["Origin: https://evil.test"], True, (403, "cross-site")),
    ("/lab/v1/orders", ["Host: evil.test"], True, (421, "wrong-host")),
    ("/none/v1/orders", [], True, (404, "unknown-mount")),
    ("/lab/v1/../orders", [], True, (400, "ambiguous-target")),
    ("/lab/v1/other", [], True, (403, "scope-denied")),
]


@pytest.mark.parametrize("framing", ["Content-Length: 60000", "Transfer-Encoding: chunked"], ids=["length", "chunks"])
async def test_a_refused_call_s_body_is_not_read(framing: str) -> None:
    """The answer comes before a byte of the body, and then the end: no next request can be made of what follows."""

    async def refused(target: str, headers: list[str], keyed: bool, expected: tuple[int, str]) -> None:
        own = [] if any(header.startswith("Host") for header in headers) else [f"Host: {lab.host}"]
        key = [f"Authorization: Bearer {lab.key}"] if keyed else []
        async with lab.connect() as wire:
            await wire.send("\r\n".join([f"POST {target} HTTP/1.1", *own, *headers, *key, framing, "", ""]).encode())
            reply = await wire.reply()
            assert (expected, "close") == (reply.problem, reply.one("Connection"))
            assert await wire.ended()

    async with running() as lab:
        await asyncio.gather(*(refused(*case) for case in REFUSED))
        assert [] == lab.broker.visits


# -- many at once -----------------------------------------------------------------------------------------------------


async def test_pipelined_requests_wait_outside() -> None:
    """While one is answered a few more are read ahead, and what comes after them stays with its sender."""
    going = asyncio.Event()

    async def slow(visit: Visit) -> None:
        await going.wait()
        await visit.json({})

    async with running() as lab, lab.connect() as wire:
        lab.broker.script = [slow]
        request = lab.request("GET", ACCOUNTS, "X-Filler: " + "a" * 4000)
        count = 6_000  # 24 MB
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(wire.send(request * count))
            async for _ in eventually(5):
                if lab.broker.visits:
                    break
            await asyncio.sleep(0.2)
            assert not sending.done()
            assert (1, 1) == (lab.gateway.serving.in_flight, len(lab.broker.visits))
            going.set()
            for _ in range(100):
                assert 200 == (await wire.reply()).status
            wire.reset()
            sending.cancel()
        async for _ in eventually(5):
            if lab.gateway.serving.in_flight == 0:
                break
        assert (0, 0) == (lab.lent, lab.gateway.serving.in_flight)
        assert len(lab.broker.visits) < 300


async def test_the_console_has_room_of_its_own() -> None:
    """One connection more than it has is 503; those of clients are counted elsewhere."""
    shown = console_at(Tcp("127.0.0.1", 0), View())
    await shown.start()
    assert isinstance(shown.address, Tcp)
    lines = [await asyncio.open_connection("127.0.0.1", shown.address.port) for _ in range(console.CONNECTIONS)]
    try:
        reader, one_more = await asyncio.open_connection("127.0.0.1", shown.address.port)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        one_more.close()
        reader, last = lines[-1]
        last.write(f"GET /livez HTTP/1.1\r\nHost: {shown.address}\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    finally:
        for _, writer in lines:
            writer.close()
        await shown.stop()


# -- towards a broker -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "target"), [("GET", ACCOUNTS), ("POST", "/lab/v1/orders")])
async def test_a_broker_has_its_time(method: str, target: str) -> None:
    """An answer just in time passes; one that is late is 504, or for an order of unknown outcome."""

    def after(seconds: float) -> Callable[[Visit], object]:
        async def step(visit: Visit) -> None:
            await visit.read()
            await asyncio.sleep(seconds)
            await visit.json({})

        return step

    async with running(total=0.5) as lab:
        for seconds, expected in ((0.2, 200), (0.9, 504 if method == "GET" else 500)):
            lab.broker.script = [after(seconds)]  # type: ignore[list-item]
            assert expected == (await lab.call(method, target, body=b"{}" if method == "POST" else None)).status
        assert (0, 0) == (lab.lent, lab.gateway.serving.in_flight)


async def test_a_broker_that_does_not_accept_gets_nothing() -> None:
    """After five seconds: 502, or 503 for an order, which was not sent."""
    with socket.socket() as full, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        filler.connect(("127.0.0.1", port))
        async with running(total=30) as lab:
            origin = replace(lab.mount.relay._place.origin_for(await lab.keeper.take()), port=port)
            lab.keeper.give_back()
            lab.mount.relay._place = replace(lab.mount.relay._place, origin=origin)
            began = asyncio.get_running_loop().time()
            read, order = await asyncio.gather(
                lab.call("GET", ACCOUNTS), lab.call("POST", "/lab/v1/orders", body=b"{}")
            )
            took = asyncio.get_running_loop().time() - began
        assert [(502, "broker-unreachable"), (503, "broker-unreachable")] == [read.problem, order.problem]
        assert ("no connection within 5 s" in read.document["message"], order.one("Retry-After")) == (True, "5")
        assert 4.9 < took < 6.5
