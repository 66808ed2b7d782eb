"""The tables of the embedded store, its head row, and how a file of an older version gets the tables of this one.

Everything here blocks, and works on the connection that `sqlite.py` has open.
"""

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from proxy.store import About, Damaged, Newer, Row
from proxy.store.files import create_private, sync_data, sync_directory

SCHEMA = 2
APPLICATION_ID = 0x62726431  # "brd1": tells our file from any other SQLite database before anything is written

_META = """
CREATE TABLE meta (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  schema INTEGER NOT NULL,
  store_id TEXT NOT NULL,
  key_id TEXT,
  commits INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT '',  -- why it is out of use; empty: it is in use
  checksum INTEGER NOT NULL  -- of this row: nothing else would notice a flipped bit in it
) STRICT"""
# Tables with a rowid: rows of 8 KiB would leave a tree that is sorted by name with four of them a page, inner pages
# included. The name stands in the primary key's index, too, so that a check of the file sees a flipped bit in it.
_RECORDS = """
CREATE TABLE records (
  name TEXT PRIMARY KEY NOT NULL,
  generation INTEGER NOT NULL CHECK (generation > 0),
  commit_number INTEGER NOT NULL,  -- of the last commit that wrote the row
  sealed BLOB NOT NULL,
  previous BLOB  -- the generation before, still sealed: for a diagnosis, never for use
) STRICT"""
_DELETIONS = """
CREATE TABLE deletions (
  name TEXT PRIMARY KEY NOT NULL,
  commit_number INTEGER NOT NULL
) STRICT"""
_TABLES = (
    _META,
    _RECORDS,
    _DELETIONS,
    "CREATE INDEX records_by_commit ON records (commit_number)",
    "CREATE INDEX deletions_by_commit ON deletions (commit_number)",
)
_META_1 = """
CREATE TABLE meta (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  schema INTEGER NOT NULL,
  store_id TEXT NOT NULL,
  key_id TEXT,
  commits INTEGER NOT NULL
) STRICT"""
_RECORDS_1 = """
CREATE TABLE records (
  name TEXT PRIMARY KEY,
  generation INTEGER NOT NULL CHECK (generation > 0),
  sealed BLOB NOT NULL,
  previous BLOB  -- the generation before, still sealed: for a diagnosis, never for use
) STRICT, WITHOUT ROWID"""
_KNOWN = {1: (_META_1, _RECORDS_1), SCHEMA: _TABLES}


@dataclass(frozen=True, slots=True)
class Meta:
    """The head of the store. `commits` is the number of its last commit, `state` why it is out of use."""

    schema: int
    store_id: str
    key_id: str | None
    commits: int
    state: str = ""

    @property
    def checksum(self) -> int:
        return zlib.crc32(repr(astuple(self)).encode())


def create(connection: sqlite3.Connection, store_id: str) -> None:
    """Make the tables, inside a transaction of the caller."""
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES (1, 0, '', NULL, 0, '', 0)")
    write_meta(connection, Meta(SCHEMA, store_id, None, 0))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def read_meta(connection: sqlite3.Connection, location: str) -> Meta:
    """The head as it is now. `Damaged` if it is missing, or if it is not what was written."""
    row = connection.execute("SELECT schema, store_id, key_id, commits, state, checksum FROM meta").fetchone()
    if row is None:
        raise Damaged(f"{location}: a row is missing that every store has")
    meta = Meta(*row[:5])
    if meta.checksum != row[5]:
        raise Damaged(f"{location}: the head of the store was altered (its checksum does not fit)")
    return meta


def write_meta(connection: sqlite3.Connection, meta: Meta) -> None:
    """Put `meta` in the place of the head, inside a transaction of the caller."""
    values = (meta.schema, meta.store_id, meta.key_id, meta.commits, meta.state, meta.checksum)
    assignments = "schema = ?, store_id = ?, key_id = ?, commits = ?, state = ?, checksum = ?"
    connection.execute(f"UPDATE meta SET {assignments}", values)  # noqa: S608  no value is in it


def about(connection: sqlite3.Connection, location: str) -> About:
    """Head and kinds of records, of one moment."""
    connection.execute("BEGIN")
    try:
        meta = read_meta(connection, location)
        kinds = "SELECT substr(name, 1, instr(name || '/', '/') - 1) AS kind, count(*) FROM records GROUP BY kind"
        rows = dict(connection.execute(kinds).fetchall())
    finally:
        connection.execute("COMMIT")
    return About(meta.store_id, meta.key_id, meta.schema, meta.commits, meta.state, rows)


def fill(connection: sqlite3.Connection, meta: Meta, beginning: Meta) -> tuple[Meta, bool] | None:
    """Empty the tables for a store that begins with `beginning`. None if there is one that must be kept."""
    (rows,) = connection.execute("SELECT count(*) FROM (SELECT 1 FROM records LIMIT 1)").fetchone()
    if meta.state != beginning.state and (meta.state or rows):
        return None
    connection.execute("DELETE FROM records")
    connection.execute("DELETE FROM deletions")
    return beginning, True


def load(connection: sqlite3.Connection, meta: Meta, rows: Iterable[Row], gone: Iterable[str]) -> None:
    """Write `rows` as they are and delete `gone`, inside a transaction of the caller."""
    insert = "INSERT OR REPLACE INTO records (name, generation, commit_number, sealed) VALUES (?, ?, ?, ?)"
    connection.executemany(insert, ((row.name, row.generation, meta.commits, row.sealed) for row in rows))
    connection.executemany("DELETE FROM records WHERE name = ?", ((name,) for name in gone))


def version(connection: sqlite3.Connection, location: str) -> int:
    """Which schema the file has: this one or an older one. `Newer` for a newer one, `Damaged` if it is none."""
    row = connection.execute("SELECT schema FROM meta").fetchone()
    if row is None:
        raise Damaged(f"{location}: a row is missing that every store has")
    schema = row[0]
    present = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    fitting = [number for number, tables in _KNOWN.items() if present == {text.strip() for text in tables}]
    if fitting == [SCHEMA]:
        read_meta(connection, location)  # a flipped bit makes no newer version
    if isinstance(schema, int) and schema > SCHEMA:
        raise Newer(f"{location} was written by a newer bearerd (schema {schema}; this one knows {SCHEMA})")
    if fitting != [schema]:
        raise Damaged(f"{location}: its tables are not those of a store of schema {schema}")
    return fitting[0]


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Give an older file the tables of this version, in one transaction, once a copy of it is safe in `PATH.v1`.

    After a kill or a fault the file is as it was, or done.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version(connection, str(path)) == 1:  # else another process was faster
            _keep_copy(path, path.with_name(path.name + ".v1"))
            _from_1(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _from_1(connection: sqlite3.Connection) -> None:
    meta = Meta(*connection.execute("SELECT schema, store_id, key_id, commits FROM meta").fetchone())
    connection.execute("ALTER TABLE records RENAME TO records_1")
    connection.execute("DROP TABLE meta")
    create(connection, meta.store_id)
    # When each row was written last is not known; nobody has asked for what changed after the present commit.
    connection.execute(
        "INSERT INTO records SELECT name, generation, ?, sealed, previous FROM records_1 ORDER BY name", (meta.commits,)
    )
    connection.execute("DROP TABLE records_1")
    write_meta(connection, replace(meta, schema=SCHEMA))


def _keep_copy(path: Path, copy: Path) -> None:
    """Leave what is committed in `path` in `copy`, durably. The caller's transaction keeps writers away.

    A copy that is there already was made by a migration that did not get further; it is replaced when the new one is
    whole.
    """
    draft = copy.with_name(copy.name + ".draft")
    draft.unlink(missing_ok=True)
    descriptor = create_private(draft)
    try:
        with (
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as source,
            contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as target,
        ):
            target.execute("PRAGMA journal_mode = MEMORY")  # a half-written draft is thrown away: no side file
            target.execute("PRAGMA synchronous = OFF")
            source.backup(target)
        sync_data(descriptor)
        draft.replace(copy)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    sync_directory(copy.parent)
