"""The team's store: one PostgreSQL database that several processes share, each commit with a number of its own.

All values are sealed before they come here. Who may spend a token is said by leases and marks, timed by the database's
clock. The tables are made by `migrations.py`, never here.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from proxy.secret import Secret
from proxy.store import (
    COMMITS,
    COPYING,
    RESTORING,
    About,
    Changes,
    Damaged,
    Held,
    Lease,
    Newer,
    Row,
    Spending,
    StoreError,
    WrongKey,
    migrations,
    out_of_use,
)
from proxy.store import postgressql as sql
from proxy.store.connections import Connections, Transaction
from proxy.store.migrations import Migration

_PAGE = 500  # rows that are read or written at a time


class PostgresStore:
    """A `Store` in PostgreSQL. Make it with `open`."""

    def __init__(self, connections: Connections) -> None:
        """Not for callers: use `open`."""
        self.location = connections.location
        self.store_id = ""
        self.key_id: str | None = None
        self.shared = True
        self.place = ""  # the database that it is in now
        self.made_at = ""  # the one that its tables were made in
        self.state = ""
        self._connections = connections

    @classmethod
    async def open(cls, dsn: str, *, password: Secret | None = None, any_state: bool = False) -> Self:
        """Open the store in the database at `dsn`. Without `password` it is looked for where PostgreSQL's programs do.

        `StoreError` if it cannot be reached, `NotMigrated` and `Foreign` if its tables are not ours, `OutOfUse` unless
        `any_state`.
        """
        store = cls(await Connections.at(dsn, password))
        try:
            await store._read_meta(any_state=any_state)
        except BaseException:
            await store.close()
            raise
        return store

    @staticmethod
    async def migrate(dsn: str, *, password: Secret | None = None) -> list[Migration]:
        """Bring the tables up to date, and answer with what was done. `StoreError`, `Foreign`."""
        connections = await Connections.at(dsn, password)
        try:
            return await migrations.migrate(connections)
        finally:
            await connections.close()

    @staticmethod
    async def status(dsn: str, *, password: Secret | None = None) -> list[Migration]:
        """What was applied, and what is pending. `StoreError`."""
        connections = await Connections.at(dsn, password)
        try:
            return await migrations.status(connections)
        finally:
            await connections.close()

    async def read(self, name: str) -> Row | None:
        async with self._connections.reading() as transaction:
            rows = await transaction.fetch(sql.READ, name)
        return _row(rows[0]) if rows else None

    async def read_all(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Row]:
        rows: list[Row] = []
        async with self._connections.reading() as transaction:
            while limit is None or len(rows) < limit:
                size = _PAGE if limit is None else min(_PAGE, limit - len(rows))
                page = await transaction.fetch(sql.READ_ALL, prefix, prefix + "\U0010ffff", after, size)
                rows += map(_row, page)
                if len(page) < size:
                    break
                after = rows[-1].name
                transaction.prolong()
        return rows

    async def swap(self, name: str, *, expected: int, sealed: bytes | None) -> int | None:
        async with self._connections.writing() as transaction:
            values: tuple[object, ...] = (self.key_id, self.state, name)
            if sealed is None:
                moved = await transaction.fetch(sql.DELETE, *values, expected)
            elif expected == 0:
                moved = await transaction.fetch(sql.INSERT, *values, sealed)
            else:
                moved = await transaction.fetch(sql.UPDATE, *values, expected, sealed)
            if moved:
                return expected + 1
            await self._missed(transaction)
        return None

    async def discard(self, generations: Mapping[str, int]) -> set[str]:
        async with self._connections.writing() as transaction:
            number = await self._lock(transaction)
            rows = await transaction.fetch(sql.DISCARD, list(generations), list(generations.values()))
            gone = [name for (name,) in rows]
            await transaction.execute(sql.DISCARDED, number, gone)
            await transaction.execute("UPDATE bearerd.meta SET commits = $1", number + len(gone))
        return set(gone)

    async def rewrite(self, reseal: Callable[[Row], bytes], key_id: str, extra: Row | None = None) -> int:
        async with self._connections.writing() as transaction:
            number = await self._lock(transaction) + 1
            count, after = 0, ""
            while page := await transaction.fetch(sql.PAGE, after, _PAGE):
                renewed = await asyncio.to_thread(_resealed, page, reseal)
                await transaction.execute(sql.RESEAL, number, *map(list, zip(*renewed, strict=True)))
                count, after = count + len(page), page[-1][0]
                transaction.prolong()
            if extra is not None:
                values = (extra.name, extra.generation, extra.sealed, number)
                if not await transaction.fetch(sql.ADD, *values):
                    raise StoreError(f"{self.location}: there is a record {extra.name!r} already")
            await transaction.execute("UPDATE bearerd.meta SET key_id = $1, commits = $2", key_id, number)
        self.key_id = key_id
        return count

    async def adopt_key(self, key_id: str) -> None:
        async with self._connections.writing() as transaction:
            if not await transaction.fetch(sql.ADOPT_KEY, key_id):
                present = (await self._meta(transaction))[1]
                if present != key_id:
                    raise WrongKey(f"{self.location}: sealed with the key {present}; the key at hand is {key_id}")
        self.key_id = key_id

    async def lease(self, name: str, holder: str, ttl: float) -> Lease | Held:
        async with self._connections.writing() as transaction:
            while not await transaction.fetch(sql.LEASE, name, holder, ttl):
                if held := await transaction.fetch(sql.LEASED, name):
                    return Held(name, held[0][0], max(0.0, held[0][1]))
        return Lease(name, holder)

    async def release(self, lease: Lease) -> None:
        async with self._connections.writing() as transaction:
            await transaction.execute(sql.RELEASE, lease.name, lease.holder)

    async def release_all(self, holder: str) -> None:
        async with self._connections.writing() as transaction:
            await transaction.execute(sql.RELEASE_ALL, holder)

    async def mark(self, lease: Lease, *, expected: int, seconds: float) -> bool:
        async with self._connections.writing() as transaction:
            values = (self.key_id, self.state, lease.name, lease.holder, expected, seconds)
            if await transaction.fetch(sql.MARK, *values):
                return True
            await self._missed(transaction)
        return False

    async def unmark(self, lease: Lease) -> None:
        async with self._connections.writing() as transaction:
            await transaction.execute(sql.UNMARK, lease.name, lease.holder)

    async def changes(self) -> int:
        async with self._connections.reading() as transaction:
            return int((await self._meta(transaction))[2])

    async def changed(self, since: int) -> Changes:
        async with self._connections.reading() as transaction:
            end = min(int((await self._meta(transaction))[2]), since + COMMITS)
            if end <= since:
                return Changes(end, [], [])
            rows = [_row(row) for row in await transaction.fetch(sql.CHANGED, since, end)]
            gone = [row[0] for row in await transaction.fetch(sql.GONE, since, end)]
        return Changes(end, rows, gone)

    async def about(self) -> About:
        async with self._connections.reading() as transaction:
            store_id, key_id, commits, state, _ = await self._meta(transaction)
            counts = await transaction.fetch(sql.COUNTS)
        return About(store_id, key_id, migrations.schema(), commits, state, {row[0]: row[1] for row in counts})

    async def fill(self, *, store_id: str, key_id: str, commits: int, state: str) -> bool:
        async with self._connections.writing() as transaction:
            present = (await self._meta(transaction, sql.META_LOCKED))[3]
            if present != state and (present or await transaction.fetch("SELECT 1 FROM bearerd.records LIMIT 1")):
                return False
            await transaction.execute(sql.EMPTY)
            await transaction.execute(sql.BEGIN_ANEW, store_id, key_id, commits, state)
        self.store_id, self.key_id, self.state = store_id, key_id, state
        return True

    async def load(self, rows: Iterable[Row], gone: Iterable[str] = ()) -> None:
        async with self._connections.writing() as transaction:
            number = await self._lock(transaction)
            if self.state not in (RESTORING, COPYING):
                raise StoreError(f"{self.location} is not being filled")
            remaining = iter(rows)
            while page := [(row.name, row.generation, row.sealed) for row in itertools.islice(remaining, _PAGE)]:
                await transaction.execute(sql.LOAD, number, *map(list, zip(*page, strict=True)))
                transaction.prolong()
            await transaction.execute("DELETE FROM bearerd.records WHERE name = ANY($1)", list(gone))

    async def turn(self, expected: str, state: str) -> bool:
        async with self._connections.writing() as transaction:
            if (await self._meta(transaction, sql.META_LOCKED))[3] != expected:
                return False
            await transaction.execute("UPDATE bearerd.meta SET state = $1", state)
        self.state = state
        return True

    async def close(self) -> None:
        await self._connections.close()

    async def _read_meta(self, *, any_state: bool) -> None:
        async with self._connections.reading() as transaction:
            await migrations.check(transaction, self.location)
            self.store_id, self.key_id, _, self.state, self.made_at = await self._meta(transaction)
            self.place = await migrations.place(transaction)
        if self.state and not any_state:
            raise out_of_use(self.location, self.state)

    async def _meta(self, transaction: Transaction, statement: str = sql.META) -> tuple[Any, ...]:
        rows = await transaction.fetch(statement)
        if not rows:
            raise Damaged(f"{self.location}: the row of bearerd.meta is missing, which every store has")
        *meta, schema = rows[0]
        if schema > sql.SCHEMA:
            raise Newer(
                f"{self.location} was migrated by a newer bearerd (schema {schema}; this one knows {sql.SCHEMA})"
            )
        return tuple(meta)

    async def _lock(self, transaction: Transaction) -> int:
        """Keep everybody else from committing until the transaction ends. The last commit's number."""
        _, key_id, commits, state, _ = await self._meta(transaction, sql.META_LOCKED)
        self._check_standing(key_id, state)
        return int(commits)

    async def _missed(self, transaction: Transaction) -> None:
        """Nothing of it shall stay; and was it the row that had moved, or the whole store?"""
        _, key_id, _, state, _ = await self._meta(transaction)
        await transaction.rollback()
        self._check_standing(key_id, state)

    def _check_standing(self, key_id: str | None, state: str) -> None:
        if state != self.state:
            raise StoreError(f"{self.location} was put out of use meanwhile; restart bearerd")
        if key_id != self.key_id:
            raise StoreError(f"{self.location} was sealed with a new master key meanwhile; restart bearerd")


def _row(row: Sequence[Any]) -> Row:
    name, generation, sealed, holder, left = row
    return Row(name, generation, sealed, None if holder is None else Spending(holder, left))


def _resealed(page: Iterable[Sequence[Any]], reseal: Callable[[Row], bytes]) -> list[tuple[str, bytes, bytes | None]]:
    return [
        (
            name,
            reseal(Row(name, generation, sealed)),
            None if previous is None else reseal(Row(name, generation - 1, previous)),
        )
        for name, generation, sealed, previous in page
    ]
