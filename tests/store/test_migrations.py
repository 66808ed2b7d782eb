"""Tables of the team's store: made once, by one process, and never used in another version."""

import asyncio

import pytest

from proxy.secret import Secret
from proxy.store import Foreign, Lease, Newer, NotMigrated, StoreError, postgressql
from proxy.store.connections import Connections
from proxy.store.migrations import ALONE, known, schema
from proxy.store.postgres import PostgresStore
from tests.database import GUARDED, PASSWORD, USER, Server
from tests.store.opened import opened


async def test_an_empty_database_is_not_used(postgres: Server) -> None:
    """Nothing is made on the way: the message names the command."""
    dsn = postgres.create()

    with pytest.raises(NotMigrated, match="no tables of bearerd yet; run: bearerd store migrate"):
        await PostgresStore.open(dsn)
    assert "0" == postgres.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'bearerd'", dsn)


async def test_migrating_makes_the_tables(postgres: Server) -> None:
    """What was pending is applied and then known as applied; the store opens."""
    dsn = postgres.create()
    assert [None] * len(known()) == [migration.applied for migration in await PostgresStore.status(dsn)]

    assert [migration.number for migration in known()] == [done.number for done in await PostgresStore.migrate(dsn)]

    assert all(migration.applied is not None for migration in await PostgresStore.status(dsn))
    store = await PostgresStore.open(dsn)
    assert (32, 0, None) == (len(store.store_id), await store.changes(), store.key_id)
    await store.close()


async def test_migrating_again_does_nothing(database: str) -> None:
    """Values and identity stay."""
    store = await PostgresStore.open(database)
    await store.swap("a", expected=0, sealed=b"1")

    assert [] == await PostgresStore.migrate(database)

    again = await PostgresStore.open(database)
    assert (store.store_id, 1) == (again.store_id, await again.changes())
    await store.close()
    await again.close()


async def test_of_several_at_once_one_makes_each_table(postgres: Server) -> None:
    """The others wait and find it done."""
    dsn = postgres.create()

    done = await asyncio.gather(*(PostgresStore.migrate(dsn) for _ in range(4)))

    assert [0, 0, 0, len(known())] == sorted(map(len, done))


async def test_tables_of_a_newer_program_are_left_alone(database: str, postgres: Server) -> None:
    """Neither opened nor migrated: an older program cannot know what they mean."""
    postgres.query("UPDATE bearerd.migrations SET number = number + 1, name = 'later'", database)

    with pytest.raises(Foreign, match=f"newer bearerd .schema {schema() + 1}; this one knows {schema()}"):
        await PostgresStore.open(database)
    with pytest.raises(Foreign):
        await PostgresStore.migrate(database)
    assert "later" == (await PostgresStore.status(database))[-1].name


async def test_a_running_server_stops_writing_once_a_newer_program_has_migrated(
    database: str, postgres: Server
) -> None:
    """It learns of it at its next look, and nothing of what it still tries is written."""
    async with opened(database) as store:
        await store.swap("a", expected=0, sealed=b"1")
        await store.adopt_key("k")
        lease = await store.lease("a", "me", 30)
        assert isinstance(lease, Lease)
        postgres.query("INSERT INTO bearerd.migrations (number, name) VALUES (2, 'later')", database)
        newer = r"migrated by a newer bearerd .schema 2; this one knows 1"

        with pytest.raises(Newer, match=newer):
            await store.changes()
        for expected, sealed in ((1, b"2"), (1, None), (0, b"2")):
            with pytest.raises(Newer, match=newer):
                await store.swap("a", expected=expected, sealed=sealed)
        with pytest.raises(Newer, match=newer):
            await store.mark(lease, expected=1, seconds=30)
        with pytest.raises(Newer, match=newer):
            await store.rewrite(lambda row: row.sealed, "other")

    assert "1|1|" == postgres.query("SELECT generation, commit_number, spending_holder FROM bearerd.records", database)
    assert "2|k" == postgres.query("SELECT commits, key_id FROM bearerd.meta", database)


async def waiting(postgres: Server, database: str) -> None:
    """Until somebody waits for the lock of the table that each commit begins with."""
    sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'bearerd.meta'::regclass"
    while await asyncio.to_thread(postgres.query, sql, database) == "0":  # noqa: ASYNC110  nothing tells
        await asyncio.sleep(0.01)


async def test_what_is_committed_during_a_migration_comes_after_it(database: str, postgres: Server) -> None:
    """A statement that begins while a newer program migrates waits, and then sees the newer tables."""
    connections = await Connections.at(database, None)
    async with opened(database) as store:
        await store.swap("a", expected=0, sealed=b"1")
        async with connections.writing() as newer:
            await newer.execute(ALONE)
            await newer.execute("INSERT INTO bearerd.migrations (number, name) VALUES (2, 'later')")
            swapping = asyncio.gather(store.swap("a", expected=1, sealed=b"2"))
            await waiting(postgres, database)
        with pytest.raises(Newer, match=r"migrated by a newer bearerd .schema 2; this one knows 1"):
            await swapping
    await connections.close()


async def test_a_migration_waits_for_a_commit_that_is_under_way(database: str, postgres: Server) -> None:
    """What an older server writes is whole before the tables change."""
    postgres.query("UPDATE bearerd.migrations SET number = 0", database)
    connections = await Connections.at(database, None)
    async with connections.writing() as older:
        await older.execute("UPDATE bearerd.meta SET commits = commits + 1")
        migrating = asyncio.gather(PostgresStore.migrate(database))
        await waiting(postgres, database)
    with pytest.raises(StoreError, match="already exists"):  # these tables are not those of schema 0
        await migrating
    await connections.close()


def test_the_statements_are_those_of_the_last_migration() -> None:
    """What is said to the tables, and what makes them, was changed together."""
    assert schema() == postgressql.SCHEMA


async def test_tables_of_an_older_program_are_not_used(database: str, postgres: Server) -> None:
    """They are brought up to date first, by the same command."""
    postgres.query("UPDATE bearerd.migrations SET number = 0", database)

    with pytest.raises(NotMigrated, match=r"older bearerd .schema 0; .* run: bearerd store migrate"):
        await PostgresStore.open(database)


async def test_a_migration_that_fails_leaves_nothing(postgres: Server) -> None:
    """Its transaction is undone as a whole, so that it can be tried again."""
    dsn = postgres.create()
    postgres.query("CREATE SCHEMA bearerd; CREATE TABLE bearerd.leases (mine text)", dsn)
    postgres.query(f"ALTER SCHEMA bearerd OWNER TO {USER}", dsn)

    with pytest.raises(StoreError, match="already exists"):
        await PostgresStore.migrate(dsn)
    assert "leases" == postgres.query("SELECT tablename FROM pg_tables WHERE schemaname = 'bearerd'", dsn)


async def test_whoever_may_make_no_tables_is_told_how_to_be_allowed(postgres: Server) -> None:
    """The statement in the message does it; the tables then belong to whoever made them."""
    dsn = postgres.create()
    theirs = dsn.replace(USER, GUARDED)
    with pytest.raises(StoreError, match=f"does not let {GUARDED} make tables; let its owner run: GRANT") as caught:
        await PostgresStore.migrate(theirs, password=Secret(PASSWORD))

    postgres.query(str(caught.value).rpartition("run: ")[2], dsn)
    assert await PostgresStore.migrate(theirs, password=Secret(PASSWORD))
    async with opened(theirs, PASSWORD) as store:
        assert 1 == await store.swap("a", expected=0, sealed=b"1")


async def test_a_database_that_cannot_hold_every_name_is_refused(postgres: Server) -> None:
    """Names are Unicode."""
    postgres.query(f"CREATE DATABASE latin OWNER {USER} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")

    with pytest.raises(StoreError, match="make a database with ENCODING 'UTF8'"):
        await PostgresStore.migrate(postgres.dsn("latin"))


async def test_a_database_knows_where_it_was_made(database: str, postgres: Server) -> None:
    """A copy is another place, which the tables in it tell; a restart changes nothing."""
    store = await PostgresStore.open(database)
    await store.close()
    assert store.place == store.made_at

    name = database.rpartition("/")[2]
    postgres.query(f"CREATE DATABASE {name}_copy OWNER {USER} TEMPLATE {name}")
    postgres.restart()

    again, copy = await PostgresStore.open(database), await PostgresStore.open(f"{database}_copy")
    assert (store.place, store.place) == (again.place, again.made_at)
    assert store.place == copy.made_at != copy.place
    await again.close()
    await copy.close()


async def test_a_database_that_says_less_about_itself_is_still_told_apart(database: str, postgres: Server) -> None:
    """Where the server's own number may not be read, the database's has to do."""
    postgres.query("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC", database)

    store = await PostgresStore.open(database)

    number = postgres.query("SELECT oid FROM pg_database WHERE datname = current_database()", database)
    assert f"database {number}" == store.place
    await store.close()


def test_migrations_are_numbered_without_gaps() -> None:
    """From 1 on, in the order of their names."""
    assert list(range(1, schema() + 1)) == [migration.number for migration in known()]
    assert all(migration.read() for migration in known())
