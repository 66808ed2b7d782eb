"""A client's socket at a simulated broker."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from proxy.simulator.faults import Faults
from proxy.simulator.listener import Answer, Listener
from proxy.simulator.streams import FAULTS, Shared, Streams
from proxy.simulator.websocket import Message, Over, Socket, framed, wanted


class Parrot(Socket):
    """Says its number at each beat, and repeats what it hears; `end` ends it."""

    async def greet(self) -> None:
        if await self.next(0.2) == "no":
            raise Over(4000)
        self.presented = "a secret"
        self.streams.join(self)

    async def hear(self, message: Message) -> None:
        if message == "end":
            raise Over(1000)
        await self.say(message if isinstance(message, bytes) else message.encode())

    def due(self, beats: range, shared: Shared) -> bytes:  # noqa: ARG002  one client is enough here
        self.sent += len(beats)
        return b"".join(self.framed(b"beat %d" % beat) for beat in beats)

    def expired(self) -> bytes:
        return self.framed(b"expired")


class Zoo:
    def __init__(self) -> None:
        self.faults = Faults(FAULTS)
        self.streams = Streams(self.faults, slow=lambda: 0.1)
        self.streams.turn({"rate": 0})
        self.sockets: list[Parrot] = []
        self.listener = Listener(self._handle)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not wanted(request):
            return Answer(400, b"").response()
        self.sockets.append(Parrot(request, self.streams))
        return await self.sockets[-1].serve()


@pytest.fixture
async def zoo() -> AsyncIterator[Zoo]:
    zoo = Zoo()
    await zoo.listener.start(0)
    yield zoo
    await zoo.listener.stop()


@pytest.fixture
async def client(zoo: Zoo) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """One who has been greeted."""
    async with aiohttp.ClientSession() as session, session.ws_connect(zoo.listener.url, autoping=False) as client:
        await client.send_str("hello")
        await client.send_str("there")
        assert "there" == (await client.receive(5)).data
        yield client


async def test_only_handshakes_are_sockets(zoo: Zoo) -> None:
    """A plain GET is none."""
    async with aiohttp.ClientSession() as session, session.get(zoo.listener.url) as answer:
        assert 400 == answer.status


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
async def test_a_message_of_any_length_is_one_frame(
    zoo: Zoo, client: aiohttp.ClientWebSocketResponse, size: int
) -> None:
    """All three ways to write a length."""
    assert size == len((await _said(zoo, client, framed(b"x" * size, text=False))).data)


async def _said(zoo: Zoo, client: aiohttp.ClientWebSocketResponse, wire: bytes) -> aiohttp.WSMessage:
    zoo.sockets[0].write(wire)
    return await client.receive(5)


async def test_beats_are_heard_from_the_greeting_to_the_end(zoo: Zoo, client: aiohttp.ClientWebSocketResponse) -> None:
    """In order, without a gap; how many were sent is counted, also when the socket is over."""
    zoo.streams.turn({"rate": 200})
    found = [(await client.receive(5)).data for _ in range(10)]
    first = int(found[0].removeprefix("beat "))
    assert [f"beat {first + number}" for number in range(10)] == found
    await client.close()
    async with asyncio.timeout(5):
        while zoo.streams.state()["open"]:  # noqa: ASYNC110  another program, as it were
            await asyncio.sleep(0.01)
    assert (1, True) == (zoo.streams.state()["opened"], int(str(zoo.streams.state()["sent"])) >= 10)


async def test_a_broker_closes_with_its_code(zoo: Zoo) -> None:
    """In the greeting, or later."""
    async with aiohttp.ClientSession() as session:
        for words, code in ((["no"], 4000), (["yes", "end"], 1000)):
            async with session.ws_connect(zoo.listener.url) as client:
                for word in words:
                    await client.send_str(word)
                assert (WSMsgType.CLOSE, code) == ((await client.receive(5)).type, client.close_code)


async def test_a_greeting_that_takes_too_long(zoo: Zoo) -> None:
    """The time-out is the socket's to handle: this one lets it pass, and the connection is gone."""
    async with aiohttp.ClientSession() as session, session.ws_connect(zoo.listener.url) as client:
        assert WSMsgType.CLOSED == (await client.receive(5)).type or client.closed


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("stream-close", WSMsgType.CLOSE), ("stream-drop", WSMsgType.CLOSED), ("stream-broken-frame", WSMsgType.ERROR)],
)
async def test_ends(zoo: Zoo, client: aiohttp.ClientWebSocketResponse, fault: str, kind: WSMsgType) -> None:
    """By a close with the code that is set, by a reset, and by what is no frame."""
    zoo.streams.turn({"code": 4321})
    zoo.faults.add(fault)
    found = await client.receive(5)
    assert kind == found.type
    assert fault != "stream-close" or 4321 == client.close_code


async def test_an_expired_token_is_said_before_the_close(zoo: Zoo, client: aiohttp.ClientWebSocketResponse) -> None:
    """In the broker's words."""
    zoo.faults.add("stream-token-expired")
    assert ("expired", 1001) == ((await client.receive(5)).data, (await client.receive(5)).data)


async def test_silence_still_answers_pings(zoo: Zoo, client: aiohttp.ClientWebSocketResponse) -> None:
    """And nothing else."""
    zoo.faults.add("stream-silence")
    await _hit(zoo)
    zoo.streams.turn({"rate": 100})
    await client.ping(b"there?")
    assert WSMsgType.PONG == (await client.receive(5)).type
    with pytest.raises(TimeoutError):
        await client.receive(0.1)


async def test_a_half_open_connection_answers_nothing(zoo: Zoo, client: aiohttp.ClientWebSocketResponse) -> None:
    """Not even a ping, and stays."""
    zoo.faults.add("stream-half-open")
    await _hit(zoo)
    await client.ping(b"there?")
    with pytest.raises(TimeoutError):
        await client.receive(0.2)
    assert 1 == zoo.streams.state()["open"]


async def test_a_slow_reader_reads_on_later(zoo: Zoo, client: aiohttp.ClientWebSocketResponse) -> None:
    """It sends all the while."""
    zoo.faults.add("stream-slow-reader")
    await _hit(zoo)
    began = asyncio.get_running_loop().time()
    await client.send_str("late")
    assert "late" == (await client.receive(5)).data
    assert asyncio.get_running_loop().time() - began > 0.05


async def test_a_burst_and_wrong_words(zoo: Zoo, client: aiohttp.ClientWebSocketResponse) -> None:
    """So many beats at once; a message that makes no sense; what was presented."""
    zoo.streams.turn({"burst": 20})
    zoo.faults.add("stream-burst")
    assert [f"beat {number}" for number in range(1, 21)] == [(await client.receive(5)).data for _ in range(20)]
    zoo.faults.add("stream-wrong-frame")
    assert '[{"T":"t","S":' == (await client.receive(5)).data
    zoo.faults.add("stream-echo")
    assert "a secret" == (await client.receive(5)).data


async def _hit(zoo: Zoo) -> None:
    async with asyncio.timeout(5):
        while zoo.faults.armed():  # noqa: ASYNC110  another program, as it were
            await asyncio.sleep(0.005)
