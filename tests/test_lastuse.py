"""When keys were last used: off the way of calls, over restarts, from several servers."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.gate.clients import Keyring, digest
from proxy.lastuse import PATIENCE, PREFIX, LastUse
from proxy.store import StoreError
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault


def key(number: int) -> str:
    return digest(f"key {number}")


KNOWN = {key(number): f"client-{number % 3}" for number in range(1000)}


class Server:
    """One of several on a store."""

    def __init__(self, store: MemoryStore, known: dict[str, str] | None = None) -> None:
        self.store = store
        self.known = dict(KNOWN) if known is None else known
        self.last_use = LastUse(Vault(store, Sealer(b"k" * 32, store.store_id)), self.known)
        self.seen = 0

    def used(self, number: int, moment: float) -> None:
        self.last_use.uses.keys[key(number)] = moment
        self.last_use.uses.clients[self.known.get(key(number), "?")] = moment

    def of(self, *numbers: int) -> list[float | None]:
        return [self.last_use.of(key(number)) for number in numbers]

    async def follow(self) -> None:
        changes = await self.store.changed(self.seen)
        await self.last_use.follow(changes.rows)
        self.seen = changes.number


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def test_the_gate_notes_a_use_and_a_restart_knows_it(store: MemoryStore) -> None:
    """A key that was refused was not used."""
    server = Server(store)
    ring = Keyring(server.known, {}, uses=server.last_use.uses)
    assert ([None], None) == (server.of(1), server.last_use.of_client("client-1"))
    server.used(1, 1.8e9 + 0.7)
    assert ([1.8e9 + 0.7], 1.8e9 + 0.7) == (server.of(1), server.last_use.of_client("client-1"))
    await server.last_use.write_down()

    again = Server(store)
    await again.last_use.load()

    assert ([1.8e9, None], 1.8e9) == (again.of(1, 2), again.last_use.of_client("client-1"))
    assert ring.open_to_all is False


async def test_of_several_servers_the_latest_use_counts(store: MemoryStore) -> None:
    """Whoever writes last takes nothing back that another has written."""
    one, two = Server(store), Server(store)
    one.used(1, 1.8e9 + 50)
    two.used(1, 1.8e9 + 20)
    two.used(2, 1.8e9 + 30)
    await one.last_use.write_down()
    await two.last_use.write_down()
    for server in (one, two):
        await server.follow()
        assert [1.8e9 + 50, 1.8e9 + 30, None] == server.of(1, 2, 3)
        assert 1.8e9 + 30 == server.last_use.of_client("client-2")


async def test_servers_that_write_at_the_same_moment_lose_nothing(store: MemoryStore) -> None:
    """Every record is written by compare-and-swap, and tried again."""
    servers = [Server(store.peer()) for _ in range(4)]
    for place, server in enumerate(servers):
        for number in range(200):
            server.used(number, 1.8e9 + (number + place) % 7)
    await asyncio.gather(*(server.last_use.write_down() for server in servers))

    found = Server(store)
    await found.last_use.load()
    expected = [1.8e9 + max((number + place) % 7 for place in range(4)) for number in range(200)]
    assert expected == found.of(*range(200))


async def test_nothing_used_is_nothing_written(store: MemoryStore) -> None:
    """With a hundred thousand keys that nobody uses the store is left alone; with one, two records are written."""
    server = Server(store)
    await server.last_use.write_down()
    assert 0 == await store.changes()
    server.used(5, 1.8e9)
    await server.last_use.write_down()
    await server.last_use.write_down()
    assert 2 == await store.changes()
    for number in range(1000):
        server.used(number, 1.8e9 + 60)
    await server.last_use.write_down()
    assert await store.changes() <= 2 + 257
    assert len(await store.read_all(PREFIX)) <= 257


async def test_keys_that_are_gone_are_forgotten(store: MemoryStore) -> None:
    """What nobody can use again is not written, and drops out of its record with the next writing."""
    server = Server(store, {key(1): "bot", key(2): "bot"})
    same = next(number for number in range(3, 4000) if key(number)[:2] == key(1)[:2])
    server.known[key(same)] = "web"
    server.used(same, 1.8e9)
    await server.last_use.write_down()
    del server.known[key(same)]
    server.used(same, 1.8e9 + 5)
    server.used(1, 1.8e9 + 9)
    await server.last_use.write_down()

    found = Server(store, server.known)
    await found.last_use.load()
    assert [1.8e9 + 9, None] == found.of(1, same)
    assert None is found.last_use.of_client("web")


async def test_a_store_that_fails_gets_it_later(store: MemoryStore) -> None:
    """What was noted is kept, and newer notes win."""
    server = Server(store)
    server.used(1, 1.8e9)
    server.used(2, 1.8e9)
    store.failure = StoreError("gone")
    await server.last_use.write_down()
    server.used(1, 1.8e9 + 60)
    assert [1.8e9 + 60, 1.8e9] == server.of(1, 2)
    store.failure = None
    await server.last_use.write_down()

    again = Server(store)
    await again.last_use.load()
    assert [1.8e9 + 60, 1.8e9] == again.of(1, 2)


class Silent(MemoryStore):
    """Never answers a write."""

    async def swap(self, name: str, *, expected: int, sealed: bytes | None) -> int | None:
        await asyncio.Event().wait()
        return await super().swap(name, expected=expected, sealed=sealed)


async def test_an_end_does_not_wait_for_a_store_that_is_silent() -> None:
    """What would be lost is the time of a last use."""
    server = Server(Silent())
    server.used(1, 1.8e9)
    async with asyncio.timeout(PATIENCE + 5):
        await server.last_use.finish()


async def test_a_damaged_record_is_passed_over_and_written_anew(store: MemoryStore) -> None:
    """Nothing but a time is lost."""
    server = Server(store)
    server.used(1, 1.8e9)
    await server.last_use.write_down()
    record = PREFIX + key(1)[:2]
    await store.swap(record, expected=1, sealed=b"junk")

    again = Server(store)
    await again.last_use.load()
    assert [None] == again.of(1)
    again.used(1, 1.8e9 + 7)
    await again.last_use.write_down()
    found = Server(store)
    await found.last_use.load()
    assert [1.8e9 + 7] == found.of(1)


@pytest.fixture(name="running")
async def _running(store: MemoryStore) -> AsyncIterator[Server]:
    server = Server(store)
    task = asyncio.get_running_loop().create_task(server.last_use.run(0.01))
    yield server
    task.cancel()


async def test_it_is_written_by_itself(running: Server, store: MemoryStore) -> None:
    """Again and again."""
    for moment in (1.8e9, 1.8e9 + 1):
        running.used(1, moment)
        before = await store.changes()
        async with asyncio.timeout(5):
            while await store.changes() < before + 2:  # noqa: ASYNC110  the store tells nobody
                await asyncio.sleep(0.005)
