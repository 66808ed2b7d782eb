"""Connections to a database that is restarted, killed, silent, frozen, locked, or that has changed its place."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from proxy.store import StoreError
from proxy.store.connections import SECONDS, SIZE, Connections
from proxy.store.postgres import PostgresStore
from tests import database as databases
from tests.cable import Cable
from tests.database import USER, Bouncer, Server
from tests.store.opened import opened


@pytest.fixture
async def store(database: str) -> AsyncIterator[PostgresStore]:
    async with opened(database) as made:
        yield made


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server for one test alone."""
    server = databases.start()
    yield server
    server.remove()


async def busy(store: PostgresStore) -> None:
    """Let every connection that a store may have be made."""
    await asyncio.gather(*(store.read(f"x{number}") for number in range(4 * SIZE)))


async def test_a_store_holds_few_connections(store: PostgresStore, postgres: Server) -> None:
    """However many callers there are."""
    await busy(store)

    name = store.location.rpartition("/")[2]
    assert str(SIZE + 1) == postgres.query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()", name
    )


@pytest.mark.parametrize("how", ["restart", "crash"])
async def test_the_next_call_after_a_restart_works(store: PostgresStore, postgres: Server, how: str) -> None:
    """All idle connections are lost, and no caller hears of it."""
    await store.swap("a", expected=0, sealed=b"1")
    await busy(store)
    if how == "restart":
        postgres.restart()
    else:
        postgres.kill_immediate()
        postgres.start()

    assert 2 == await store.swap("a", expected=1, sealed=b"2")
    assert await asyncio.gather(*(store.changes() for _ in range(4 * SIZE))) == [2] * 4 * SIZE


async def test_a_server_that_is_down_is_a_store_error(store: PostgresStore, postgres: Server) -> None:
    """At once, as often as it is asked, until it is back."""
    await store.swap("a", expected=0, sealed=b"1")
    postgres.stop()
    for _ in range(3):
        with pytest.raises(StoreError, match="cannot be reached"):
            await store.swap("a", expected=1, sealed=b"2")
    postgres.start()

    assert 2 == await store.swap("a", expected=1, sealed=b"2")


async def test_what_was_acknowledged_outlives_a_crash_under_load(own_server: Server) -> None:
    """Writers of many rows see the server crash five times: none loses a commit, none stops for good."""
    dsn = own_server.create()
    await PostgresStore.migrate(dsn)
    done = asyncio.Event()
    generations = dict.fromkeys("abcdefgh", 0)
    failures = 0

    async def write(store: PostgresStore, name: str) -> None:
        nonlocal failures
        while not done.is_set():
            try:
                moved = await store.swap(name, expected=generations[name], sealed=b"x" * 100)
                # None: the commit whose answer was lost had got through.
                generations[name] = moved or generations[name] + 1
            except StoreError:
                failures += 1
                await asyncio.sleep(0.01)

    async def crash() -> None:
        for _ in range(5):
            await asyncio.sleep(0.15)
            await asyncio.to_thread(own_server.kill_immediate)
            await asyncio.to_thread(own_server.start)
        before = dict(generations)
        async with asyncio.timeout(20):
            while any(generations[name] == before[name] for name in generations):  # noqa: ASYNC110  eight events in one
                await asyncio.sleep(0.05)
        done.set()

    async with opened(dsn) as store, asyncio.TaskGroup() as group:
        group.create_task(crash())
        for name in generations:
            group.create_task(write(store, name))
    async with opened(dsn) as store:
        rows = {row.name: row.generation for row in await store.read_all("")}
        assert rows == generations
        assert failures >= 5
        assert sum(generations.values()) == await store.changes()


async def test_a_silent_network_is_a_store_error_in_time(database: str, postgres: Server) -> None:
    """Calls under way and new ones fail within their limit; when the network is back, the next call works."""
    async with Cable(postgres.port) as cable, opened(cable.through(database)) as store:
        await busy(store)
        cable.fall_silent()
        started = time.monotonic()
        calls = [
            store.read("a"),
            store.swap("a", expected=0, sealed=b"1"),
            store.lease("a", "me", 60),
            *(store.changed(number) for number in range(SIZE)),  # so many that some wait for a connection
        ]

        answers = await asyncio.gather(*calls, return_exceptions=True)

        assert SECONDS + 1 > time.monotonic() - started
        assert {f"{store.location} did not answer within 5 s"} == {str(answer) for answer in answers}
        assert all(type(answer) is StoreError for answer in answers)
        cable.heal()
        started = time.monotonic()
        assert 1 == await store.swap("a", expected=0, sealed=b"1")
        assert 3 > time.monotonic() - started


async def test_connections_that_were_forgotten_on_the_way_are_replaced(database: str, postgres: Server) -> None:
    """A firewall drops idle ones without a word: that costs a second once, and no failure."""
    async with Cable(postgres.port) as cable, opened(cable.through(database)) as store:
        await busy(store)
        cable.forget()
        started = time.monotonic()

        assert [0] * 8 == [await store.changes() for _ in range(8)]

        assert 3 > time.monotonic() - started


async def test_a_commit_whose_answer_was_lost_is_a_store_error(database: str, postgres: Server) -> None:
    """Nothing is sent a second time: the commit got through, and a repetition finds the row moved."""
    async with Cable(postgres.port) as cable, opened(cable.through(database)) as store:
        cable.cut_after(b"COMMIT\0")  # the statement, not the isolation level
        with pytest.raises(StoreError):
            await store.swap("a", expected=0, sealed=b"1")

        assert await store.swap("a", expected=0, sealed=b"1") is None
        row = await store.read("a")
        assert row is not None
        assert (1, b"1", 1) == (row.generation, row.sealed, await store.changes())


async def test_a_write_cut_before_its_commit_changes_nothing(database: str, postgres: Server) -> None:
    """It fails, and nobody finds anything of it."""
    async with Cable(postgres.port) as cable, opened(cable.through(database)) as store:
        cable.cut_after(b"UPDATE bearerd.meta")
        with pytest.raises(StoreError):
            await store.swap("a", expected=0, sealed=b"1")

        assert await store.read("a") is None
        assert 1 == await store.swap("a", expected=0, sealed=b"1")


async def test_somebody_elses_lock_is_not_waited_for_without_end(store: PostgresStore, postgres: Server) -> None:
    """A session that holds the store's lock makes writers fail in time; readers go on."""
    name = store.location.rpartition("/")[2]
    async with asyncio.TaskGroup() as group:
        statement = "UPDATE bearerd.meta SET one = 1; SELECT pg_sleep(4.5)"
        group.create_task(asyncio.to_thread(postgres.query, statement, name))
        await asyncio.sleep(0.3)
        with pytest.raises(StoreError, match="is locked by somebody else"):
            await store.swap("a", expected=0, sealed=b"1")
        assert 0 == await store.changes()

    assert 1 == await store.swap("a", expected=0, sealed=b"1")


async def test_a_caller_who_goes_away_leaves_nothing_half_done(store: PostgresStore) -> None:
    """A cancelled call gives its place back, and its connection is not used again."""
    for _ in range(3 * SIZE):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(store.swap("a", expected=0, sealed=b"1"), 0.001)

    assert await store.changes() in (0, 1)
    assert [None] * 8 == await asyncio.gather(*(store.read(f"x{number}") for number in range(8)))


async def test_what_fails_half_way_is_undone(store: PostgresStore) -> None:
    """Nothing of it is committed by those who come next, on whichever connection."""

    async def fail() -> None:
        async with store._connections.writing() as transaction:
            await transaction.execute("UPDATE bearerd.meta SET commits = 99")
            raise KeyError

    with pytest.raises(KeyError):
        await fail()

    assert 1 == await store.swap("a", expected=0, sealed=b"1")
    assert 1 == await store.changes()


async def test_a_commit_that_the_server_turns_down_is_a_store_error(store: PostgresStore) -> None:
    """It says ROLLBACK and calls that no error."""

    async def go_on_after_a_failure() -> None:
        async with store._connections.writing() as transaction:
            with contextlib.suppress(Exception):
                await transaction.execute("SELECT 1 / 0")

    with pytest.raises(StoreError, match="turned into a rollback"):
        await go_on_after_a_failure()


async def test_commits_are_durable_whatever_the_servers_default(database: str, postgres: Server) -> None:
    """`synchronous_commit = off` may lose the last commits in a crash: our transactions overrule it."""
    postgres.query(f"ALTER DATABASE {database.rpartition('/')[2]} SET synchronous_commit = off")
    async with opened(database) as store:
        async with store._connections.writing() as transaction:
            assert [("on",)] == [tuple(row) for row in await transaction.fetch("SHOW synchronous_commit")]
        async with store._connections.reading() as transaction:
            assert [("off",)] == [tuple(row) for row in await transaction.fetch("SHOW synchronous_commit")]


@pytest.mark.parametrize("way", ["direct", "pooled"])
async def test_a_standby_is_not_used(database: str, postgres: Server, request: pytest.FixtureRequest, way: str) -> None:
    """After a fail-over the former primary may be behind: it is neither written nor read until it is primary again."""
    dsn = database if way == "direct" else request.getfixturevalue("bouncer").through(database)
    async with opened(dsn) as store:
        await store.swap("a", expected=0, sealed=b"1")
        postgres.demote()
        try:
            for call in (store.read("a"), store.swap("a", expected=1, sealed=b"2"), store.changes()):
                with pytest.raises(StoreError, match="is read-only: a standby"):
                    await call
        finally:
            postgres.promote()

        assert 2 == await store.swap("a", expected=1, sealed=b"2")


async def test_a_database_that_is_set_read_only_is_left_alone(database: str, postgres: Server) -> None:
    """Its operator wants no writes: reading goes on."""
    postgres.query(f"ALTER DATABASE {database.rpartition('/')[2]} SET default_transaction_read_only = on")
    async with opened(database) as store:
        with pytest.raises(StoreError, match="is read-only"):
            await store.swap("a", expected=0, sealed=b"1")
        assert 0 == await store.changes()


async def test_of_several_hosts_the_primary_is_found(own_server: Server, postgres: Server) -> None:
    """One is down, one is a standby; when the primary changes place the next calls follow it."""
    for server in (own_server, postgres):
        server.query(f"CREATE DATABASE failover OWNER {USER}")
        await PostgresStore.migrate(server.dsn("failover"))
    own_server.demote()
    ports = (databases.unused_port(), own_server.port, postgres.port)
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)

    async with opened(f"postgresql://{USER}@{hosts}/failover") as store:
        assert 1 == await store.swap("a", expected=0, sealed=b"second")
        own_server.promote()
        postgres.demote()
        try:
            assert 1 == await store.swap("a", expected=0, sealed=b"first")
            assert b"first" == getattr(await store.read("a"), "sealed", None)
        finally:
            postgres.promote()


async def test_a_name_service_that_hangs_keeps_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads that others sync their journals in are not used up by names that do not resolve."""
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(10) and [])
    connections = await Connections.at("postgresql://ann@db.internal/d?sslmode=disable")

    async def attempt() -> None:
        async with connections.reading():
            pass

    try:
        for _ in range(10):
            attempts = [asyncio.wait_for(attempt(), 0.1) for _ in range(SIZE)]
            failures = await asyncio.gather(*attempts, return_exceptions=True)
            assert {TimeoutError} == set(map(type, failures))

        assert "free" == await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 2)
    finally:
        released.set()
        await connections.close()


@pytest.mark.parametrize("who", ["pooler", "server"])
async def test_a_restart_behind_or_of_the_pooler_is_survived(
    database: str, postgres: Server, bouncer: Bouncer, who: str
) -> None:
    """The next call works; if the pooler hands out a dead connection of its own, the one after that."""
    async with opened(bouncer.through(database)) as store:
        await store.swap("a", expected=0, sealed=b"1")
        await busy(store)
        if who == "pooler":
            bouncer.stop()
            with pytest.raises(StoreError, match="cannot be reached"):
                await store.changes()
            bouncer.start()
        else:
            postgres.restart()

        for _ in range(3):
            with contextlib.suppress(StoreError):
                assert 1 == await store.changes()
                break
        assert 2 == await store.swap("a", expected=1, sealed=b"2")


@pytest.mark.soak
async def test_a_process_that_freezes_in_a_commit_gives_its_lock_back(database: str, postgres: Server) -> None:
    """The server ends a transaction that falls silent: the others wait for seconds, not for ever."""
    async with Cable(postgres.port) as cable, opened(cable.through(database)) as frozen, opened(database) as store:
        with contextlib.suppress(StoreError):
            async with frozen._connections.writing() as transaction:
                await transaction.execute("UPDATE bearerd.meta SET one = 1")
                cable.fall_silent()
                await transaction.execute("SELECT 1")
        with pytest.raises(StoreError, match="is locked by somebody else"):
            await store.swap("a", expected=0, sealed=b"1")
        await asyncio.sleep(3)

        assert 1 == await store.swap("a", expected=0, sealed=b"1")


async def test_a_closed_store_answers_nothing(store: PostgresStore) -> None:
    """And makes no new connection."""
    await store.close()

    with pytest.raises(StoreError, match="the store is closed"):
        await store.read("a")
