"""HTTP streams through bearerd, end to end, against the simulators: events of Alpaca, Tradier's market stream."""

import asyncio
import base64
import contextlib
import json
import socket
import ssl
import statistics
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import requests
import sseclient

from proxy.admission import Door
from proxy.app import App
from proxy.audit.trailfile import name_of
from proxy.brokers import load
from proxy.config import Tcp
from proxy.config.document import parse_yaml
from proxy.gate.browser import Hosts
from proxy.gate.halt import Halt
from proxy.listener import open_listener
from proxy.simulator.alpaca.broker import Alpaca
from proxy.simulator.tradier.broker import Tradier
from tests.callers import eventually
from tests.everybroker import in_front_of
from tests.house import port_of
from tests.lab import DEFINITION, running
from tests.simulator.support import trusting
from tests.wire import Visit, Wire, connected

LIMIT = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit", "limit_price": "1", "time_in_force": "day"}
EVENTS = "/here/v1/events/accounts/status"
ACTIONS = "/here/v1beta1/events/corporate-actions"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def alpaca(directory: Path, api: str = "broker") -> AsyncIterator[tuple[int, Alpaca]]:
    """The port of a bearerd in front of one API of Alpaca's, logged in."""
    scopes = {"broker": ["broker:events"], "stream": ["data"]}[api]
    async with in_front_of(directory, "alpaca", "client-credentials", api=api, scopes=scopes) as (app, simulator):
        await app.operations.login("here", None)
        yield port_of(app.doors.listeners[0]), cast("Alpaca", simulator)


@asynccontextmanager
async def tradier(directory: Path) -> AsyncIterator[tuple[int, Tradier]]:
    """The port of a bearerd in front of Tradier's stream, logged in."""
    async with in_front_of(directory, "tradier", "personal", api="stream", scopes=["stream"]) as (app, simulator):
        found: App = app
        await found.operations.login("here", simulator.links().logins["personal"]["secret"])
        yield port_of(found.doors.listeners[0]), cast("Tradier", simulator)


async def get(wire: Wire, port: int, target: str, *headers: str) -> tuple[int, Mapping[str, str]]:
    """Ask for a stream; its head."""
    lines = [f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers, "", ""]
    await wire.send("\r\n".join(lines).encode())
    status, found = await wire.head()
    return status, dict(found)


class Reader:
    """What comes over a stream of events, however it is cut into chunks."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._left = b""

    async def block(self) -> bytes:
        """The next event or comment."""
        while b"\n\n" not in self._left:
            chunk = await self.wire.chunk()
            assert chunk.endswith(b"\n\n"), "no event waits for the next one"
            self._left += chunk
        block, _, self._left = self._left.partition(b"\n\n")
        return block

    async def event(self) -> dict[str, Any]:
        """The next event; comments are passed over."""
        while (block := await self.block()).startswith(b":"):
            pass
        found: dict[str, Any] = json.loads(block.partition(b"data: ")[2])
        return found


async def rest(wire: Wire) -> tuple[bytes, bool]:
    """What is left of a body, and whether it came to its end."""
    body = b""
    try:
        while chunk := await wire.chunk():
            body += chunk
    except (asyncio.IncompleteReadError, ConnectionError):
        return body, False
    return body, True


async def gone(simulator: Alpaca | Tradier) -> float:
    """Seconds until the broker has no stream open any more."""
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(5):
        while simulator.streams.state()["open"]:  # noqa: ASYNC110  another program is to notice
            await asyncio.sleep(0.005)
    return asyncio.get_running_loop().time() - began


async def test_events_come_one_by_one_as_the_broker_sends_them(tmp_path: Path) -> None:
    """The head before there is any event, then each event in a chunk of its own, heartbeats too; none is left out."""
    async with alpaca(tmp_path) as (port, simulator), connected("127.0.0.1", port) as wire:
        simulator.streams.turn({"rate": 0, "heartbeat": 0.05})
        status, headers = await get(wire, port, EVENTS)
        assert (200, "text/event-stream", "chunked") == (status, headers["Content-Type"], headers["Transfer-Encoding"])
        reader = Reader(wire)
        assert [b": welcome to the Alpaca events", b":heartbeat"] == [await reader.block(), await reader.block()]
        simulator.streams.turn({"rate": 200})
        numbers = [(await reader.event())["event_id"] for _ in range(50)]

        assert list(range(numbers[0], numbers[0] + 50)) == numbers
        assert {"current": 1, "stale": 0, "foreign": 0, "none": 0} == simulator.state()["authorizations"]


async def test_the_head_does_not_wait_for_the_first_byte() -> None:
    """A broker that has nothing to say yet has answered all the same."""
    seen = asyncio.Event()

    async def step(visit: Visit) -> None:
        await visit.write(CHUNKED)
        await asyncio.wait_for(seen.wait(), 5)
        await visit.write(b"1\r\n.\r\n0\r\n\r\n")

    async with running() as lab, lab.connect() as wire:
        lab.broker.script = [step]
        await wire.send(lab.request("GET", "/lab/v1/feed"))
        assert 200 == (await wire.head())[0]
        seen.set()
        assert [b".", b""] == [await wire.chunk(), await wire.chunk()]


async def test_a_stream_is_asked_for_unpacked() -> None:
    """Packed, our credential could not be found in it, and events would wait for each other."""

    async def step(visit: Visit) -> None:
        await visit.write(CHUNKED + b"0\r\n\r\n")

    async with running() as lab, lab.connect() as wire:
        lab.broker.script = [step]
        await wire.send(lab.request("GET", "/lab/v1/feed", "Accept-Encoding: gzip, deflate"))
        assert (200, b"") == ((await wire.head())[0], await wire.chunk())
        assert ["identity"] == lab.broker.visits[0].all("Accept-Encoding")


async def test_a_row_says_how_long_its_broker_may_be_silent() -> None:
    """Longer than usual here: what would be cut elsewhere goes on, and in the end is cut too."""

    async def step(visit: Visit) -> None:
        await visit.write(CHUNKED)
        await asyncio.sleep(0.3)
        await visit.write(b"1\r\n.\r\n")
        await visit.wait_gone()

    patient = DEFINITION.replace("scope: read, streaming: true", "scope: read, streaming: true, idle: 1")
    async with running(idle=0.1, broker=load(parse_yaml(patient, "lab.yaml"), "lab")) as lab:
        lab.broker.script = [step]
        reply = await lab.call("GET", "/lab/v1/feed")
        assert (b".", False) == (reply.body, reply.complete)


async def test_a_stream_goes_on_where_its_client_has_been(tmp_path: Path) -> None:
    """`Last-Event-Id` and cursors reach the broker, id lines come back; an end that was asked for is a clean one."""
    async with alpaca(tmp_path, "stream") as (port, simulator):
        async with connected("127.0.0.1", port) as wire:
            await get(wire, port, ACTIONS, "Last-Event-Id: 2")
            assert 3 == (await Reader(wire).event())["number"]
        simulator.streams.turn({"rate": 50})
        async with connected("127.0.0.1", port) as wire:
            await get(wire, port, f"{ACTIONS}?since_id=1&until_id=3")
            body, complete = await rest(wire)

    assert ([2, 3], True) == (
        [json.loads(line[6:])["number"] for line in body.splitlines() if b"data" in line],
        complete,
    )


@pytest.mark.parametrize(
    ("fault", "complete"), [("stream-close", True), ("stream-drop", False), ("stream-broken-frame", False)]
)
async def test_only_a_stream_that_was_ended_ends(tmp_path: Path, fault: str, complete: bool) -> None:
    """A broker's clean end is one here; a broken connection, or what is no HTTP, is a broken one here, at once."""
    async with alpaca(tmp_path) as (port, simulator), connected("127.0.0.1", port) as wire:
        simulator.streams.turn({"rate": 50})
        await get(wire, port, EVENTS)
        await Reader(wire).event()
        simulator.faults.add(fault)
        assert complete is (await rest(wire))[1]


async def test_a_broker_that_repeats_the_token_is_cut_off(tmp_path: Path) -> None:
    """In the middle of a stream too; not a byte of the token goes on."""
    async with alpaca(tmp_path) as (port, simulator), connected("127.0.0.1", port) as wire:
        await get(wire, port, EVENTS)
        simulator.faults.add("stream-echo")
        body, complete = await rest(wire)

    assert not complete
    assert b"eyJ" not in body


async def test_a_client_that_leaves_takes_its_stream_along(tmp_path: Path, figure: Callable[[object], None]) -> None:
    """Whether it says goodbye or not: the broker's connection is closed within a second."""
    async with alpaca(tmp_path) as (port, simulator):
        for leave in (Wire.reset, Wire.close):
            async with connected("127.0.0.1", port) as wire:
                await get(wire, port, EVENTS)
                assert b":" == (await wire.chunk())[:1]
                assert 1 == simulator.streams.state()["open"]
                leave(wire)
                figure(f"the broker's connection was closed after {1000 * (seconds := await gone(simulator)):.0f} ms")
                assert seconds < 1


async def test_a_halt_cuts_a_stream_and_its_records_say_so(tmp_path: Path) -> None:
    """One when it began to pass, one with the end of it; to read, its client may come again."""
    async with in_front_of(
        tmp_path, "alpaca", "client-credentials", api="broker", scopes=["broker:events"]
    ) as (app, _), connected("127.0.0.1", port := port_of(app.doors.listeners[0])) as wire:  # fmt: skip
        await app.operations.login("here", None)
        await get(wire, port, EVENTS)
        first = await wire.chunk()
        trail = app.custody.trail
        await trail.durable()
        begun = (await _records(trail.directory))["call"]
        assert (200, "broker", "local") == tuple(begun[name] for name in ("status", "outcome", "client"))

        await app.halts.halt(Halt("here", None, None, cancels_too=False, by="me", since=1.0))
        assert not (await rest(wire))[1]
        ended: dict[str, Any] = {}
        async for _ in eventually(3, 0.05):
            if ended := (await _records(trail.directory)).get("ended", {}):
                break
        assert (begun["id"], 4423, True) == (ended["id"], ended["close"], ended["down_bytes"] >= len(first))
        async with connected("127.0.0.1", port) as again:
            assert 200 == (await get(again, port, EVENTS))[0]


async def _records(directory: Path) -> dict[str, dict[str, Any]]:
    """The last record of each kind in an audit trail."""
    lines = await asyncio.to_thread((directory / name_of(1)).read_text)
    return {record["kind"]: record for record in map(json.loads, lines.splitlines()) if "kind" in record}


async def test_a_stream_outlives_its_token(tmp_path: Path) -> None:
    """A newer token is fetched for newer calls; what is open stays open, as long as the broker lets it."""
    async with alpaca(tmp_path) as (port, simulator), connected("127.0.0.1", port) as wire:
        simulator.streams.turn({"rate": 50})
        await get(wire, port, EVENTS)
        simulator.expire()
        reader = Reader(wire)
        before = (await reader.event())["event_id"]
        async with connected("127.0.0.1", port) as other:
            assert 200 == (await get(other, port, EVENTS))[0]
            assert before < (await Reader(other).event())["event_id"]
        assert before + 1 == (await reader.event())["event_id"]
        simulator.streams.turn({"stale": "drop"})
        assert not (await rest(wire))[1]


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_a_stream_that_is_refused_is_a_plain_answer(tmp_path: Path, status: int) -> None:
    """The broker's own, whole."""
    async with alpaca(tmp_path) as (port, simulator), connected("127.0.0.1", port) as wire:
        simulator.faults.add(f"stream-{status}", 2)
        await wire.send(f"GET {EVENTS} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        reply = await wire.reply()
        assert (status, True) == (reply.status, reply.complete)


async def test_the_market_stream_comes_in_whole_lines(tmp_path: Path) -> None:
    """Tradier's, by query and by form, with its session, no line held back; a newer session ends it cleanly."""
    async with tradier(tmp_path) as (port, simulator):
        simulator.streams.turn({"rate": 100})
        for form in (False, True):
            fields = {"sessionid": simulator.calls.sessions.create("markets"), "symbols": "SPY,AAPL", "filter": "trade"}
            lines = await asyncio.to_thread(_lines, port, {**fields, "linebreak": "true"}, 20, form=form)
            first = int(lines[0]["cvol"])
            wanted = [(name, str(first + beat)) for beat in range(10) for name in ("SPY", "AAPL")]
            assert wanted == [(line["symbol"], line["cvol"]) for line in lines]
        async with connected("127.0.0.1", port) as wire:
            session = simulator.calls.sessions.create("markets")
            await get(wire, port, f"/here/v1/markets/events?sessionid={session}&symbols=SPY&linebreak=true")
            await wire.chunk()
            simulator.calls.sessions.create("markets")
            body, complete = await rest(wire)
            assert (True, True) == (body.endswith(b"\n") or not body, complete)


def _lines(port: int, fields: Mapping[str, str], count: int, *, form: bool) -> list[dict[str, str]]:
    """What requests reads of a stream, line by line."""
    url = f"http://127.0.0.1:{port}/here/v1/markets/events"
    how: dict[str, Any] = {"data": fields} if form else {"params": fields}
    with requests.request("POST" if form else "GET", url, stream=True, timeout=10, **how) as answer:
        assert 200 == answer.status_code
        return [json.loads(line) for _, line in zip(range(count), answer.iter_lines(chunk_size=1), strict=False)]


async def test_the_reader_that_alpaca_py_has_reads_events(tmp_path: Path) -> None:
    """sseclient over requests, in a thread: the past of real orders, and then what happens."""
    async with alpaca(tmp_path) as (port, simulator):
        book, now = simulator.customers.first.book, simulator.options.now()
        for _ in range(3):
            book.place(LIMIT, now)
        asyncio.get_running_loop().call_later(0.3, book.cancel_all, now)
        found = await asyncio.to_thread(_events, f"http://127.0.0.1:{port}/here/v2/events/trades?since_id=1", 5)

    assert ["new", "new", "canceled", "canceled", "canceled"] == [event["event"] for event in found]


def _events(url: str, count: int) -> list[dict[str, Any]]:
    with requests.get(url, stream=True, timeout=10, headers={"Accept": "text/event-stream"}) as answer:
        events = sseclient.SSEClient(cast("Iterator[bytes]", answer)).events()
        return [json.loads(event.data) for _, event in zip(range(count), events, strict=False)]


async def test_events_are_not_held_up(tmp_path: Path) -> None:
    """The same events straight from the broker and through bearerd: none waits for the next one, 40 ms later."""
    async with alpaca(tmp_path) as (port, simulator):
        simulator.streams.turn({"rate": 0})
        pair = simulator.credentials.broker
        token = base64.b64encode(f"{pair.id}:{pair.secret}".encode()).decode()
        straight = Leg(int(simulator.url("broker").rpartition(":")[2]), EVENTS.removeprefix("/here"))
        through = Leg(port, EVENTS)
        async with asyncio.TaskGroup() as group:
            group.create_task(straight.read(20, f"Authorization: Basic {token}", tls=trusting(tmp_path / "ca/ca.pem")))
            group.create_task(through.read(20))
            while simulator.streams.state()["open"] != 2:  # noqa: ASYNC110  two others are under way
                await asyncio.sleep(0.01)
            simulator.streams.turn({"rate": 25})

    assert straight.arrivals.keys() == through.arrivals.keys()
    later = [through.arrivals[number] - straight.arrivals[number] for number in straight.arrivals]
    assert statistics.median(later) < 0.02


@dataclass
class Leg:
    """One reader of events, and when each of them came."""

    port: int
    target: str
    arrivals: dict[int, float] = field(default_factory=dict)

    async def read(self, count: int, *headers: str, tls: ssl.SSLContext | None = None) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=tls)
        with contextlib.closing(writer):
            wire = Wire(reader, writer)
            events = Reader(wire)
            assert 200 == (await get(wire, self.port, self.target, *headers))[0]
            while len(self.arrivals) < count:
                number = (await events.event())["event_id"]
                self.arrivals[number] = asyncio.get_running_loop().time()


async def test_a_client_that_takes_nothing_is_cut_off_and_fills_no_memory() -> None:
    """A stream that it has asked for, and does not read: some hundred kilobytes wait, then it has to go."""
    written = 0

    async def flood(visit: Visit) -> None:
        nonlocal written
        await visit.write(CHUNKED)
        try:
            while True:
                await visit.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
                written += 65_536
        finally:
            visit.gone.set()

    async with running() as lab:
        place = Door(None)
        listening = await open_listener(
            Tcp("127.0.0.1", 0), lambda _, request: lab.gateway.handle(place, request), grace=0, take_timeout=0.4
        )
        place.hosts = Hosts(listening.names)
        lab.broker.script = [flood]
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", port_of(listening)))
            line.send(lab.request("GET", "/lab/v1/feed", host=f"127.0.0.1:{port_of(listening)}"))
            async with asyncio.timeout(10):
                while not lab.broker.visits:  # noqa: ASYNC110  as above
                    await asyncio.sleep(0.01)
                await lab.broker.visits[0].gone.wait()
        assert (0, 0) == (lab.gateway.serving.in_flight, lab.lent)
        assert written < 16 << 20  # nearly all of it in the system's own buffers
        await listening.close()
