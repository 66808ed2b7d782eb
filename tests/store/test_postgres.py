"""The team's store under many hands: what several processes do at once, and what a lost answer leaves behind.

What it has in common with the other stores is in `test_contract.py`, what becomes of its connections in
`test_connections.py`.
"""

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from proxy.store import RESTORING, Held, Lease, OutOfUse, Row, StoreError
from proxy.store.connections import SIZE
from proxy.store.postgres import PostgresStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.book import Book
from proxy.tokens.grant import Grant
from tests.cable import Cable
from tests.database import Bouncer, Server


@contextlib.asynccontextmanager
async def processes(dsn: str, count: int = 1) -> AsyncIterator[list[PostgresStore]]:
    """So many stores, each with connections of its own, as so many processes have them."""
    stores = [await PostgresStore.open(dsn) for _ in range(count)]
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()


@pytest.fixture(params=["direct", "pooled"])
def address(request: pytest.FixtureRequest, database: str) -> str:
    """A migrated database, once without and once with a pooler in between that has two connections."""
    if request.param == "direct":
        return database
    bouncer: Bouncer = request.getfixturevalue("bouncer")
    return bouncer.through(database)


async def test_of_racing_swaps_exactly_one_wins(address: str) -> None:
    """In each round every process expects the same generation; the row moves by one a round."""
    async with processes(address, 4) as stores:
        for generation in range(15):
            answers = await asyncio.gather(
                *(store.swap("a", expected=generation, sealed=bytes([number])) for number, store in enumerate(stores))
            )
            assert [generation + 1] == [answer for answer in answers if answer is not None]
            winner = next(number for number, answer in enumerate(answers) if answer is not None)
            assert Row("a", generation + 1, bytes([winner])) == await stores[0].read("a")
        assert 15 == await stores[0].changes()


async def test_of_racing_writes_and_deletes_exactly_one_wins(address: str) -> None:
    """A name that comes and goes is there or gone, never both, and each commit has a number."""
    async with processes(address, 4) as stores:
        commits = 0
        for _ in range(10):
            made = await asyncio.gather(*(store.swap("a", expected=0, sealed=b"1") for store in stores))
            moved = await asyncio.gather(
                *(
                    store.swap("a", expected=1, sealed=b"2" if number % 2 else None)
                    for number, store in enumerate(stores)
                )
            )
            commits += 2
            assert (1, 1) == (made.count(1), moved.count(2))
            changed = await stores[0].changed(0)
            assert 1 == len(changed.rows) + len(changed.gone)
            if changed.rows:
                assert 3 == await stores[0].swap("a", expected=2, sealed=None)
                commits += 1
        assert commits == await stores[0].changes()


async def test_a_reader_of_changes_misses_nothing(address: str) -> None:
    """Beside eight writers it sees every commit number once, in order, and never a later row before an earlier one."""
    writers, rounds = 8, 15
    seen: list[int] = []
    latest: dict[str, int] = {}

    async def write(store: PostgresStore, name: str) -> None:
        for generation in range(rounds):
            assert generation + 1 == await store.swap(name, expected=generation, sealed=b"x")

    async def follow(store: PostgresStore) -> None:
        number = 0
        while number < writers * rounds:
            changes = await store.changed(number)
            assert changes.number >= number
            # So many commits, so many generations more than before: none is missing, none came too early.
            moved = sum(row.generation - latest.get(row.name, 0) for row in changes.rows)
            assert changes.number - number == moved
            latest.update((row.name, row.generation) for row in changes.rows)
            number = changes.number
            seen.append(number)

    async with processes(address, 4) as stores, asyncio.TaskGroup() as group:
        group.create_task(follow(stores[0]))
        for index in range(writers):
            group.create_task(write(stores[index % 4], f"grant/{index}"))
    assert {f"grant/{index}": rounds for index in range(writers)} == latest
    assert len(seen) > 1


async def test_of_racing_leases_exactly_one_is_granted(address: str) -> None:
    """Acquired, renewed, given back, run out: at no time do two hold it."""
    async with processes(address, 4) as stores:
        for round_ in range(6):
            answers = await asyncio.gather(
                *(store.lease("a", f"holder-{number}", 60) for number, store in enumerate(stores))
            )
            (granted,) = (answer for answer in answers if isinstance(answer, Lease))
            others = [answer for answer in answers if isinstance(answer, Held)]
            assert [granted.holder] * 3 == [answer.holder for answer in others]
            assert all(50 < answer.left <= 60 for answer in others)
            if round_ % 2:
                await stores[0].release(granted)
            else:
                assert granted == await stores[1].lease("a", granted.holder, 0.01)
                await asyncio.sleep(0.02)


async def test_of_racing_marks_exactly_one_stands(address: str) -> None:
    """Only the lease's holder marks; whoever has the lease later finds the mark that is not over."""
    async with processes(address, 4) as stores:
        await stores[0].swap("a", expected=0, sealed=b"1")
        leases = [await store.lease("a", f"holder-{number}", 60) for number, store in enumerate(stores)]
        holder = next(lease for lease in leases if isinstance(lease, Lease))
        answers = await asyncio.gather(
            *(store.mark(Lease("a", f"holder-{number}"), expected=1, seconds=60) for number, store in enumerate(stores))
        )
        assert [True, False, False, False] == answers
        await stores[0].release(holder)

        other = await stores[1].lease("a", "holder-1", 60)

        assert isinstance(other, Lease)
        assert not await stores[1].mark(other, expected=1, seconds=60)
        row = await stores[1].read("a")
        assert row is not None
        assert row.spending is not None
        assert "holder-0" == row.spending.holder
        assert 55 < row.spending.left <= 60


async def test_a_new_key_and_writers_of_the_old_one_do_not_mix(address: str) -> None:
    """While all is sealed again others write: afterwards nothing is left that the old key sealed."""

    async def write(store: PostgresStore, name: str) -> None:
        generation = 0
        while True:
            moved = await store.swap(name, expected=generation, sealed=b"old")
            assert moved is not None
            generation = moved

    async with processes(address, 4) as stores:
        for store in stores:
            await store.adopt_key("old-key")

        async def seal_again() -> int:
            await asyncio.sleep(0.1)
            return await stores[0].rewrite(lambda _: b"new", "new-key", Row("extra", 1, b"new"))

        writers = [write(store, f"{number}") for number, store in enumerate(stores[1:])]
        async with asyncio.timeout(20):
            count, *failures = await asyncio.gather(seal_again(), *writers, return_exceptions=True)

        assert 3 == count
        said = f"{stores[0].location} was sealed with a new master key meanwhile; restart bearerd"
        assert [said] * 3 == [str(failure) for failure in failures]
        rows = await stores[0].read_all("")
        assert {b"new"} == {row.sealed for row in rows}
        assert 4 == len(rows)
        lease = await stores[1].lease(rows[0].name, "late", 60)
        assert isinstance(lease, Lease)
        with pytest.raises(StoreError, match="new master key"):  # nor may anybody spend who cannot write
            await stores[1].mark(lease, expected=rows[0].generation, seconds=5)


async def test_a_store_that_is_put_out_of_use_takes_nothing_more(database: str) -> None:
    """Neither from those who have it open nor from those who come."""
    async with processes(database, 2) as (ours, theirs):
        await ours.swap("a", expected=0, sealed=b"1")
        assert await theirs.turn("", RESTORING)

        with pytest.raises(StoreError, match="put out of use meanwhile"):
            await ours.swap("a", expected=1, sealed=b"2")
        assert not await theirs.turn("", RESTORING)
        with pytest.raises(OutOfUse, match="is not finished"):
            await PostgresStore.open(database)
        again = await PostgresStore.open(database, any_state=True)
        assert RESTORING == again.state
        await again.close()


async def test_a_store_is_filled_as_another_one_was(database: str) -> None:
    """Generations and the commit number are those of the other; what was loaded twice is there once."""
    async with processes(database, 2) as (ours, theirs):
        assert await ours.fill(store_id="other", key_id="k", commits=70, state=RESTORING)
        await ours.load([Row(f"grant/{number:04}", number + 1, b"x") for number in range(1_200)])
        await ours.load([Row("grant/0000", 9, b"y")], gone=["grant/0001"])
        assert await ours.turn(RESTORING, "")

        about = await ours.about()
        assert ("other", "k", 70, "", {"grant": 1_199}) == (
            about.store_id, about.key_id, about.commits, about.state, about.rows,
        )  # fmt: skip
        assert Row("grant/0000", 9, b"y") == await ours.read("grant/0000")
        assert 1_199 == len(await ours.read_all("grant/"))
        assert not await ours.fill(store_id="third", key_id="k", commits=1, state=RESTORING)
        with pytest.raises(StoreError, match="not being filled"):
            await ours.load([])
        with pytest.raises(StoreError, match="new master key"):
            await theirs.swap("a", expected=0, sealed=b"1")


async def test_a_rotation_whose_commit_was_lost_is_told_truly(database: str, postgres: Server) -> None:
    """The answer to the commit is lost: the book says so, and then, asked again, that the pair is in the store."""
    async with Cable(postgres.port) as cable:
        store = await PostgresStore.open(cable.through(database))
        sealer = Sealer(secrets.token_bytes(32), store.store_id)
        await store.adopt_key(sealer.key_id)
        book = Book("questrade", Vault(store, sealer))
        grant = Grant.from_record("questrade", 1, _RECORD)
        cable.cut_after(b"COMMIT\0")

        with pytest.raises(StoreError):
            await book.write(grant)

        assert await book.write(grant)
        stored = await book.read()
        assert stored == grant
        assert not await book.write(Grant.from_record("questrade", 1, {**_RECORD, "lineage": "other"}))
        await store.close()


async def test_many_clients_share_a_small_pool(bouncer: Bouncer, database: str, postgres: Server) -> None:
    """Twenty processes behind a pooler with two connections: every call gets its own answer."""
    async with processes(bouncer.through(database), 20) as stores:

        async def work(number: int, store: PostgresStore) -> None:
            name = f"grant/{number}"
            for generation in range(5):
                sealed = f"{number} {generation}".encode()
                assert generation + 1 == await store.swap(name, expected=generation, sealed=sealed)
                lease = await store.lease(name, f"{number}", 60)
                assert isinstance(lease, Lease)
                assert await store.mark(lease, expected=generation + 1, seconds=5)
                row = await store.read(name)
                assert row is not None
                assert (sealed, f"{number}") == (row.sealed, row.spending and row.spending.holder)

        await asyncio.gather(*(work(number, store) for number, store in enumerate(stores)))

        name = database.rpartition("/")[2]
        connected = "FROM pg_stat_activity WHERE usename = 'bearerd' AND datname = current_database()"
        assert 2 == int(postgres.query(f"SELECT count(*) {connected}", name))
        assert 100 == await stores[0].changes()


async def test_more_rows_than_a_page_are_read_at_one_moment(database: str) -> None:
    """Pages are an affair of the store's; a limit and a place to go on from are the caller's."""
    async with processes(database) as (store,):
        await store.fill(store_id="x", key_id="k", commits=1, state=RESTORING)
        names = [f"grant/{number:04}" for number in range(1_001)]
        await store.load(Row(name, 1, b"x") for name in names)

        assert names == [row.name for row in await store.read_all("grant/")]
        assert names[100:700] == [row.name for row in await store.read_all("grant/", after=names[99], limit=600)]
        assert dict.fromkeys(names, 2) == Counter(names) + Counter(row.name for row in await store.read_all(""))


@pytest.mark.timing
async def test_what_an_operation_costs(database: str, figure: Callable[[object], None]) -> None:
    """Read and swap of a token record, one after the other and with every connection at work."""
    count = 400
    async with processes(database) as (store,):
        sealed = secrets.token_bytes(4_200)

        async def rotate(name: str, rounds: int) -> None:
            for generation in range(rounds):
                await store.read(name)
                await store.swap(name, expected=generation, sealed=sealed)

        await rotate("warm", 20)
        wall, cpu = time.perf_counter(), time.process_time()
        await rotate("alone", count)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        figure(f"read and swap: {wall / count * 1e6:.0f} µs, of which our CPU {cpu / count * 1e6:.0f} µs")
        assert cpu / count < 0.004

        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(rotate(f"many/{number}", count // SIZE) for number in range(SIZE)))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        figure(f"{SIZE} at once: {count / wall:.0f} a second, our CPU {cpu / count * 1e6:.0f} µs each")


_RECORD = {
    "lineage": "first", "issuer": "https://login.example", "refresh_token": "rt", "access_token": "at",
    "host": "api.example", "port": 443, "refreshed": 1.0, "expires": 2.0, "life": 1.0,
}  # fmt: skip
