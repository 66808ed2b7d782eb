"""The embedded store: one SQLite file, safe for several processes at once, durable at every commit.

WAL with synchronous=FULL: one sync a commit; swaps that wait for each other share one. All work is done in one thread
that owns the connection. A file that is not ours, not sound, or newer than this program is refused by name and never
written to. Not for network file systems.
"""

import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TypeVar

from proxy.store import (
    COMMITS,
    COPYING,
    RESTORING,
    About,
    Changes,
    Damaged,
    Held,
    Lease,
    Row,
    StoreError,
    WrongKey,
    out_of_use,
    sqliteschema,
)
from proxy.store.sqlitefile import SQLiteFile, reason, rotten
from proxy.store.sqliteschema import Meta
from proxy.store.worker import Worker

_TOGETHER = 100  # swaps at most in one transaction
_PAGE = 500  # rows that are sealed again at a time
_ROW = "SELECT name, generation, sealed FROM records"
_CHANGED = _ROW + " WHERE commit_number > ? AND commit_number <= ? ORDER BY commit_number"
_GONE = "SELECT name FROM deletions WHERE commit_number > ? AND commit_number <= ? ORDER BY commit_number"
_INSERT = "INSERT INTO records (name, generation, commit_number, sealed) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_UPDATE = (
    "UPDATE records SET generation = generation + 1, commit_number = ?, previous = sealed, sealed = ? "
    "WHERE name = ? AND generation = ?"
)
_ALL = "SELECT rowid, name, generation, sealed, previous FROM records WHERE rowid > ? ORDER BY rowid LIMIT ?"
_RESEAL = "UPDATE records SET commit_number = ?, sealed = ?, previous = ? WHERE rowid = ?"

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Swap:
    """A swap that waits for the worker, and what became of it."""

    name: str
    expected: int
    sealed: bytes | None
    moved: int | None = None
    fault: Exception | None = None


class SQLiteStore:
    """A `Store` in one file. Make it with `open`."""

    def __init__(self, path: Path) -> None:
        """Not for callers: use `open`."""
        self.path = path
        self.location = str(path)
        self.store_id = ""
        self.key_id: str | None = None
        self.state = ""
        self.shared = False
        self.place = ""
        self._file = SQLiteFile(path)
        self._worker = Worker("sqlite")
        self._swaps: deque[_Swap] = deque()
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, journal: Path | None = None, any_state: bool = False) -> Self:
        """Open the store at `path`, or make it and its directory (0600 in 0700).

        With the path of the custody journal given, nothing is made beside one: a missing or empty store is `Damaged`
        then. Also `UnsafeFile`, `Foreign`, and `StoreError` if the disk fails or another process holds on too long.
        `OutOfUse` if it must not be served, unless `any_state`.
        """
        store = cls(path)
        try:
            await store._run(lambda: store._open(journal, any_state=any_state))
        except BaseException:
            await store.close()
            raise
        return store

    async def read(self, name: str) -> Row | None:
        rows = await self._run(lambda: self._file.rows(f"{_ROW} WHERE name = ?", name))
        return rows[0] if rows else None

    async def read_all(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Row]:
        # A range, unlike LIKE, uses the index and knows no wildcards.
        start, least = (">", after) if after and after >= prefix else (">=", prefix)
        sql = f"{_ROW} WHERE name {start} ? AND name < ? ORDER BY name LIMIT ?"
        most = -1 if limit is None else limit
        return await self._run(lambda: self._file.rows(sql, least, prefix + "\U0010ffff", most))

    async def swap(self, name: str, *, expected: int, sealed: bytes | None) -> int | None:
        swap = _Swap(name, expected, sealed)
        self._swaps.append(swap)
        try:
            await self._run(self._swap_together)
        finally:
            if swap in self._swaps:  # cancelled: it must not get in with a later one
                with contextlib.suppress(ValueError):  # whose text costs more than the swap: it quotes all of it
                    self._swaps.remove(swap)
        if swap.fault is not None:
            raise self._named(swap.fault) from None
        return swap.moved

    async def discard(self, generations: Mapping[str, int]) -> set[str]:
        return await self._run(lambda: self._file.change(lambda meta: self._discard(meta, generations))) or set()

    async def rewrite(self, reseal: Callable[[Row], bytes], key_id: str, extra: Row | None = None) -> int:
        count = await self._run(lambda: self._commit(lambda meta: self._rewrite(meta, reseal, extra), key_id))
        self.key_id = key_id
        return count or 0

    async def adopt_key(self, key_id: str) -> None:
        await self._run(lambda: self._commit(lambda meta: self._adopt_key(meta, key_id), key_id))
        self.key_id = key_id

    async def lease(self, name: str, holder: str, ttl: float) -> Lease | Held:  # noqa: ARG002  the journal's lock is it
        return Lease(name, holder)

    async def release(self, lease: Lease) -> None:
        pass

    async def release_all(self, holder: str) -> None:
        pass

    async def mark(self, lease: Lease, *, expected: int, seconds: float) -> bool:  # noqa: ARG002  nobody else spends
        return await self._run(lambda: self._is_at(lease.name, expected))

    async def unmark(self, lease: Lease) -> None:
        pass

    async def changes(self) -> int:
        return await self._run(self._commits)

    async def changed(self, since: int) -> Changes:
        return await self._run(lambda: self._changed(since))

    async def about(self) -> About:
        return await self._run(lambda: sqliteschema.about(self._file.connection, self.location))

    async def fill(self, *, store_id: str, key_id: str, commits: int, state: str) -> bool:
        beginning = Meta(sqliteschema.SCHEMA, store_id, key_id, commits, state)
        filled = await self._run(
            lambda: self._file.change(lambda meta: sqliteschema.fill(self._file.connection, meta, beginning))
        )
        if filled:
            self.store_id, self.key_id, self.state = store_id, key_id, state
        return bool(filled)

    async def load(self, rows: Iterable[Row], gone: Iterable[str] = ()) -> None:
        await self._run(lambda: self._file.change(lambda meta: self._load(meta, rows, gone)))

    async def turn(self, expected: str, state: str) -> bool:
        def go(meta: Meta) -> tuple[Meta, bool] | None:
            return (replace(meta, state=state), True) if meta.state == expected else None

        turned = await self._run(lambda: self._file.change(go))
        if turned:
            self.state = state
        return bool(turned)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._worker.ask(self._file.close)
            await self._worker.close()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreError(f"{self.path}: the store is closed")
        try:
            return await self._worker.ask(work)
        except (OSError, sqlite3.Error, UnicodeDecodeError) as fault:
            raise self._named(fault) from None

    def _named(self, fault: Exception) -> Exception:
        """Faults of disk and database as our own, with the name of the file."""
        match fault:
            case OSError():
                return StoreError(f"{self.path}: {fault.strerror}")
            case sqlite3.Error():
                return (Damaged if rotten(fault) else StoreError)(f"{self.path}: {reason(fault)}")
            case UnicodeDecodeError():  # SQLite quotes what it found in its own message
                return Damaged(f"{self.path}: {reason(fault)}")
            case _:
                return fault

    # -- in the worker thread -----------------------------------------------------------------------------------------

    def _open(self, journal: Path | None, *, any_state: bool) -> None:
        self._file.open(journal)
        meta = self._file.meta()
        self.store_id, self.key_id, self.state = meta.store_id, meta.key_id, meta.state
        self.place = self._file.place
        if self.state and not any_state:
            raise out_of_use(self.location, self.state)

    def _is_at(self, name: str, generation: int) -> bool:
        self._check_standing(self._file.meta())
        return [generation] == [row.generation for row in self._file.rows(f"{_ROW} WHERE name = ?", name)]

    def _commits(self) -> int:
        self._file.check_identity()  # what is asked all the time is to tell that, too
        return self._file.meta().commits

    def _changed(self, since: int) -> Changes:
        self._file.execute("BEGIN")  # all of it as it is at one moment
        try:
            end = min(self._file.meta().commits, since + COMMITS)
            rows = self._file.rows(_CHANGED, since, end)
            gone = [name for (name,) in self._file.execute(_GONE, since, end)]
        finally:
            self._file.execute("COMMIT")
        return Changes(end, rows, gone)

    def _commit(self, work: Callable[[Meta], T | None], key_id: str | None = None) -> T | None:
        """Run `work` in a transaction that raises the commit number, and sets `key_id` if there is one.

        `work` gets the head with the new number. If it answers None, nothing is written.
        """

        def next_commit(before: Meta) -> tuple[Meta, T] | None:
            self._check_state(before)
            meta = replace(before, commits=before.commits + 1)
            result = work(meta)
            return None if result is None else (replace(meta, key_id=key_id or meta.key_id), result)

        return self._file.change(next_commit)

    def _check_state(self, meta: Meta) -> None:
        if meta.state != self.state:
            raise StoreError(f"{self.path} was put out of use meanwhile; restart bearerd")

    def _check_standing(self, meta: Meta) -> None:
        """The store must be as this handle knows it."""
        self._check_state(meta)
        if meta.key_id != self.key_id:
            raise StoreError(f"{self.path} was sealed with a new master key meanwhile; restart bearerd")

    def _swap_together(self) -> None:
        """Make the swaps that wait, in one transaction: a commit each, one sync for all.

        Every swap has asked for this, so the first to get here finds them all, and those after it nothing to do.
        """
        swaps: list[_Swap] = []
        with contextlib.suppress(IndexError):
            while len(swaps) < _TOGETHER:
                swaps.append(self._swaps.popleft())

        def work(meta: Meta) -> tuple[Meta, bool] | None:
            self._check_standing(meta)
            before = meta.commits
            for swap in swaps:
                swap.moved = self._swap(meta.commits + 1, swap)
                if swap.moved is not None:
                    meta = replace(meta, commits=meta.commits + 1)
            return (meta, True) if meta.commits > before else None

        try:
            if swaps:
                self._file.change(work)
        except Exception as fault:  # noqa: BLE001  each of them gets to know
            for swap in swaps:
                swap.fault = fault

    def _discard(self, meta: Meta, generations: Mapping[str, int]) -> tuple[Meta, set[str]] | None:
        self._check_standing(meta)
        gone: set[str] = set()
        for name, generation in generations.items():
            if self._swap(meta.commits + len(gone) + 1, _Swap(name, generation, None)) is not None:
                gone.add(name)
        return (replace(meta, commits=meta.commits + len(gone)), gone) if gone else None

    def _swap(self, number: int, swap: _Swap) -> int | None:
        name, expected = swap.name, swap.expected
        if swap.sealed is None:
            cursor = self._file.execute("DELETE FROM records WHERE name = ? AND generation = ?", name, expected)
            if cursor.rowcount == 1:
                self._file.execute("INSERT OR REPLACE INTO deletions VALUES (?, ?)", name, number)
        elif expected == 0:
            cursor = self._insert(Row(name, 1, swap.sealed), number)
        else:
            cursor = self._file.execute(_UPDATE, number, swap.sealed, name, expected)
        return expected + 1 if cursor.rowcount == 1 else None

    def _insert(self, row: Row, number: int) -> sqlite3.Cursor:
        cursor = self._file.execute(_INSERT, row.name, row.generation, number, row.sealed)
        if cursor.rowcount == 1:
            self._file.execute("DELETE FROM deletions WHERE name = ?", row.name)
        return cursor

    def _rewrite(self, meta: Meta, reseal: Callable[[Row], bytes], extra: Row | None) -> int:
        self._check_standing(meta)
        count = last = 0
        while rows := self._file.execute(_ALL, last, _PAGE).fetchall():
            for last, name, generation, sealed, previous in rows:
                renewed = reseal(Row(name, generation, sealed))
                older = None if previous is None else reseal(Row(name, generation - 1, previous))
                self._file.execute(_RESEAL, meta.commits, renewed, older, last)
            count += len(rows)
        if extra is not None and self._insert(extra, meta.commits).rowcount != 1:
            raise StoreError(f"{self.path}: there is a record {extra.name!r} already")
        return count

    def _load(self, meta: Meta, rows: Iterable[Row], gone: Iterable[str]) -> tuple[Meta, bool]:
        if meta.state not in (RESTORING, COPYING) or meta.state != self.state:
            raise StoreError(f"{self.path} is not being filled")
        sqliteschema.load(self._file.connection, meta, rows, gone)
        return meta, True

    def _adopt_key(self, meta: Meta, key_id: str) -> bool | None:
        if meta.key_id not in (None, key_id):
            raise WrongKey(f"{self.path}: sealed with the key {meta.key_id}; the key at hand is {key_id}")
        return True if meta.key_id is None else None
