"""The file of the embedded store, opened: checked before anything is written to it, and changed by transactions.

Everything here blocks, and belongs to one thread.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from proxy.store import Damaged, Foreign, Row, StoreError, sqliteschema
from proxy.store.files import check_file, create_private, make_directory, sync_directory
from proxy.store.sqliteschema import APPLICATION_ID, Meta

_BUSY_SECONDS = 10.0
_SMALL = 16 * 1024 * 1024  # bytes: up to here the whole file is checked when it is opened
_ROTTEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_SETTINGS = (
    "synchronous = FULL",
    "fullfsync = ON",  # macOS
    "checkpoint_fullfsync = ON",
    "secure_delete = ON",
    "trusted_schema = OFF",
)

T = TypeVar("T")


def older(path: Path) -> bool:
    """Whether a file has the tables of an older bearerd, which `SQLiteFile.open` would change. Nothing is written.

    False where that cannot be told: opening it will say why. Blocks.
    """
    try:
        check_file(path, path.lstat())
        address = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            found = sqliteschema.version(connection, str(path)) if application == APPLICATION_ID else None
    except (OSError, StoreError, sqlite3.Error, UnicodeDecodeError):
        return False
    return found not in (None, sqliteschema.SCHEMA)


class SQLiteFile:
    """One file and its connection. Methods raise `StoreError`s that name the file, `OSError` or `sqlite3.Error`."""

    def __init__(self, path: Path) -> None:
        """Opens nothing yet: see `open`."""
        self.path = path
        self.place = ""
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)

    def open(self, journal: Path | None) -> None:
        """Open the file, or make it and its directory, unless there is a `journal` beside it."""
        make_directory(self.path.parent)
        self._check_files(journal)
        if self._log_waits():
            # Closing the last connection would write the log into the file, and the file may be one to refuse.
            self._connect(f"{self.path.absolute().as_uri()}?mode=ro")
            with contextlib.closing(self), contextlib.suppress(sqlite3.OperationalError):
                self._recognise()
        self._connect(self.path.absolute().as_uri())
        schema = self._recognise()
        if schema is None:
            self._create(journal)
            schema = self._recognise()
        self._settle()
        if schema != sqliteschema.SCHEMA:
            sqliteschema.migrate(self.connection, self.path)

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        return self.connection.execute(sql, values)

    def rows(self, sql: str, *values: object) -> list[Row]:
        """The rows of a query for name, generation and sealed value."""
        return [Row(*row) for row in self.execute(sql, *values)]

    def meta(self) -> Meta:
        return sqliteschema.read_meta(self.connection, str(self.path))

    def change(self, work: Callable[[Meta], tuple[Meta, T] | None]) -> T | None:
        """Run `work`, from the head to a new one and a result, in a transaction. None: nothing is written."""
        self.check_identity()
        self.execute("BEGIN IMMEDIATE")
        try:
            done = work(self.meta())
            if done is not None:
                sqliteschema.write_meta(self.connection, done[0])
                self.execute("COMMIT")
        finally:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        return None if done is None else done[1]

    @property
    def connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"{self.path}: the store is closed")
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    # -- opening ------------------------------------------------------------------------------------------------------

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
                f"{self.path} is missing or empty, but its journal {journal} is there: bring the store back (if from a "
                "backup: bearerd store restore FILE), or move the journal away and log in again"
            )

    def _log_waits(self) -> bool:
        """Whether there are commits in the write-ahead log: another process has the file open, or was killed."""
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size > 0
        except FileNotFoundError:
            return False

    def _connect(self, uri: str) -> None:
        self._connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)

    def _recognise(self) -> int | None:
        """The file's schema, None if it has nothing in it. Nothing is written before it is known to be ours and sound.

        A full disk, a lock and the like are `sqlite3.OperationalError`s.
        """
        try:
            return self._read_schema()
        except sqlite3.OperationalError as fault:
            # What the file says about itself makes no sense to SQLite.
            if getattr(fault, "sqlite_errorcode", None) not in (None, sqlite3.SQLITE_ERROR):
                raise
            raise Damaged(f"{self.path}: {reason(fault)}") from None

    def _read_schema(self) -> int | None:
        # In this order: another process may make the store between the two, and it makes both at once.
        (tables,) = self._one("SELECT count(*) FROM sqlite_master")
        (application,) = self._one("PRAGMA application_id")
        if application == 0 and tables == 0:
            return None
        if application != APPLICATION_ID:
            raise Foreign(f"{self.path} is the database of another program")
        schema = sqliteschema.version(self.connection, str(self.path))
        if self.path.stat().st_size <= _SMALL:
            (verdict,) = self._one("PRAGMA integrity_check(1)")
            if verdict != "ok":
                raise Damaged(f"{self.path}: {_printable(verdict.removeprefix('*** in database main ***'))}")
        return schema

    def _create(self, journal: Path | None) -> None:
        self.execute("PRAGMA synchronous = EXTRA")  # still a rollback journal: its directory needs a sync, too
        self.execute("BEGIN EXCLUSIVE")
        (tables,) = self._one("SELECT count(*) FROM sqlite_master")
        if tables == 0:  # else another process made it while we waited
            self._refuse_to_start_empty(journal)
            sqliteschema.create(self.connection, secrets.token_hex(16))
        self.execute("COMMIT")
        sync_directory(self.path.parent)

    def _settle(self) -> None:
        (mode,) = self._one("PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise StoreError(f"{self.path}: SQLite cannot use a write-ahead log here (it says {mode!r})")
        for setting in _SETTINGS:
            self.execute(f"PRAGMA {setting}")
        self._identity = self._file_identity()
        self.place = f"inode {self._identity[1]}"

    def _one(self, sql: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self.execute(sql).fetchone()
        return row

    def check_identity(self) -> None:
        """`StoreError` if the file that is open is no longer the one with that name."""
        # SQLite would go on writing to a file that was deleted or replaced, and every commit would be lost.
        try:
            unchanged = self._file_identity() == self._identity
        except FileNotFoundError:
            unchanged = False
        if not unchanged:
            raise StoreError(f"{self.path} was deleted or replaced while it was open; restart bearerd")

    def _file_identity(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_dev, status.st_ino


def rotten(fault: sqlite3.Error) -> bool:
    """Whether the file is to blame. A text that is not UTF-8 has no error code."""
    code: int | None = getattr(fault, "sqlite_errorcode", None)
    return isinstance(fault, sqlite3.OperationalError) if code is None else code & 0xFF in _ROTTEN


def reason(fault: Exception) -> str:
    """What a person is told: one line. Texts that are not UTF-8 are not quoted."""
    if isinstance(fault, UnicodeDecodeError) or not hasattr(fault, "sqlite_errorcode"):
        return "a text in it is not UTF-8"
    return _printable(str(fault))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()
