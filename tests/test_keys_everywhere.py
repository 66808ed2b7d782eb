"""Client keys on several servers with one PostgreSQL: what one does counts on the others within a second."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.app import App
from proxy.clientkeys import ClientKeys
from proxy.clock import SystemClock
from proxy.custody import Custody
from proxy.gate.clients import digest
from proxy.settings import Settings, read
from proxy.simulator.questrade.broker import Questrade
from proxy.store import COPYING, Movable, Row
from proxy.store.keys import Source
from proxy.store.postgres import PostgresStore
from proxy.store.sealing import Sealer
from proxy.store.sqlite import SQLiteStore
from proxy.store.vault import Vault
from tests.callers import eventually
from tests.house import CONFIG, House, simulated

CALL = "/questrade/v1/accounts"
KEY_ID = "0123456789abcdef"
LIVE = 1.0  # seconds
EARLY = 0.005  # seconds by which a timer of uvloop may come too early, and more


@dataclass
class Pair:
    """Two servers that share a store and a master key. Nobody is logged in: 503 says that a key was let in."""

    here: House
    there: House

    async def statuses(self, key: str) -> tuple[int, int]:
        return (await self.here.call("GET", CALL, key=key)).status, (await self.there.call("GET", CALL, key=key)).status

    async def until(self, key: str, status: int) -> float:
        """Seconds until the other server answers the key so."""
        began = time.monotonic()
        async for _ in eventually(5, 0.02):
            if (await self.there.call("GET", CALL, key=key)).status == status:
                return time.monotonic() - began
        raise AssertionError(await self.statuses(key))


@asynccontextmanager
async def server(directory: Path, simulator: Questrade, store: str, key: bytes | None) -> AsyncIterator[House]:
    """One of them. Without the master key of another it makes one."""

    def prepare() -> Settings:
        directory.mkdir(0o700)
        text = CONFIG.format(environment=json.dumps(simulator.links().environment))
        file.write_text(text.replace("sqlite:store.db", f"{store}\nstate: state"), "utf-8")
        if key is not None:
            (directory / "master.key").touch(0o600)
            (directory / "master.key").write_bytes(key)
        return read(file, {"HOME": str(directory)})

    file = directory / "config.yaml"
    settings = await asyncio.to_thread(prepare)
    source = Source(settings.config.key, base=settings.config.base, state=settings.config.state_dir)
    if key is None:
        await asyncio.to_thread(source.create)
    custody = await Custody.open(settings.config, source)
    app = App(settings, custody, lambda: settings)
    try:
        await app.start()
        yield House(app, simulator, file, (await app.operations.clients_add("bot"))["key"])
    finally:
        await app.stop()
        await custody.close()


@pytest.fixture(name="pair")
async def _pair(tmp_path: Path, database: str) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(simulated(tmp_path))
        here = await stack.enter_async_context(server(tmp_path / "here", simulator, database, None))
        key = await asyncio.to_thread((tmp_path / "here" / "master.key").read_bytes)
        there = await stack.enter_async_context(server(tmp_path / "there", simulator, database, key))
        yield Pair(here, there)


async def test_what_one_server_does_with_keys_counts_on_the_other(pair: Pair, figure: Callable[[object], None]) -> None:
    """A new key, its end, its rotation with overlap, its removal: within a second, and ends at their moment."""
    operations, clock = pair.here.app.operations, SystemClock()
    made = await operations.clients_add("bot", lasts=3.0)
    added = await pair.until(made["key"], 503)
    assert (503, 503) == await pair.statuses(made["key"])
    await asyncio.sleep(made["expires"] - clock.now().wall + EARLY)
    assert (401, 401) == await pair.statuses(made["key"])

    old = (await operations.clients_add("bot"))["key"]
    number = max(key.number for key in pair.here.app.keys.all())
    new = await operations.commands()["clients-rotate"]({"name": "bot", "number": number, "overlap": 2.0})
    rotated = await pair.until(new["key"], 503)
    assert ((503, 503), (503, 503)) == (await pair.statuses(old), await pair.statuses(new["key"]))
    await asyncio.sleep(new["replaced"]["expires"] - clock.now().wall + EARLY)
    assert ((401, 401), (503, 503)) == (await pair.statuses(old), await pair.statuses(new["key"]))

    assert 1 == (await operations.clients_remove("bot", number=new["number"]))["removed"]
    removed = await pair.until(new["key"], 401)
    figure(f"new key {added:.2f} s, rotation {rotated:.2f} s, removal {removed:.2f} s until the other server knows")
    assert max(added, rotated, removed) < LIVE


async def test_the_latest_use_on_any_server_is_told_by_all(pair: Pair) -> None:
    """And none of them writes anything on a call's way."""
    key = pair.there.key
    assert 503 == await _status(pair.there, key)
    commits = await pair.here.app.custody.store.changes()
    for _ in range(3):
        await _status(pair.there, key)
    assert commits == await pair.here.app.custody.store.changes()
    used = pair.there.app.keys.last_use.of(digest(key))
    assert used is not None
    await pair.there.app.keys.last_use.write_down()
    async for _ in eventually(5):
        if pair.here.app.keys.last_use.of(digest(key)) == int(used):
            break
    assert int(used) == pair.here.app.keys.last_use.of(digest(key))
    assert int(used) <= (pair.here.app.operations.status()["clients"][0]["last_use"] or 0)


async def _status(home: House, key: str) -> int:
    return (await home.call("GET", CALL, key=key)).status


@pytest.fixture(name="place", params=["sqlite", "postgres"])
def _place(request: pytest.FixtureRequest, state_dir: Path) -> str:
    return str(state_dir / "store.db") if request.param == "sqlite" else str(request.getfixturevalue("database"))


@pytest.fixture(name="store")
async def _store(place: str) -> AsyncIterator[Movable]:
    store: Movable
    if place.startswith("postgresql:"):
        store = await PostgresStore.open(place)
    else:
        store = await SQLiteStore.open(Path(place))
    yield store
    await store.close()


async def filled(store: Movable, count: int) -> ClientKeys:
    """The keys of a client with so many users, as they were read."""
    await store.fill(store_id="a" * 32, key_id=KEY_ID, commits=1, state=COPYING)
    sealer = Sealer(b"k" * 32, store.store_id)

    def rows() -> list[Row]:
        found = []
        for number in range(count):
            name, value = f"bound/web/{number}", {"client": "web", "created": 1.8e9, "digest": digest(str(number))}
            text = json.dumps(value | {"grants": [f"alpaca/user-{number}"], "expires": 4e9})
            found.append(Row(name, 1, sealer.seal(name, 1, text.encode())))
        return found

    await store.load(await asyncio.to_thread(rows))
    await store.turn(COPYING, "")
    keys = ClientKeys(Vault(store, sealer), SystemClock())
    await keys.load()
    assert {"web": (count, count)} == keys.counts()
    return keys


async def remove_all(store: Movable, count: int) -> tuple[float, float]:
    """Seconds to remove a client with so many keys, and the longest that the loop stood still meanwhile."""
    keys = await filled(store, count)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - began)

    watching = asyncio.get_running_loop().create_task(watch())
    began = time.monotonic()
    assert count == await keys.remove("web")
    took = time.monotonic() - began
    watching.cancel()
    assert ({}, []) == (keys.digests, await store.read_all("bound/"))
    return took, longest


async def test_a_client_with_many_keys_is_removed_quickly(store: Movable, figure: Callable[[object], None]) -> None:
    """A page of keys is a transaction, and calls go on in between."""
    took, longest = await remove_all(store, 3000)
    figure(f"{took:.2f} s for 3,000 keys, the loop stood still for {longest * 1000:.0f} ms at most")
    assert took < 5


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_a_client_with_a_hundred_thousand_keys_is_removed_in_seconds(
    store: Movable, figure: Callable[[object], None]
) -> None:
    """The same with as many as an application may have users; and what of them is looked at stays cheap."""
    took, longest = await remove_all(store, 100_000)
    figure(f"{took:.1f} s for 100,000 keys, the loop stood still for {longest * 1000:.0f} ms at most")
    assert took < 30
