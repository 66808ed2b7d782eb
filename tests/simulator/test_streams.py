"""The open streams of a broker: the beat, faults and tokens, whatever kind of stream they are."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from proxy.simulator.chunked import Chunked
from proxy.simulator.faults import Faults
from proxy.simulator.listener import Listener
from proxy.simulator.streams import FAULTS, STATUS, Shared, Streams


class Line(Chunked):
    """A line at each beat, encoded once for all."""

    encodings = 0

    def due(self, beats: range, shared: Shared) -> bytes:
        if "line" not in shared:
            Line.encodings += 1
            shared["line"] = b"".join(self.framed(b"%d\n" % beat) for beat in beats)
        return shared["line"]

    def signs(self) -> bytes:
        return self.framed(b"alive\n")

    def slow(self) -> bytes:
        return self.framed(b"slow\n")


@dataclass
class Station:
    """A broker that does nothing but stream."""

    faults: Faults = field(default_factory=lambda: Faults(FAULTS))
    good: bool = True
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.streams = Streams(self.faults, slow=lambda: 0.1)
        self.listener = Listener(self._handle)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        line = Line(request, self.streams, "text/plain")
        line.good = lambda: self.good
        self.lines.append(line)
        return await line.serve(line.framed(b"hello\n"))


@pytest.fixture
async def station() -> AsyncIterator[Station]:
    station = Station()
    station.streams.turn({"rate": 0})
    await station.listener.start(0)
    yield station
    await station.listener.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=5)) as session:
        yield session


async def _heard(answer: aiohttp.ClientResponse, lines: int) -> list[bytes]:
    return [(await answer.content.readline()).strip() for _ in range(lines)]


async def test_everybody_hears_the_same_beat_encoded_once(station: Station, session: aiohttp.ClientSession) -> None:
    """From its first beat on each hears every one, and the next, however many there are."""
    before = Line.encodings
    async with session.get(station.listener.url) as one, session.get(station.listener.url) as other:
        station.streams.turn({"rate": 100})
        first, second = await _heard(one, 11), await _heard(other, 11)
    assert b"hello" == first[0]
    assert first == second
    assert [int(first[1]) + number for number in range(10)] == [int(line) for line in first[1:]]
    assert Line.encodings - before <= 11


async def test_a_stream_that_has_gone_is_forgotten(station: Station, session: aiohttp.ClientSession) -> None:
    """Nothing runs any more when nobody listens, and the beat counts on all the same."""
    station.streams.turn({"rate": 1000})
    async with session.get(station.listener.url) as answer:
        await _heard(answer, 2)
    async with asyncio.timeout(5):
        while station.streams.state()["open"]:  # noqa: ASYNC110  another program, as it were
            await asyncio.sleep(0.01)
    before = station.streams.beat
    await asyncio.sleep(0.02)
    assert station.streams.beat > before


async def test_signs_of_life(station: Station, session: aiohttp.ClientSession) -> None:
    """At the interval that is set."""
    station.streams.turn({"heartbeat": 0.02})
    async with session.get(station.listener.url) as answer:
        assert [b"hello", b"alive", b"alive"] == await _heard(answer, 3)


@pytest.mark.parametrize(("stale", "ends"), [("keep", None), ("close", "clean"), ("drop", "broken")])
async def test_a_token_that_is_not_good_any_more(
    station: Station, session: aiohttp.ClientSession, stale: str, ends: str | None
) -> None:
    """As the knob has it: nothing, the end, or a broken connection."""
    station.streams.turn({"stale": stale, "rate": 100})
    async with session.get(station.listener.url) as answer:
        await _heard(answer, 2)
        station.good = False
        if ends is None:
            await _heard(answer, 10)
        elif ends == "clean":
            await answer.content.read()
        else:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.read()


async def test_faults_hit_one_stream_each_the_oldest_first(station: Station, session: aiohttp.ClientSession) -> None:
    """Two are armed for three streams; what is armed when nobody listens waits for somebody."""
    station.faults.add("stream-close", 2)
    url = station.listener.url
    async with session.get(url) as one, session.get(url) as two, session.get(url) as three:
        assert (b"hello\n", b"hello\n") == (await one.content.read(), await two.content.read())
        station.streams.turn({"rate": 100})
        assert 3 == len(await _heard(three, 3))
    assert {} == station.faults.armed()


@pytest.mark.parametrize("fault", sorted(STATUS))
def test_a_handshake_is_refused_by_a_status(station: Station, fault: str) -> None:
    """Once for each time that it is armed."""
    station.faults.add(fault)
    assert (STATUS[fault], None) == (station.streams.refusal(), station.streams.refusal())


def test_a_good_credential_is_refused_on_request() -> None:
    """Once for each time that it is armed."""
    faults = Faults(FAULTS)
    streams = Streams(faults, slow=lambda: 0.1)
    faults.add("stream-auth-refused")
    assert (True, False) == (streams.auth_refused(), streams.auth_refused())


async def test_who_is_too_slow_is_told_and_cut_off(station: Station, session: aiohttp.ClientSession) -> None:
    """Unless a stream has a way of its own."""
    station.streams.turn({"backlog": -1, "rate": 100})
    async with session.get(station.listener.url) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()


async def test_what_has_happened_is_told_to_those_who_are_concerned(
    station: Station, session: aiohttp.ClientSession
) -> None:
    """At once, and between the beats."""
    async with session.get(station.listener.url) as one, session.get(station.listener.url) as two:
        await _heard(one, 1)
        await _heard(two, 1)
        station.streams.tell(lambda stream: station.lines[0].framed(b"news\n") if stream is station.lines[0] else None)
        station.streams.tell(lambda _: station.lines[0].framed(b"more\n"))
        assert ([b"news", b"more"], [b"more"]) == (await _heard(one, 2), await _heard(two, 1))
