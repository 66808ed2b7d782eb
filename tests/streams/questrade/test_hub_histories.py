"""A hub of Questrade's against a naive model: clients come and go while its socket moves, breaks and is renewed.

Each history is random, by its number. A symbol's quotes, or the notifications, are numbered one after the other, so
that each client can tell by itself what is foreign, twice, late or lost without a word.
"""

import asyncio
import json
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.outbound import Lost
from proxy.relay.websocket import Message
from proxy.streams import codes
from proxy.streams.client import BUFFER
from proxy.streams.questrade.hub import Hub, Member, Timing
from proxy.streams.questrade.line import Failed, Line

SHORT, LONG = 220, 5_000
SYMBOLS = range(1, 6)
ORDERS = 0  # the "symbol" of notifications
GREETING = '{"success":true}'
SWITCHES = ("greets-first", "ends-first", "feeds-both")  # what the broker does with the socket before
AT_ONCE = Timing(tick=0.0, linger=0.0, last_words=0.01)


@dataclass(eq=False)
class Wire:
    """A socket at the broker, in memory. `fed`: the broker sends to it."""

    ids: frozenset[int]
    pair: SimpleNamespace
    coming: deque[Message] = field(default_factory=deque)
    fed: bool = True
    broken: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Message:
        while not self.coming:
            if self.broken:
                raise Lost("broken")
            self.news.clear()
            await self.news.wait()
        return self.coming.popleft()

    async def pong(self, data: bytes) -> None:
        assert data == b"?"

    def say(self, message: Message) -> None:
        if self.fed:
            self.coming.append(message)
            self.news.set()

    def finish(self) -> None:
        """The broker says goodbye."""
        self.say(Message("close", code=1000))
        self.fed = False

    def drop(self, _code: int = 1001) -> None:
        self.fed, self.broken = False, True
        self.news.set()


@dataclass(eq=False)
class Client:
    """What a client is told."""

    ids: frozenset[int]
    heard: list[dict[str, Any]] = field(default_factory=list)
    code: int | None = None

    def push(self, frame: bytes, most: int = BUFFER) -> bool:
        assert most
        if self.code is None:
            self.heard.append(json.loads(frame[{126: 4, 127: 10}.get(frame[1] & 0x7F, 2) :]))
        return True

    def end(self, code: int, _reason: str = "") -> None:
        self.code = self.code or code

    def judge(self, newest: Counter[int] | None, *, twice: bool) -> None:
        """`newest`: the numbers of all symbols at the end, if it was there then."""
        last: dict[int, int] = {}
        unsure = set[int]()
        assert self.heard == [] or self.heard[0] == json.loads(GREETING)
        for message in self.heard[1:]:
            if "quotes" not in message:
                assert message["success"]
                unsure = set(last)
                continue
            for quote in message["quotes"]:
                symbol, number = quote["symbolId"], quote["n"]
                assert symbol in self.ids, "somebody else's"
                before = last.get(symbol)
                if before is not None and not (twice and number <= before):
                    assert number > before, "twice, or late"
                    assert number == before + 1 or symbol in unsure, "lost without a word"
                last[symbol] = max(number, last.get(symbol, 0))
                unsure.discard(symbol)
        if newest is not None:
            assert {symbol: newest[symbol] for symbol in self.ids} == last


@dataclass
class World:
    """One history. It stands for the opener, and for the relay."""

    chance: random.Random
    group: asyncio.TaskGroup
    of_quotes: bool
    switch: str
    wires: list[Wire] = field(default_factory=list)
    inside: dict[Member, tuple[Client, Hub]] = field(default_factory=dict)
    clients: list[Client] = field(default_factory=list)
    numbers: Counter[int] = field(default_factory=Counter)
    newest: int = 1  # token generation
    opening: bool = False
    failing: bool = False
    failed: bool = False  # the last time; after two in a row a hub waits
    hub: Hub | None = None
    pulse: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(last=float("inf")))

    async def open(self, source: object, ids: frozenset[int]) -> Line:
        self.opening = True
        try:
            for _ in range(3):  # a goodbye before the greeting can't be told from one after it, if they come together
                await asyncio.sleep(0)
            return await self._open(source, ids)
        finally:
            self.opening = False

    async def _open(self, _source: object, ids: frozenset[int]) -> Line:
        generation, before = self.newest, list(self.wires)
        await self.breathe()
        if self.failing and not self.failed:
            self.failing, self.failed = False, True
            raise Failed(codes.UNREACHABLE, "said so")
        self.failed = False
        if self.switch == "ends-first":
            for old in before:
                old.finish()
            for _ in range(3):
                await asyncio.sleep(0)
        wire = Wire(ids, SimpleNamespace(generation=generation))
        self.wires.append(wire)
        if self.switch == "greets-first":
            for old in before:
                old.finish()
        return Line(wire, ids, GREETING)  # type: ignore[arg-type]

    async def generation(self, _grant: str) -> int:
        return self.newest

    def join(self) -> None:
        kinds = self.chance.sample(SYMBOLS, self.chance.randint(1, 3)) if self.of_quotes else []
        client = Client(frozenset(kinds or [ORDERS]))
        member = Member(client, frozenset(kinds))  # type: ignore[arg-type]
        if new := self.hub is None or self.hub.over:
            row = SimpleNamespace(id="row", query={"ids"} if self.of_quotes else set())
            source = SimpleNamespace(relay=self, grant="g", row=row, of_quotes=self.of_quotes)
            self.hub = Hub(source, self, lambda same: same, AT_ONCE)  # type: ignore[arg-type]
        assert self.hub is not None
        self.hub.join(member)
        if new:
            self.group.create_task(self.hub.run())
        self.inside[member] = (client, self.hub)
        self.clients.append(client)

    def leave(self) -> None:
        if self.inside:
            member = self.chance.choice(list(self.inside))
            client, hub = self.inside.pop(member)
            client.end(1000)
            hub.leave(member)

    def speak(self) -> None:
        some = self.chance.sample(SYMBOLS, self.chance.randint(1, 3)) if self.of_quotes else [ORDERS]
        self.tell(some)

    def tell(self, symbols: list[int]) -> None:
        self.numbers.update(symbols)
        for wire in self.wires:
            own = [symbol for symbol in symbols if symbol in wire.ids or not self.of_quotes]
            quotes = [{"symbolId": symbol, "n": self.numbers[symbol]} for symbol in own]
            if quotes:
                wire.say(Message("text", json.dumps({"quotes": quotes})))

    def ping(self) -> None:
        for wire in self.wires:
            wire.say(Message("ping", b"?"))

    def rotate(self) -> None:
        self.newest += 1

    def fail(self) -> None:
        self.failing = True

    def close(self) -> None:
        for wire in self.wires[-1:]:
            if not self.opening:
                wire.finish()

    def refuse(self) -> None:
        for wire in self.wires[-1:]:
            wire.say(Message("text", '{"code":1017,"message":"Access token is invalid"}'))
            wire.fed = False

    def break_off(self) -> None:
        for wire in self.wires[-1:]:
            wire.coming.clear()
            wire.drop()

    async def breathe(self) -> None:
        for _ in range(self.chance.randint(0, 10)):
            await asyncio.sleep(0)

    def there(self) -> bool:
        """Everybody who stays is served by a socket that is as it should be."""
        members = [member for member, (client, _) in self.inside.items() if client.code is None]
        wires = [wire for wire in self.wires if wire.fed]
        good = len(wires) == 1 and wires[0].pair.generation == self.newest and not wires[0].coming
        return not members or (good and all(member.served and member.ids <= wires[0].ids for member in members))

    async def play(self, steps: int) -> None:
        acts: dict[Callable[[], None], int] = {
            self.join: 5, self.leave: 3, self.speak: 14, self.ping: 1, self.rotate: 1, self.fail: 1, self.close: 1,
            self.refuse: 1, self.break_off: 1,
        }  # fmt: skip
        for act in self.chance.choices(list(acts), list(acts.values()), k=steps):
            act()
            await self.breathe()
        self.failing = False
        async with asyncio.timeout(10):
            while not self.there():  # noqa: ASYNC110  there is no event for it
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.tell(list(SYMBOLS) if self.of_quotes else [ORDERS])
            while not self.there():  # noqa: ASYNC110
                await asyncio.sleep(0)


async def history(number: int) -> None:
    chance = random.Random(number)  # noqa: S311  nothing secret
    switch = chance.choices(SWITCHES, (6, 5, 1))[0]
    async with asyncio.TaskGroup() as group:
        world = World(chance, group, of_quotes=number % 2 == 0, switch=switch)
        await world.play(40)
        staying = {client for client, _ in world.inside.values() if client.code is None}
        while world.inside:
            world.leave()
    for client in world.clients:
        client.judge(world.numbers if client in staying else None, twice=switch == "feeds-both")


async def test_every_client_gets_its_own_whatever_happens() -> None:
    """In order, nothing of others', nothing twice where the broker sends it once, and no gap without a word."""
    for number in range(SHORT):
        await history(number)


@pytest.mark.soak
async def test_every_client_gets_its_own_in_many_more_histories() -> None:
    """The same, for minutes."""
    for number in range(SHORT, LONG):
        await history(number)
