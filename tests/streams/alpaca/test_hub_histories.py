"""A hub against a naive model: clients that come, go and change their minds, over sockets that break.

Each history is random, by its number. What a client must get follows from what it was told: everything that it is
subscribed to by its last confirmation, once and in order, and for what is missing a word.
"""

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgpack  # type: ignore[import-untyped]  # there are no stubs
import pytest

from proxy.outbound import Lost
from proxy.relay.frames import Message as Frame
from proxy.streams.alpaca.guest import Guest
from proxy.streams.alpaca.hub import Hub, Line
from proxy.streams.alpaca.messages import CHANNELS, EVERY, Change
from proxy.streams.alpaca.reopening import Pace
from proxy.streams.client import BUFFER, SocketEnded

SHORT, LONG = 250, 20_000
SYMBOLS = ("A", "B", "C", "BAD")  # the last one is refused
REFUSALS = ("said 410", "internal error")  # the latter after three sockets that broke meanwhile
KINDS = {"trades": ("t", "c"), "quotes": ("q",), "news": ("n",)}
AT_ONCE = Pace(shortest=0.0, longest=0.0, steady=0.0, linger=0.0, cool=0.0)

Message = dict[str, Any]
Sets = dict[str, frozenset[str]]


@dataclass(eq=False)
class Wire:
    """A socket at the broker, in memory. What is asked is answered when the history says so."""

    world: "World"
    coming: deque[bytes] = field(default_factory=deque)
    asked: deque[Message] = field(default_factory=deque)
    sets: dict[str, dict[str, None]] = field(default_factory=lambda: {channel: {} for channel in KINDS})
    broken: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Frame:
        while not self.coming:
            if self.broken:
                raise Lost("broken")
            self.news.clear()
            await self.news.wait()
        frame = self.coming.popleft()
        for message in msgpack.unpackb(frame):
            self.world.read = max(self.world.read, message.get("i", 0))
        return Frame("binary", frame)

    async def send(self, frame: bytes) -> None:
        if self.broken:
            raise Lost("broken")
        self.asked.append(msgpack.unpackb(frame))

    def drop(self) -> None:
        self.broken = True
        self.news.set()

    def say(self, *messages: Message) -> None:
        if not self.broken:
            self.coming.append(msgpack.packb(list(messages)))
            self.news.set()

    def answer(self) -> None:
        """Confirm or refuse the oldest request."""
        if not self.asked or self.broken:
            return
        request = self.asked.popleft()
        adds = request.pop("action") == "subscribe"
        if any("BAD" in symbols for symbols in request.values()):
            self.say({"T": "error", "code": 410, "msg": "said 410"})
            return
        for channel, symbols in request.items():
            for symbol in symbols:
                if adds:
                    self.sets[channel][symbol] = None
                else:
                    self.sets[channel].pop(symbol, None)
        self.say({"T": "subscription", **{channel: list(symbols) for channel, symbols in self.sets.items()}})


@dataclass(eq=False)
class Client:
    """What a client is told; with how far the broker had been read by then, and what was of sockets before."""

    world: "World"
    ended: SocketEnded | None = None
    frames: list[tuple[int, int, bytes]] = field(default_factory=list)
    asked: int = 0

    def push(self, frame: bytes, most: int = BUFFER) -> bool:
        assert most
        self.frames.append((self.world.read, self.world.before, frame))
        return self.ended is None

    def end(self, code: int, reason: str = "") -> None:
        self.ended = SocketEnded(code, reason)

    async def receive(self) -> Frame:
        raise SocketEnded

    async def pong(self, data: bytes) -> None:
        raise AssertionError(data)

    def heard(self) -> Iterator[tuple[int, int, Message]]:
        for read, before, frame in self.frames:
            size = frame[1] & 0x7F
            payload = frame[{126: 4, 127: 10}.get(size, 2) :]
            messages: list[Message] = msgpack.unpackb(payload) if frame[0] & 0xF == 2 else json.loads(payload)
            for message in messages:
                yield read, before, message


@dataclass
class World:
    """One history. It stands for the relay, too: `open_socket` is all that a hub asks of it."""

    chance: random.Random
    group: asyncio.TaskGroup
    sent: list[Message] = field(default_factory=list)
    read: int = 0
    before: int = 0
    wires: list[Wire] = field(default_factory=list)
    inside: dict[Guest, tuple[Client, Hub]] = field(default_factory=dict)
    clients: list[Client] = field(default_factory=list)
    hub: Hub | None = None
    runs: list[asyncio.Task[None]] = field(default_factory=list)

    async def open_socket(self, _handshake: object, _grant: str) -> Wire:
        wire = Wire(self)
        self.wires.append(wire)
        self.read = self.before = len(self.sent)  # what was not read is lost
        wire.say({"T": "success", "msg": "connected"})
        wire.say({"T": "success", "msg": "authenticated"})
        return wire

    def join(self) -> None:
        client = Client(self)
        guest = Guest(client, binary=self.chance.random() < 0.5)
        if self.hub is None or self.hub.ended is not None:
            self.hub = Hub(Line(self, None, "g"), AT_ONCE, jitter=lambda: 0.0)  # type: ignore[arg-type]
            self.hub.join(guest)
            self.runs.append(self.group.create_task(self.hub.run()))
        else:
            self.hub.join(guest)
        self.inside[guest] = (client, self.hub)
        self.clients.append(client)

    def leave(self) -> None:
        if self.inside:
            guest = self.chance.choice(list(self.inside))
            client, hub = self.inside.pop(guest)
            client.end(1000)
            hub.leave(guest)

    def change(self) -> None:
        if self.inside:
            guest = self.chance.choice(list(self.inside))
            client, hub = self.inside[guest]
            channel = self.chance.choice(list(KINDS))
            weights = (8, 8, 8, 1, 2)
            symbols = tuple(dict.fromkeys(self.chance.choices((*SYMBOLS, EVERY), weights, k=self.chance.randint(1, 3))))
            client.asked += 1
            guest.outstanding += 1
            hub.ask(guest, Change(self.chance.random() < 0.7, {channel: symbols}))

    def speak(self) -> None:
        """The broker sends what is subscribed to, some of it in one frame."""
        if not self.wires or self.wires[-1].broken:
            return
        wire = self.wires[-1]
        frame = []
        for _ in range(self.chance.randint(1, 4)):
            channel, kinds = self.chance.choice(list(KINDS.items()))
            symbols = self.chance.sample(SYMBOLS[:3], self.chance.randint(1, 2) if channel == "news" else 1)
            if any(symbol in wire.sets[channel] for symbol in (*symbols, EVERY)):
                about = {"symbols": symbols} if channel == "news" else {"S": symbols[0]}
                self.sent.append({"T": self.chance.choice(kinds), **about, "i": len(self.sent) + 1})
                frame.append(self.sent[-1])
        if frame:
            wire.say(*frame)

    def break_off(self) -> None:
        """With what was under way, or after it."""
        if self.wires:
            if self.chance.random() < 0.5:
                self.wires[-1].coming.clear()
            self.wires[-1].drop()

    def answer(self) -> None:
        if self.wires:
            self.wires[-1].answer()

    async def breathe(self) -> None:
        for _ in range(self.chance.randint(0, 12)):
            await asyncio.sleep(0)

    async def play(self, steps: int) -> None:
        acts: dict[Callable[[], None], int] = {
            self.join: 3, self.leave: 2, self.change: 8, self.speak: 14, self.answer: 8, self.break_off: 1,
        }  # fmt: skip
        for act in self.chance.choices(list(acts), list(acts.values()), k=steps):
            act()
            await self.breathe()
        await self.settle()

    async def settle(self) -> None:
        async with asyncio.timeout(5):
            while self.inside and not self.settled:
                self.answer()
                await asyncio.sleep(0)
        for _ in range(12):
            await asyncio.sleep(0)

    @property
    def settled(self) -> bool:
        waiting = any(guest.outstanding for guest in self.inside) or self.hub is None or not self.hub.ready
        return not (waiting or self.wires[-1].broken or self.wires[-1].coming)

    async def end(self) -> None:
        while self.inside:
            self.leave()
        async with asyncio.timeout(5):
            while self.hub is not None and self.hub.ended is None:  # noqa: ASYNC110  there is no event for it
                await asyncio.sleep(0.001)


def about(message: Message, sets: Sets) -> bool:
    """Whether somebody with these subscriptions gets this message."""
    symbols = {*message.get("symbols", (message.get("S"),)), EVERY}
    return any(symbols & sets.get(channel, frozenset()) for channel in CHANNELS[message["T"]])


def judge(client: Client, sent: list[Message], *, stays: bool) -> None:
    """Hold what a client was told against what it must be told.

    `since`: messages up to this one are not owed. `newest`: the last one that came. `missing`: not explained yet.
    """
    answers, newest, sets, since = 0, 0, Sets(), 0
    missing = list[int]()

    def owed(until: int | None) -> list[int]:
        return [each["i"] for each in sent[max(since, newest) : until] if about(each, sets)]

    for read, lost, message in client.heard():
        if message["T"] == "subscription":
            missing += owed(read)
            answers, since = answers + 1, read
            sets = {channel: frozenset(message.get(channel, ())) for channel in KINDS}
        elif message.get("msg") in REFUSALS:
            answers += 1
        elif message["T"] == "error":
            assert "may have been missed" in message["msg"], message
            missing = [each for each in missing if each > lost]
            since = max(since, lost)
        elif message["T"] != "success":
            assert message["i"] > max(newest, since), "twice, or out of order"
            assert about(message, sets), "somebody else's"
            assert sent[message["i"] - 1] == message
            missing += owed(message["i"] - 1)
            newest = message["i"]
    if stays:
        assert [] == missing + owed(None)
        assert client.asked == answers


async def history(number: int) -> None:
    async with asyncio.TaskGroup() as group:
        world = World(random.Random(number), group)  # noqa: S311  nothing secret
        await world.play(60)
        staying = {client for client, _ in world.inside.values()}
        await world.end()
    for client in world.clients:
        judge(client, world.sent, stays=client in staying)


async def test_a_hub_whose_socket_was_lost_ends_as_any_other() -> None:
    """By itself, and not as if the server were stopped: who comes in that moment would be told so."""
    async with asyncio.TaskGroup() as group:
        world = World(random.Random(0), group)  # noqa: S311
        for _ in range(3):
            world.join()
            await world.settle()
            world.break_off()
            await world.settle()
            assert not world.wires[-1].broken
            await world.end()
            assert [False] == [run.cancelled() for run in world.runs if run.done()][-1:]


@pytest.mark.parametrize("part", range(2))
async def test_every_client_gets_its_own_whatever_happens(part: int) -> None:
    """Once, in order, nothing of others', and no gap without a word."""
    for number in range(part, SHORT, 2):
        await history(number)


@pytest.mark.soak
async def test_every_client_gets_its_own_in_many_more_histories() -> None:
    """The same, for minutes."""
    for number in range(SHORT, LONG):
        await history(number)
