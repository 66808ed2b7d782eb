"""The embedded store: one SQLite file, safe for several processes at once, durable at every commit.

WAL with synchronous=FULL: one sync a commit. All work is done in one thread that owns the connection. A file that is
not ours, not sound, or newer than this program is refused by name and never written to. Not for network file systems.
"""

import asyncio
import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from proxy.store import Damaged, Foreign, Held, Lease, Row, StoreError, WrongKey
from proxy.store.files import check_file, create_private, make_directory, sync_directory

SCHEMA = 1
_APPLICATION_ID = 0x62726431  # "brd1": tells our file from any other SQLite database before anything is written
_BUSY_SECONDS = 10.0
_SMALL = 16 * 1024 * 1024  # bytes: up to here the whole file is checked when it is opened
_ROTTEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_TABLES = (
    """
CREATE TABLE meta (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  schema INTEGER NOT NULL,
  store_id TEXT NOT NULL,
  key_id TEXT,
  commits INTEGER NOT NULL
) STRICT""",
    """
CREATE TABLE records (
  name TEXT PRIMARY KEY,
  generation INTEGER NOT NULL CHECK (generation > 0),
  sealed BLOB NOT NULL,
  previous BLOB  -- the generation before, still sealed: for a diagnosis, never for use
) STRICT, WITHOUT ROWID""",
)
_SETTINGS = (
    "synchronous = FULL",
    "fullfsync = ON",  # macOS
    "checkpoint_fullfsync = ON",
    "secure_delete = ON",
    "trusted_schema = OFF",
)

T = TypeVar("T")


class SQLiteStore:
    """A `Store` in one file. Make it with `open`."""

    def __init__(self, path: Path) -> None:
        """Not for callers: use `open`."""
        self.path = path
        self.location = str(path)
        self.store_id = ""
        self.key_id: str | None = None
        self._worker = ThreadPoolExecutor(1, "sqlite")
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, journal: Path | None = None) -> Self:
        """Open the store at `path`, or make it and its directory (0600 in 0700).

        With the path of the custody journal given, nothing is made beside one: a missing or empty store is `Damaged`
        then. Also `UnsafeFile`, `Foreign`, and `StoreError` if the disk fails or another process holds on too long.
        """
        store = cls(path)
        try:
            await store._run(lambda: store._open(journal))
        except BaseException:
            await store.close()
            raise
        return store

    async def read(self, name: str) -> Row | None:
        sql = "SELECT name, generation, sealed FROM records WHERE name = ?"
        rows = await self._run(lambda: self._rows(sql, name))
        return rows[0] if rows else None

    async def read_all(self, prefix: str) -> list[Row]:
        # A range, unlike LIKE, uses the index and knows no wildcards.
        sql = "SELECT name, generation, sealed FROM records WHERE name >= ? AND name < ? ORDER BY name"
        return await self._run(lambda: self._rows(sql, prefix, prefix + "\U0010ffff"))

    async def swap(self, name: str, *, expected: int, sealed: bytes | None) -> int | None:
        return await self._run(lambda: self._commit(lambda: self._swap(name, expected, sealed)))

    async def rewrite(self, reseal: Callable[[Row], bytes], key_id: str, extra: Row | None = None) -> int:
        count = await self._run(lambda: self._commit(lambda: self._rewrite(reseal, key_id, extra)))
        self.key_id = key_id
        return count or 0

    async def adopt_key(self, key_id: str) -> None:
        await self._run(lambda: self._commit(lambda: self._adopt_key(key_id)))
        self.key_id = key_id

    async def lease(self, name: str, holder: str, ttl: float) -> Lease | Held:  # noqa: ARG002  the journal's lock is it
        return Lease(name, holder)

    async def release(self, lease: Lease) -> None:
        pass

    async def changes(self) -> int:
        return await self._run(self._commits)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._worker, self._close)
            self._worker.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreError(f"{self.path}: the store is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except OSError as fault:
            raise StoreError(f"{self.path}: {fault.strerror}") from None
        except sqlite3.Error as fault:
            code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
            raise (Damaged if code in _ROTTEN else StoreError)(f"{self.path}: {fault}") from None

    # -- in the worker thread: opening --------------------------------------------------------------------------------

    def _open(self, journal: Path | None) -> None:
        make_directory(self.path.parent)
        self._check_files(journal)
        self._connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        # Nothing is written before the file is known to be ours, or to have nothing in it.
        (application,) = self._one("PRAGMA application_id")
        (tables,) = self._one("SELECT count(*) FROM sqlite_master")
        if application == 0 and tables == 0:
            self._create(journal)
        elif application != _APPLICATION_ID:
            raise Foreign(f"{self.path} is the database of another program")
        self._read_meta()
        self._check_contents()
        self._settle()

    def _check_files(self, journal: Path | None) -> None:
        # By name, not by descriptor: closing one would drop the locks that SQLite holds for this process. The
        # directory is ours alone, so nobody can change the file in between.
        for suffix in ("-wal", "-shm", "-journal"):
            beside = self.path.with_name(self.path.name + suffix)
            with contextlib.suppress(FileNotFoundError):
                check_file(beside, beside.lstat())
        try:
            check_file(self.path, self.path.lstat())
        except FileNotFoundError:
            self._refuse_to_start_empty(journal)
            with contextlib.suppress(FileExistsError):
                os.close(create_private(self.path))

    def _refuse_to_start_empty(self, journal: Path | None) -> None:
        if journal is not None and journal.exists():
            raise Damaged(
                f"{self.path} is missing or empty, but its journal {journal} is there: bring the store back, or move "
                "the journal away and log in again"
            )

    def _create(self, journal: Path | None) -> None:
        self._execute("PRAGMA synchronous = EXTRA")  # still a rollback journal: its directory needs a sync, too
        self._execute("BEGIN EXCLUSIVE")
        (tables,) = self._one("SELECT count(*) FROM sqlite_master")
        if tables == 0:  # else another process made it while we waited
            self._refuse_to_start_empty(journal)
            for statement in _TABLES:
                self._execute(statement)
            values = (SCHEMA, secrets.token_hex(16))
            self._execute("INSERT INTO meta (one, schema, store_id, commits) VALUES (1, ?, ?, 0)", *values)
            self._execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self._execute("COMMIT")
        sync_directory(self.path.parent)

    def _read_meta(self) -> None:
        try:
            schema, self.store_id, self.key_id = self._one("SELECT schema, store_id, key_id FROM meta")
        except sqlite3.OperationalError as fault:
            if fault.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            raise Damaged(f"{self.path}: {fault}") from None
        if schema != SCHEMA:
            raise Foreign(f"{self.path} was written by a newer bearerd (schema {schema}; this one knows {SCHEMA})")

    def _check_contents(self) -> None:
        if self.path.stat().st_size <= _SMALL:
            (verdict,) = self._one("PRAGMA quick_check(1)")
            if verdict != "ok":
                raise Damaged(f"{self.path}: {verdict}")

    def _settle(self) -> None:
        (mode,) = self._one("PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise StoreError(f"{self.path}: SQLite cannot use a write-ahead log here (it says {mode!r})")
        for setting in _SETTINGS:
            self._execute(f"PRAGMA {setting}")
        self._identity = self._file_identity()

    # -- in the worker thread: working --------------------------------------------------------------------------------

    def _execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        if self._connection is None:
            raise StoreError(f"{self.path}: the store is closed")
        return self._connection.execute(sql, values)

    def _one(self, sql: str, *values: object) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._execute(sql, *values).fetchone()
        if row is None:
            raise Damaged(f"{self.path}: a row is missing that every store has")
        return row

    def _rows(self, sql: str, *values: object) -> list[Row]:
        return [Row(*row) for row in self._execute(sql, *values)]

    def _commits(self) -> int:
        return int(self._one("SELECT commits FROM meta")[0])

    def _file_identity(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_dev, status.st_ino

    def _commit(self, work: Callable[[], T | None]) -> T | None:
        """Run `work` in a transaction that raises the commit number. If it answers None, nothing is written."""
        # SQLite would go on writing to a file that was deleted or replaced, and every commit would be lost.
        try:
            unchanged = self._file_identity() == self._identity
        except FileNotFoundError:
            unchanged = False
        if not unchanged:
            raise StoreError(f"{self.path} was deleted or replaced while it was open; restart bearerd")
        self._execute("BEGIN IMMEDIATE")
        try:
            result = work()
            if result is not None:
                self._execute("UPDATE meta SET commits = commits + 1")
                self._execute("COMMIT")
        finally:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        return result

    def _swap(self, name: str, expected: int, sealed: bytes | None) -> int | None:
        (key_id,) = self._one("SELECT key_id FROM meta")
        if key_id != self.key_id:
            raise StoreError(f"{self.path} was sealed with a new master key meanwhile; restart bearerd")
        if sealed is None:
            cursor = self._execute("DELETE FROM records WHERE name = ? AND generation = ?", name, expected)
        elif expected == 0:
            insert = "INSERT INTO records (name, generation, sealed) VALUES (?, 1, ?) ON CONFLICT DO NOTHING"
            cursor = self._execute(insert, name, sealed)
        else:
            update = (
                "UPDATE records SET generation = generation + 1, previous = sealed, sealed = ? "
                "WHERE name = ? AND generation = ?"
            )
            cursor = self._execute(update, sealed, name, expected)
        return expected + 1 if cursor.rowcount == 1 else None

    def _rewrite(self, reseal: Callable[[Row], bytes], key_id: str, extra: Row | None) -> int:
        rows = self._execute("SELECT name, generation, sealed, previous FROM records").fetchall()
        for name, generation, sealed, previous in rows:
            renewed = reseal(Row(name, generation, sealed))
            older = None if previous is None else reseal(Row(name, generation - 1, previous))
            self._execute("UPDATE records SET sealed = ?, previous = ? WHERE name = ?", renewed, older, name)
        if extra is not None:
            insert = "INSERT INTO records (name, generation, sealed) VALUES (?, ?, ?)"
            self._execute(insert, extra.name, extra.generation, extra.sealed)
        self._execute("UPDATE meta SET key_id = ?", key_id)
        return len(rows)

    def _adopt_key(self, key_id: str) -> bool | None:
        (present,) = self._one("SELECT key_id FROM meta")
        if present is None:
            self._execute("UPDATE meta SET key_id = ?", key_id)
            return True
        if present != key_id:
            raise WrongKey(f"{self.path}: sealed with the key {present}; the key at hand is {key_id}")
        return None

    def _close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with contextlib.suppress(sqlite3.Error):
                connection.close()
