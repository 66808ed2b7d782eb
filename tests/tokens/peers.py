"""Several processes that share one store and one broker, each with a journal of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from proxy.brokers import Broker
from proxy.brokers.definition import Login
from proxy.store import Row, StoreError
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.book import Book
from proxy.tokens.oauth import RawAnswer, Wish
from tests.tokens.support import QUESTRADE, Home, ScriptedBroker


@dataclass
class Counting(ScriptedBroker):
    """Notes how many token requests were out at one time."""

    out: int = 0
    most: int = 0

    async def ask(self, wish: Wish, arrived: Callable[[RawAnswer], None]) -> RawAnswer:
        self.out += 1
        self.most = max(self.most, self.out)
        try:
            return await super().ask(wish, arrived)
        finally:
            self.out -= 1


class Counted(MemoryStore):
    """A handle that counts what is read through it."""

    reads = 0

    @classmethod
    def of(cls, store: MemoryStore) -> "Counted":
        handle = cls(shared=store.shared, now=store._now)
        handle.store_id, handle.place, handle.key_id = store.store_id, store.place, store.key_id
        handle._contents = store._contents
        return handle

    async def read(self, name: str) -> Row | None:
        self.reads += 1
        return await super().read(name)


class Process(Home):
    """A home on a store that others use, too."""

    def __init__(self, store: MemoryStore, endpoint: Counting, broker: Broker = QUESTRADE, login: Login | None = None):
        super().__init__(broker, login=login)
        self.endpoint: Counting = endpoint
        self.contents = store
        self.sealer = Sealer(bytes(range(32)), store.store_id)
        self.connect()

    def connect(self) -> None:
        """A handle of its own."""
        self.store: Counted = Counted.of(self.contents)
        self.vault = Vault(self.store, self.sealer)
        self.book = Book(self.name, self.vault)

    async def kill(self) -> None:
        """`kill -9`: nothing more of it reaches the store or the disk."""
        disk = self.disk.after_kill()
        self.store.failure = StoreError("killed")
        await self.close(kill=True)
        self.disk = disk

    async def revive(self) -> None:
        """The same state directory, started again."""
        self.connect()
        await self.open()


@asynccontextmanager
async def processes(
    count: int = 2, broker: Broker = QUESTRADE, login: Login | None = None, *, log_in: bool = True
) -> AsyncIterator[list[Process]]:
    """So many processes, with a grant that the first has logged in and the others have seen."""
    store = MemoryStore(shared=True, now=asyncio.get_running_loop().time)
    endpoint = Counting()
    homes = [Process(store, endpoint, broker, login) for _ in range(count)]
    for home in homes:
        await home.open()
    if log_in:
        await homes[0].log_in()
        for home in homes[1:]:
            await home.keeper.look_again()
    yield homes
    for home in homes:
        home.store.failure = None
        await home.close(kill=True)
