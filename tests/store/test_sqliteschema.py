"""The tables of the embedded store: a file of the first version is brought up to date, and lost in no way."""

import asyncio
import contextlib
import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.store import Damaged, Foreign, Row, StoreError
from proxy.store.files import create_private
from proxy.store.sealing import Sealer
from proxy.store.sqlite import SQLiteStore
from proxy.store.sqliteschema import Meta
from proxy.store.vault import Vault
from tests.store.sqlitefiles import alter, refused

# What the first version wrote, word by word.
FIRST = (
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
    "PRAGMA application_id = 1651663921",
    "PRAGMA journal_mode = WAL",
)
STORE_ID = "ab" * 16
SEALER = Sealer(bytes(range(32)), STORE_ID)
VALUES = {"grant/a": (3, {"token": "canary"}), "grant/b": (1, {"token": "x" * 5000}), "mark/a": (1, {"reason": "dead"})}
COMMITS = 7


def make_first(path: Path, *, close: bool = True) -> sqlite3.Connection:
    """A store of the first version, closed, or as a killed process leaves it."""
    path.parent.mkdir(0o700, exist_ok=True)
    os.close(create_private(path))
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in FIRST:
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES (1, 1, ?, ?, ?)", (STORE_ID, SEALER.key_id, COMMITS))
    for name, (generation, value) in VALUES.items():
        text = re.sub("'", '"', str(value)).encode()
        previous = SEALER.seal(name, generation - 1, b"{}") if generation > 1 else None
        row = (name, generation, SEALER.seal(name, generation, text), previous)
        connection.execute("INSERT INTO records VALUES (?, ?, ?, ?)", row)
    if close:
        connection.close()
    for side in path.parent.iterdir():
        side.chmod(0o600)
    return connection


def contents(path: Path, head: str = "schema, store_id, key_id, commits") -> tuple[object, ...]:
    """Head and rows as they are in the file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, generation, sealed, previous FROM records ORDER BY name").fetchall()
        return (*connection.execute(f"SELECT {head} FROM meta").fetchone(), rows)  # noqa: S608


async def values(store: SQLiteStore) -> dict[str, tuple[int, dict[str, object]]]:
    entries = await Vault(store, SEALER).entries("")
    return {name: (entry.generation, entry.value) for name, entry in entries}


async def test_an_older_store_is_brought_up_to_date(path: Path) -> None:
    """With everything that is in it, and the tables that a new store has."""
    make_first(path)
    before = contents(path)
    store = await SQLiteStore.open(path)
    assert (STORE_ID, SEALER.key_id, COMMITS) == (store.store_id, store.key_id, await store.changes())
    assert await values(store) == VALUES
    assert 4 == await store.swap("grant/a", expected=3, sealed=b"new")
    assert [Row("grant/a", 4, b"new")] == (await store.changed(COMMITS)).rows
    assert 3 == len((await store.changed(0)).rows)
    await store.close()

    fresh = await SQLiteStore.open(path.with_name("fresh.db"))
    await fresh.close()
    assert tables(path.with_name("fresh.db")) == tables(path)
    assert before == contents(path.with_name("store.db.v1"))
    assert before[-1] != contents(path)[-1]


def tables(path: Path) -> set[tuple[str, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return set(connection.execute("SELECT type, name, sql FROM sqlite_master"))


async def test_values_and_the_generation_before_stay_as_they_are(path: Path) -> None:
    """Bit for bit: they are sealed, and nothing of them is opened."""
    make_first(path)
    before = contents(path)
    await (await SQLiteStore.open(path)).close()

    assert (2, *before[1:]) == contents(path)


async def test_the_copy_is_private_and_made_once(path: Path) -> None:
    """Mode 0600; opening again leaves it alone, and nothing else is left lying about."""
    make_first(path)
    await (await SQLiteStore.open(path)).close()
    copy = path.with_name("store.db.v1")
    status = copy.stat()
    await (await SQLiteStore.open(path)).close()

    assert (0o600, status.st_ino, status.st_mtime_ns) == (
        stat.S_IMODE(status.st_mode),
        copy.stat().st_ino,
        copy.stat().st_mtime_ns,
    )
    assert {"store.db", "store.db.v1"} == {file.name for file in path.parent.iterdir()}


async def test_what_a_killed_process_left_in_the_log_comes_along(path: Path) -> None:
    """The write-ahead log of the older version is read before anything is copied."""
    connection = make_first(path, close=False)
    beside = path.parent.with_name("killed")
    beside.mkdir(0o700)
    for file in path.parent.iterdir():
        os.close(create_private(beside / file.name))
        (beside / file.name).write_bytes(file.read_bytes())
    connection.close()
    assert (beside / "store.db-wal").stat().st_size > 0

    store = await SQLiteStore.open(beside / "store.db")
    assert await values(store) == VALUES
    await store.close()
    assert 3 == len(contents(beside / "store.db.v1")[-1])  # type: ignore[arg-type]


async def test_two_that_open_at_once_migrate_once(path: Path) -> None:
    """The second waits for the first, and finds the work done."""
    make_first(path)
    stores = await asyncio.gather(*(SQLiteStore.open(path) for _ in range(3)))

    for store in stores:
        assert await values(store) == VALUES
        await store.close()
    assert 1 == contents(path.with_name("store.db.v1"))[0]


async def test_what_an_interrupted_migration_left_is_replaced(path: Path) -> None:
    """A half-written draft, and a copy that was whole when the power went."""
    make_first(path)
    for name in ("store.db.v1", "store.db.v1.draft"):
        os.close(create_private(path.with_name(name)))
        path.with_name(name).write_bytes(b"half")
    await (await SQLiteStore.open(path)).close()

    assert 1 == contents(path.with_name("store.db.v1"))[0]
    assert not path.with_name("store.db.v1.draft").exists()


async def test_without_a_copy_nothing_is_changed(path: Path) -> None:
    """The copy cannot take its place: the store says so, and stays as it is."""
    make_first(path)
    path.with_name("store.db.v1").mkdir()

    await refused(path, StoreError, "Is a directory")
    assert 1 == contents(path)[0]


@pytest.mark.parametrize(
    ("statements", "kind", "reason"),
    [
        (("UPDATE meta SET schema = 2",), Damaged, "not those of a store of schema 2"),
        (("UPDATE meta SET schema = 9",), Foreign, "newer bearerd"),
        (("ALTER TABLE records RENAME COLUMN previous TO older",), Damaged, "not those of a store of schema 1"),
        (("CREATE TRIGGER t AFTER DELETE ON meta BEGIN SELECT 1; END",), Damaged, "not those of a store of schema 1"),
        (("PRAGMA writable_schema = ON", "UPDATE sqlite_master SET rootpage = 2"), Damaged, "store.db"),
    ],
    ids=["number", "newer", "column", "trigger", "rotten"],
)
async def test_a_store_that_is_not_what_it_says_is_not_touched(
    path: Path, statements: tuple[str, ...], kind: type[StoreError], reason: str
) -> None:
    """Neither migrated nor copied."""
    make_first(path)
    await alter(path, *statements)

    await refused(path, kind, reason)
    assert not path.with_name("store.db.v1").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET commits = commits + 64",
        "UPDATE meta SET store_id = 'other'",
        "UPDATE meta SET key_id = 'other'",
        "UPDATE meta SET schema = 3",
        "UPDATE meta SET state = 'moved to nowhere'",
    ],
)
async def test_an_altered_head_is_noticed(path: Path, statement: str) -> None:
    """Each of its values: nothing else in the store would tell."""
    await (await SQLiteStore.open(path)).close()
    await alter(path, statement)

    await refused(path, Damaged, "the head of the store was altered")


def test_every_value_of_the_head_is_in_its_checksum() -> None:
    """No two of them can be exchanged, and no text is taken for an absent one."""
    heads = [
        Meta(2, "a", "b", 1, "c"), Meta(3, "a", "b", 1, "c"), Meta(2, "b", "a", 1, "c"), Meta(2, "a", None, 1, "c"),
        Meta(2, "a", "None", 1, "c"), Meta(2, "a", "b", 2, "c"), Meta(2, "a", "c", 1, "b"), Meta(2, "a", "b", 1),
    ]  # fmt: skip

    assert len(heads) == len({head.checksum for head in heads})


# -- the migration, interrupted ---------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from proxy.store.sqlitefile import SQLiteFile

file = SQLiteFile(Path(sys.argv[1]))
file.open(None)
file.close()
"""
CALLS = ("pwrite64", "write", "fsync", "fdatasync", "rename", "unlink", "ftruncate")


def migrate_under(strace: str, path: Path, *options: str) -> str:
    """Migrate in a process of its own under `strace`; what it did."""
    log = path.parent.with_name("strace.log")
    traced = [strace, "-f", "-qq", "-o", str(log), "-e", f"trace={','.join(CALLS)}", *options]
    command = [*traced, sys.executable, "-c", CHILD, str(path)]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False)
    return log.read_text()


def calls_of_a_migration(strace: str, directory: Path) -> list[tuple[str, int]]:
    """Each system call of a migration that goes well, as name and number among those of its name."""
    directory.mkdir(0o700)
    make_first(directory / "store.db")
    names = re.findall(r"^\d+ +(\w+)\(", migrate_under(strace, directory / "store.db"), re.MULTILINE)
    return [(name, names[: index + 1].count(name)) for index, name in enumerate(names)]


async def interrupted(state_dir: Path, strace: str, every: int, injections: tuple[str, ...]) -> dict[str, int]:
    """Migrate with each `every`th call broken; how many stores were found in which version."""
    found = {"calls": 0, "old": 0, "new": 0}
    calls = calls_of_a_migration(strace, state_dir / "whole")
    for turn, (name, number) in enumerate(calls):
        if turn % every:
            continue
        for injection in injections:
            directory = state_dir / f"{turn}-{injection.partition('=')[2]}"
            path = directory / "store.db"
            directory.mkdir(0o700)
            make_first(path)
            option = f"inject={name}:{injection}:when={number}"
            await asyncio.to_thread(migrate_under, strace, path, "-e", option)
            found["calls"] += 1
            found["new" if contents(path)[0] == 2 else "old"] += 1
            if contents(path)[0] == 2:
                assert (1, STORE_ID) == contents(path.with_name("store.db.v1"))[:2], option
            store = await SQLiteStore.open(path)
            assert VALUES == await values(store), option
            assert (STORE_ID, SEALER.key_id, COMMITS) == (store.store_id, store.key_id, await store.changes())
            await store.close()
            assert 1 == contents(path.with_name("store.db.v1"))[0]
    return found


async def test_a_kill_or_a_fault_leaves_a_store_that_opens(state_dir: Path, program: Callable[[str], str]) -> None:
    """Every nineteenth system call of the migration: killed, with a full disk, with a broken one."""
    found = await interrupted(state_dir, program("strace"), 19, ("signal=KILL", "error=ENOSPC", "error=EIO"))

    assert found["old"] > 2
    assert found["new"] > 2


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_every_kill_and_fault_leaves_a_store_that_opens(state_dir: Path, program: Callable[[str], str]) -> None:
    """Every system call of the migration."""
    found = await interrupted(state_dir, program("strace"), 1, ("signal=KILL", "error=ENOSPC", "error=EIO"))
    print(f"migration under strace: {found}")

    assert found["calls"] > 150
