"""Moving a store: everything arrives as it was, and at no moment are both ends in use."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.store import (
    COPYING,
    MOVED,
    MOVING,
    PAGE,
    About,
    Damaged,
    Lease,
    Movable,
    OutOfUse,
    Row,
    StoreError,
    WrongKey,
    out_of_use,
)
from proxy.store.copying import Copied, NotStopped, cancel, copy
from proxy.store.memory import MemoryStore
from proxy.store.postgres import PostgresStore
from proxy.store.sealing import Sealer
from proxy.store.sqlite import SQLiteStore
from tests.store.failing import FailingStore, Fault

KEY = bytes(32)
TO = "postgresql://db/bearerd"


async def nothing() -> None:
    """The source needs no preparation."""


async def fill(store: Movable, rows: int = 3) -> Sealer:
    """So many rows; the first is at generation 2."""
    sealer = Sealer(KEY, store.store_id)
    await store.adopt_key(sealer.key_id)
    for number in range(rows):
        await write(store, sealer, f"grant/g{number:04}", 0)
    await write(store, sealer, "grant/g0000", 1)
    return sealer


async def write(store: Movable, sealer: Sealer, name: str, expected: int) -> None:
    """The next generation of a record."""
    value = b'{"token": "%s %d"}' % (name.encode(), expected + 1)
    assert await store.swap(name, expected=expected, sealed=sealer.seal(name, expected + 1, value)) == expected + 1


async def contents(store: Movable) -> dict[str, tuple[int, bytes]]:
    """Everything in clear, by name."""
    sealer = Sealer(KEY, store.store_id)
    rows = await store.read_all("")
    return {row.name: (row.generation, sealer.unseal(row.name, row.generation, row.sealed)) for row in rows}


async def moved(source: Movable, target: Movable, to: str = TO) -> Copied:
    """The copy from one to the other."""
    return await copy(source, target, Sealer(KEY, source.store_id), to=to, prepare=nothing)


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[Movable]:
    """A store in memory, or the one in `folder`, in any state."""
    if kind == "memory":
        yield MemoryStore()
        return
    store = await SQLiteStore.open(folder / "store.db", any_state=True)
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize("rows", [0, 1, PAGE + 1])
@pytest.mark.parametrize("to", ["memory", "sqlite"])
@pytest.mark.parametrize("start", ["memory", "sqlite"])
async def test_everything_arrives(tmp_path: Path, start: str, to: str, rows: int) -> None:
    """Values, generations, identity and commit number; the source is out of use from then on."""
    async with opened(start, tmp_path / "a") as source, opened(to, tmp_path / "b") as target:
        await fill(source, max(rows, 1))
        if not rows:
            assert await source.swap("grant/g0000", expected=2, sealed=None)
        commits = await source.changes()

        assert Copied(source.store_id, rows, commits) == await moved(source, target)
        about = await target.about()
        assert (source.store_id, source.key_id, commits, "") == (
            about.store_id,
            about.key_id,
            about.commits,
            about.state,
        )
        assert await contents(source) == await contents(target)
        assert MOVED + TO == (await source.about()).state


@pytest.mark.parametrize("out", [False, True], ids=["into it", "out of it"])
async def test_a_database_at_one_end(database: str, out: bool) -> None:
    """The same, page by page; what has moved refuses to be opened there, too."""
    shared, other = await PostgresStore.open(database, any_state=True), MemoryStore()
    source, target = (shared, other) if out else (other, shared)
    try:
        await fill(source, PAGE + 1)
        assert Copied(source.store_id, PAGE + 1, await source.changes()) == await moved(source, target)
        assert await contents(source) == await contents(target)
    finally:
        await shared.close()
    if out:
        with pytest.raises(OutOfUse, match=f"has moved to {TO}"):
            await PostgresStore.open(database)
    else:
        again = await PostgresStore.open(database)
        assert source.store_id == again.store_id
        await again.close()


async def test_what_has_moved_refuses_to_be_opened(tmp_path: Path) -> None:
    """With the setting that leads to where it is; and a half-filled one with the command that goes on."""
    async with opened("sqlite", tmp_path / "a") as source, opened("sqlite", tmp_path / "b") as target:
        sealer = await fill(source)
        await moved(source, target)
        assert await target.fill(store_id=source.store_id, key_id=sealer.key_id, commits=1, state=COPYING) is False
        for expected, state in (("", COPYING),):
            assert await target.turn(expected, state)

    with pytest.raises(OutOfUse, match=f"has moved to {TO}") as caught:
        await SQLiteStore.open(tmp_path / "a/store.db")
    assert caught.value.fix == f"set `store: {TO}` in the configuration"
    with pytest.raises(OutOfUse, match=r"a copy into .* is not finished"):
        await SQLiteStore.open(tmp_path / "b/store.db")


async def test_a_handle_from_before_can_no_longer_write() -> None:
    """A server that has the source open neither commits nor marks a token for spending once a copy began."""
    source = MemoryStore(shared=True)
    sealer = await fill(source)
    server = source.peer()
    await moved(source, MemoryStore())
    lease = await server.lease("grant/g0001", "server", 60)
    assert isinstance(lease, Lease)

    with pytest.raises(StoreError, match="put out of use meanwhile"):
        await write(server, sealer, "grant/g0001", 1)
    with pytest.raises(StoreError, match="put out of use meanwhile"):
        await server.mark(lease, expected=1, seconds=60)


async def test_a_token_that_is_being_spent_stops_the_copy() -> None:
    """Nothing is moved, and the source is in use again, so that the server can settle it."""
    source = MemoryStore(shared=True)
    await fill(source)
    lease = await source.lease("grant/g0001", "server", 60)
    assert isinstance(lease, Lease)
    assert await source.mark(lease, expected=1, seconds=60)
    target = MemoryStore()

    with pytest.raises(NotStopped, match="a server is redeeming 'grant/g0001'"):
        await moved(source, target)
    assert ["", COPYING] == [(await store.about()).state for store in (source, target)]
    await source.unmark(lease)
    assert 3 == (await moved(source, target)).rows


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
async def test_a_copy_that_fails_anywhere_goes_on(late: bool) -> None:
    """At each call of either store: never are both in use, and the same command again ends well."""
    for at in range(1, 100):
        source, target = FailingStore(), FailingStore()
        await fill(source, PAGE + 1)
        source.fault = target.fault = fault = Fault(at=at, late=late)
        with contextlib.suppress(StoreError):
            await moved(source, target)
        source.fault = target.fault = Fault()
        if fault.calls < at:
            assert at > 15  # of both stores there are that many calls
            return
        here, there = await source.about(), await target.about()
        assert here.state or not there.rows or there.state == COPYING
        assert here.state == MOVED + TO or there.state == COPYING or not there.rows
        if here.state == MOVED + TO:
            assert await contents(source) == await contents(target)
        assert PAGE + 1 == (await moved(source, target)).rows
        assert await contents(source) == await contents(target)
        assert [MOVED + TO, ""] == [(await store.about()).state for store in (source, target)]
    pytest.fail("it never came to an end")


async def test_what_changed_after_a_cancelled_copy_arrives(tmp_path: Path) -> None:
    """The old store is in use again, and a later copy takes what it holds then."""
    async with opened("sqlite", tmp_path / "a") as source, opened("sqlite", tmp_path / "b") as target:
        sealer = await fill(source)
        assert await source.turn("", MOVING + TO)
        assert await target.fill(store_id=source.store_id, key_id=sealer.key_id, commits=1, state=COPYING)
        await target.load(await source.read_all(""))
        assert await cancel(source)
        assert not await cancel(source)
        await write(source, sealer, "grant/g0001", 1)
        assert await source.swap("grant/g0002", expected=1, sealed=None)
        await moved(source, target)

        assert await contents(source) == await contents(target)
        with pytest.raises(OutOfUse, match="has moved to"):
            await cancel(source)


async def test_a_second_time_is_no_mistake() -> None:
    """It says the same again, and changes nothing, even if the target has been used since."""
    source, target = MemoryStore(), MemoryStore()
    sealer = await fill(source)
    await moved(source, target)
    await write(target, sealer, "grant/g0001", 1)

    assert await source.changes() + 1 == (await moved(source, target)).commits
    assert 2 == (await contents(target))["grant/g0001"][0]


@pytest.mark.parametrize("case", ["not empty", "moved itself", "of another store", "elsewhere", "began elsewhere"])
async def test_what_is_refused(case: str) -> None:
    """And then the source is as it was, and nothing of the target is lost."""
    source, target = MemoryStore(), MemoryStore()
    await fill(source)
    state, expected = "", "is not empty"
    match case:
        case "not empty":
            await fill(target)
        case "moved itself":
            await fill(target)
            await moved(target, MemoryStore(), "sqlite:/x")
            expected = "has moved to sqlite:/x"
        case "of another store":
            assert await target.fill(store_id="other", key_id="k", commits=1, state=COPYING)
            expected = "is being filled from another store"
        case "elsewhere":
            await moved(source, MemoryStore(), "sqlite:/x")
            state, expected = MOVED + "sqlite:/x", "has moved to sqlite:/x"
        case _:
            assert await source.turn("", MOVING + "sqlite:/x")
            state, expected = MOVING + "sqlite:/x", "is being moved to sqlite:/x"
    before = (await source.about(), await target.about(), await target.read_all(""))

    with pytest.raises(StoreError, match=expected) as caught:
        await moved(source, target)
    assert case != "moved itself" or getattr(caught.value, "fix", "") == "copy to a new place"
    assert before == (await source.about(), await target.about(), await target.read_all(""))
    assert before[0].state == state


async def test_a_target_that_is_not_what_it_became_is_refused() -> None:
    """The source has moved, and now another database is at that address."""
    source = MemoryStore()
    await fill(source)
    await moved(source, MemoryStore())

    with pytest.raises(StoreError, match="is not the store that it became"):
        await moved(source, MemoryStore())


@pytest.mark.parametrize(
    "fault", ["altered", "another value", "missing", "more", "a page more", "older", "another commit"]
)
async def test_a_target_that_differs_does_not_come_into_use(fault: str) -> None:
    """Every row is opened at both ends and compared; the source stays whole and can be copied again."""

    class Bad(MemoryStore):
        async def about(self) -> About:
            if self.state == COPYING and not self.spoilt:
                self.spoilt = True
                await spoil(self)
            return await super().about()

        spoilt = False

    async def spoil(store: MemoryStore) -> None:
        row = (await store.read_all(""))[1]
        match fault:
            case "altered":
                await store.load([Row(row.name, row.generation, row.sealed[:-1] + b"\0")])
            case "another value":
                value = Sealer(KEY, source.store_id).seal(row.name, row.generation, b"{}")
                await store.load([Row(row.name, row.generation, value)])
            case "missing":
                await store.load([], [row.name])
            case "more" | "a page more":
                await store.load([Row("grant/z", 1, row.sealed)])
            case "older":
                await store.load([Row(row.name, row.generation + 1, row.sealed)])
            case _:
                await store.swap("grant/z", expected=0, sealed=row.sealed)
                await store.swap("grant/z", expected=1, sealed=None)

    rows = PAGE if fault == "a page more" else 3
    source, target = MemoryStore(), Bad()
    await fill(source, rows)
    with pytest.raises(Damaged):
        await moved(source, target)
    assert [MOVING + TO, COPYING] == [(await source.about()).state, (await MemoryStore.about(target)).state]
    assert rows == (await moved(source, target)).rows


async def test_a_damaged_source_does_not_move() -> None:
    """A record that nobody can open is found before anything is in use elsewhere."""
    source, target = MemoryStore(), MemoryStore()
    await fill(source)
    await source.swap("grant/bad", expected=0, sealed=b"\x01" + bytes(4096))

    with pytest.raises((Damaged, WrongKey), match="grant/bad"):
        await moved(source, target)
    assert MOVING + TO == (await source.about()).state
    assert await cancel(source)


async def test_preparation_happens_out_of_use() -> None:
    """What it writes is copied, and nobody else writes then."""
    source, target = MemoryStore(), MemoryStore()
    sealer = await fill(source)
    seen = []

    async def prepare() -> None:
        seen.append((await source.about()).state)
        await write(source, sealer, "custody", 0)

    await copy(source, target, sealer, to=TO, prepare=prepare)

    assert [MOVING + TO] == seen
    assert "custody" in await contents(target)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (MOVED + TO, "has moved to"),
        (MOVING + TO, "store copy --cancel"),
        (COPYING, "not finished"),
        ("of a later version", "does not know"),
    ],
)
def test_every_state_says_what_helps(state: str, words: str) -> None:
    """In its message or in its remedy."""
    refusal = out_of_use("/s.db", state)

    assert words in f"{refusal} {refusal.fix}"
