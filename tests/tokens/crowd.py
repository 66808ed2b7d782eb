"""Many persons at one broker, and servers that keep their grants, in time that jumps."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from proxy.brokers import Origin
from proxy.outbound import Lost, NotSent
from proxy.secret import Secret
from proxy.store.disk import MemoryDisk
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.answer import Terms
from proxy.tokens.book import Book
from proxy.tokens.grant import Grant
from proxy.tokens.journal import Found, Journal
from proxy.tokens.keeper import Keeper
from proxy.tokens.lanes import Lane
from proxy.tokens.members import Members
from proxy.tokens.oauth import RawAnswer, Refresh, Wish
from proxy.tokens.quarantine import Quarantine
from proxy.tokens.roster import Read, Reader, Roster
from tests.tokens.support import (
    BAD_REQUEST,
    JOURNAL,
    LIFE,
    LIVE,
    PASTED,
    QUESTRADE,
    LoopClock,
    TimelessJournal,
)

LIMIT = 4


def logged_in(name: str, tokens: tuple[str, str], when: float, *, generation: int = 1) -> Grant:
    """What a login at that time (Unix seconds) leaves in the store. `tokens`: refresh and access token."""
    refresh_token, access_token = map(Secret, tokens)
    return Grant(
        name,
        generation,
        "login",
        "questrade/live",
        refresh_token,
        access_token,
        Origin("api01.iq.questrade.com", 443),
        refreshed=when,
        expires=when + LIFE,
        life=LIFE,
        login="refresh-token",
        logged_in=when,
    )


@dataclass
class ManyPersons:
    """A token endpoint for many: each person's token works once. `out` are requests that it is busy with."""

    delay: float = 1.0
    down: bool = False
    silent: bool = False
    banned: frozenset[str] = frozenset()
    posts: list[tuple[float, str]] = field(default_factory=list)
    current: dict[str, str] = field(default_factory=dict)
    out: int = 0
    most: int = 0

    async def ask(self, wish: Wish, arrived: Callable[[RawAnswer], None]) -> RawAnswer:
        assert isinstance(wish, Refresh)
        token = wish.token.reveal()
        person, _, number = token.rpartition("-")
        self.posts.append((asyncio.get_running_loop().time(), person))
        self.out += 1
        self.most = max(self.most, self.out)
        await asyncio.sleep(self.delay)
        self.out -= 1
        if self.silent:
            raise Lost("no answer came in time")
        if self.down:
            raise NotSent("the connection was refused or could not be made")
        raw = self._answer(person, token, int(number))
        arrived(raw)
        return raw

    def _answer(self, person: str, token: str, number: int) -> RawAnswer:
        if person in self.banned or self.current.setdefault(person, token) != token:
            return BAD_REQUEST
        self.current[person] = f"{person}-{number + 1}"
        fields = {
            "access_token": f"access-{person}-{number + 1}",
            "api_server": "https://api01.iq.questrade.com/",
            "expires_in": LIFE,
            "refresh_token": self.current[person],
            "token_type": "Bearer",
        }
        return RawAnswer(200, "application/json", json.dumps(fields).encode())

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.posts]


class Server:
    """A server's members on a store, which it may share with others."""

    def __init__(self, store: MemoryStore, endpoint: ManyPersons, name: str = "a server") -> None:
        self.store, self.endpoint = store, endpoint
        self.vault = Vault(store, Sealer(bytes(range(32)), store.store_id))
        self.clock = LoopClock()
        self.quarantine = Quarantine()
        self.roster = Roster(name)
        self.made: list[str] = []
        self.lane = Lane(LIMIT)
        self.journal: Journal
        self.found: Callable[[], list[Found]] = lambda: self.journal.found()  # noqa: PLW0108  it is opened later
        self.seen = 0
        self.members = Members(self.roster, self.clock, make=self.make, found=self.found, limit=lambda _: LIMIT)

    def make(self, name: str) -> Keeper:
        if not name.startswith("questrade/"):
            raise LookupError(name)
        self.made.append(name)
        return Keeper(
            name,
            broker=QUESTRADE,
            environment=replace(LIVE, max_rotations_per_day=0),
            login=PASTED,
            vault=self.vault,
            journal=self.journal,
            endpoint=self.endpoint,
            clock=self.clock,
            jitter=partial(self.roster.spread, name),
            observe=lambda _name, outcome: self.members.renewed("questrade") if outcome == "renewed" else None,
            quarantine=self.quarantine,
            lane=self.lane,
        )

    async def put(self, count: int, age: float) -> None:
        """So many members log in, `age` seconds ago."""
        wall = self.clock.now().wall
        for number in range(count):
            tokens = (f"user{number}-0", f"access-user{number}-0")
            grant = logged_in(f"questrade/user{number}", tokens, wall - age)
            assert await Book(grant.name, self.vault, "").write(grant)

    async def read(self, *, starting: bool = True) -> None:
        """Learn what the store has, or what has changed there since."""
        self.members.learn([await self._told(name) for name in await self._names()], starting=starting)

    async def _names(self) -> list[str]:
        changes = await self.store.changed(self.seen)
        self.seen = changes.number
        return [row.name for row in changes.rows if row.name.startswith("grant/")]

    async def _told(self, record: str) -> Read:
        entry = await self.vault.get(record)
        assert entry is not None
        reader = Reader(Terms.of(QUESTRADE, LIVE, PASTED), "questrade/live", "refresh-token", self.quarantine)
        return reader.read(record.removeprefix("grant/"), entry.generation, entry.value, None, self.clock.now())

    async def follow(self) -> None:
        """What the watcher does, twice a second."""
        while True:
            await asyncio.sleep(0.5)
            await self.read(starting=False)

    def member(self, number: int) -> str:
        return f"questrade/user{number}"

    async def call(self, number: int) -> str:
        """A call of that person: the access token it was served with."""
        keeper = await self.members.of(self.member(number))
        pair = await keeper.take()
        keeper.give_back()
        return pair.access_token.reveal()

    @property
    def resident(self) -> int:
        return len(list(self.members.residents()))


@asynccontextmanager
async def serving(*servers: Server, follow: bool = False) -> AsyncIterator[None]:
    """They run within the block. `follow`: and look at the store, twice a second."""
    for server in servers:
        server.journal = await TimelessJournal.open(
            JOURNAL, Sealer(bytes(range(32)), server.store.store_id), files=MemoryDisk()
        )
        await server.read()
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(server.members.run()) for server in servers]
    tasks += [loop.create_task(server.follow()) for server in servers if follow]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for server in servers:
            await server.members.close()
            await server.journal.close()
        assert [] == [task for task in tasks if not task.cancelled()]
