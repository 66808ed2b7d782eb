"""The tables of the team's store, made and changed by numbered SQL files: `migrations/0001_tables.sql` and so on.

Each file is applied once, in order, in a transaction of its own and under a lock; a table says which have been.
"""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from proxy.store import Newer, NotMigrated, StoreError
from proxy.store.connections import Connection, Connections

MIGRATE = "bearerd store migrate"

_LOCK = (
    0x62726431  # ours among the advisory locks of the database; ends with the transaction, so a pooler may be between
)
# Servers of before may still run. What they commit is either done before a migration begins, or sees it: a statement
# looks at the tables when it has its locks.
ALONE = "LOCK TABLE bearerd.meta IN EXCLUSIVE MODE"
_FOLDER = Path(__file__).with_name("migrations")
_VERSIONS = """
CREATE SCHEMA IF NOT EXISTS bearerd;
CREATE TABLE IF NOT EXISTS bearerd.migrations (
  number integer PRIMARY KEY,
  name text NOT NULL,
  applied timestamptz NOT NULL DEFAULT clock_timestamp()
)"""
# By its name in the catalogue: `bearerd.migrations` itself cannot be asked for where it is not there.
_IS_THERE = "SELECT 1 FROM pg_tables WHERE schemaname = 'bearerd' AND tablename = 'migrations'"


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered change. `applied`: when the database had it, by the database's clock; None: not yet."""

    number: int
    name: str
    applied: datetime | None = None

    def read(self) -> str:
        """What it does. Blocks."""
        return (_FOLDER / f"{self.name}.sql").read_text("utf-8")


@cache
def known() -> tuple[Migration, ...]:
    """All that this program comes with, in order. Blocks the first time."""
    return tuple(Migration(int(file.stem.partition("_")[0]), file.stem) for file in sorted(_FOLDER.glob("[0-9]*.sql")))


def schema() -> int:
    """The number that the tables must have for this program. Blocks the first time."""
    return known()[-1].number


async def status(connections: Connections) -> list[Migration]:
    """Every known migration, applied or not, and those of a newer program that were applied. `StoreError`."""
    async with connections.reading() as connection:
        applied = await _applied(connection)
    every = await asyncio.to_thread(known)
    pending = [migration for migration in every if migration.number not in {done.number for done in applied}]
    return sorted([*applied, *pending], key=lambda migration: migration.number)


async def migrate(connections: Connections) -> list[Migration]:
    """Apply what is pending, and answer with that. `Newer` if a newer program has been here. `StoreError`."""
    done: list[Migration] = []
    for migration in await asyncio.to_thread(known):
        async with connections.writing() as connection:
            await _prepare(connection, connections.location)
            applied = await _applied(connection)
            _refuse_newer(connections.location, applied)
            if migration.number not in {other.number for other in applied}:
                if applied:
                    await connection.execute(ALONE)
                await connection.execute(await asyncio.to_thread(migration.read))
                insert = "INSERT INTO bearerd.migrations (number, name) VALUES ($1, $2)"
                await connection.execute(insert, migration.number, migration.name)
                await _settle(connection)
                done.append(migration)
    return done


async def check(connection: Connection, location: str) -> None:
    """The tables must be exactly those of this program: else `NotMigrated` or `Newer`."""
    await asyncio.to_thread(known)
    applied = await _applied(connection)
    if not applied:
        raise NotMigrated(f"{location} has no tables of bearerd yet; run: {MIGRATE}")
    _refuse_newer(location, applied)
    if applied[-1].number < schema():
        raise NotMigrated(
            f"{location} has the tables of an older bearerd (schema {applied[-1].number}; this one needs {schema()}); "
            f"run: {MIGRATE}"
        )


async def place(connection: Connection) -> str:
    """Which database this is: a copy of it, made by any means but replication, has another place."""
    (number,) = await connection.fetch("SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
    (allowed,) = await connection.fetch("SELECT has_function_privilege('pg_control_system()', 'execute')")
    if not allowed[0]:
        return f"database {number[0]}"
    (control,) = await connection.fetch("SELECT system_identifier FROM pg_control_system()")
    return f"system {control[0]} database {number[0]}"


def _refuse_newer(location: str, applied: list[Migration]) -> None:
    if applied and applied[-1].number > schema():
        raise Newer(
            f"{location} was written by a newer bearerd (schema {applied[-1].number}; this one knows {schema()})"
        )


async def _applied(connection: Connection) -> list[Migration]:
    if not await connection.fetch(_IS_THERE):
        return []
    rows = await connection.fetch("SELECT number, name, applied FROM bearerd.migrations ORDER BY number")
    return [Migration(row[0], row[1], row[2]) for row in rows]


async def _prepare(connection: Connection, location: str) -> None:
    (encoding,) = await connection.fetch("SHOW server_encoding")
    if encoding[0] != "UTF8":
        raise StoreError(f"{location} has the encoding {encoding[0]}; make a database with ENCODING 'UTF8'")
    await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
    if not await connection.fetch(_IS_THERE):
        await connection.execute(_VERSIONS)


async def _settle(connection: Connection) -> None:
    """The one row of `meta`, once there is that table."""
    insert = (
        "INSERT INTO bearerd.meta (one, store_id, commits, place, state) VALUES (1, $1, 0, $2, '') "
        "ON CONFLICT (one) DO NOTHING"
    )
    await connection.execute(insert, secrets.token_hex(16), await place(connection))
