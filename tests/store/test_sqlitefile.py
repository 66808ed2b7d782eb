"""The file of the embedded store: what is refused, and left as it is, and how it is written."""
# ruff: noqa: ASYNC240  the test's own file calls may block; the product's are watched by blockbuster

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy.store import Damaged, Foreign, Row, StoreError, UnsafeFile
from proxy.store.sealing import Sealer
from proxy.store.sqlite import SQLiteStore
from proxy.store.vault import Vault
from tests.store.sqlitefiles import alter, closed_store, refused


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    made = await SQLiteStore.open(path)
    yield made
    await made.close()


async def test_commits_are_synced(store: SQLiteStore) -> None:
    """WAL with synchronous=FULL, and overwritten secrets are not left in free pages."""
    settings = [
        (await store._run(lambda name=name: store._file.execute(f"PRAGMA {name}").fetchone()))[0]  # type: ignore[misc]
        for name in ("journal_mode", "synchronous", "secure_delete")
    ]

    assert ["wal", 2, 1] == settings


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("store.db", lambda file: file.chmod(0o644), "chmod 600"),
        ("store.db", lambda file: file.with_name("second").hardlink_to(file), "2 names"),
        ("store.db", lambda file: file.rename(file.with_name("x")).with_name("store.db").symlink_to("x"), "symbolic"),
        ("store.db-wal", lambda file: file.touch(0o644), "chmod 600"),
        ("store.db-journal", lambda file: file.symlink_to("/etc/passwd"), "symbolic"),
        (".", lambda file: file.chmod(0o777), "chmod 700"),
    ],
)
async def test_a_looser_file_is_refused(path: Path, name: str, change: Callable[[Path], object], reason: str) -> None:
    """Database, side files and directory are checked before anything is opened."""
    await closed_store(path)
    change(path.parent / name)

    with pytest.raises(UnsafeFile, match=reason):
        await SQLiteStore.open(path)


async def test_another_programs_database_is_left_alone(path: Path) -> None:
    """Not even its journal mode is changed."""
    path.parent.mkdir(0o700)
    path.touch(0o600)
    await alter(path, "CREATE TABLE bookmarks (url TEXT)")

    await refused(path, Foreign, "another program")


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"{}", bytes(8192)])
async def test_a_file_that_is_no_database_is_left_alone(path: Path, content: bytes) -> None:
    """Text, JSON, zeros."""
    path.parent.mkdir(0o700)
    path.touch(0o600)
    path.write_bytes(content)

    await refused(path, Damaged, "not a database")


async def test_a_newer_store_is_left_alone(path: Path) -> None:
    """The message names both schemas."""
    await closed_store(path)
    await alter(path, "ALTER TABLE meta ADD COLUMN more TEXT", "UPDATE meta SET schema = 3")

    await refused(path, Foreign, "newer bearerd .schema 3; this one knows 2")


@pytest.mark.parametrize("statement", ["DROP TABLE meta", "DELETE FROM meta"])
async def test_a_store_without_its_head_is_damaged(path: Path, statement: str) -> None:
    """Our database, but not whole."""
    await closed_store(path)
    await alter(path, statement)

    await refused(path, Damaged, "meta|a row is missing")


async def test_every_damaged_page_is_noticed(path: Path) -> None:
    """A page of zeros or junk: refused when the store is opened or, inside a value, by its seal."""
    store = await SQLiteStore.open(path)
    sealer = Sealer(bytes(32), store.store_id)
    await Vault(store, sealer).put("grant/a", expected=0, value={"long": "x" * 9000})
    await store.close()
    sound = path.read_bytes()

    for page in range(len(sound) // 4096):
        for junk in (bytes(4096), b"\xa5" * 4096):
            path.write_bytes(sound[: page * 4096] + junk + sound[page * 4096 + 4096 :])
            with pytest.raises(Damaged, match=str(path)):
                await _read_all(path, sealer)


async def _read_all(path: Path, sealer: Sealer) -> None:
    store = await SQLiteStore.open(path)
    try:
        await Vault(store, sealer).entries("")
    finally:
        await store.close()


async def test_a_truncated_store_is_damaged(path: Path) -> None:
    """The second half is gone."""
    sound = await closed_store(path)
    path.write_bytes(sound[: len(sound) // 2])

    await refused(path, Damaged, str(path))


@pytest.mark.parametrize("present", [False, True], ids=["missing", "empty"])
async def test_nothing_is_made_beside_a_journal(path: Path, present: bool) -> None:
    """Where a journal is, there was a store: starting empty would hide its loss."""
    path.parent.mkdir(0o700)
    journal = path.with_name("journal")
    journal.touch()
    if present:
        path.touch(0o600)

    with pytest.raises(Damaged, match="missing or empty"):
        await SQLiteStore.open(path, journal=journal)
    assert present == path.exists()
    assert not present or 0 == path.stat().st_size


async def test_a_whole_store_opens_beside_its_journal(path: Path) -> None:
    """The usual case."""
    await closed_store(path)
    path.with_name("journal").touch()

    store = await SQLiteStore.open(path, journal=path.with_name("journal"))
    assert await store.read("grant/a")
    await store.close()


async def test_a_store_that_was_deleted_takes_no_commit(store: SQLiteStore, path: Path) -> None:
    """SQLite would go on writing to a file without a name."""
    path.unlink()

    with pytest.raises(StoreError, match="deleted or replaced"):
        await store.swap("a", expected=0, sealed=b"1")


async def test_a_commit_waits_for_a_short_lock(store: SQLiteStore, path: Path) -> None:
    """Another process that holds the write lock for a moment delays a commit, and does not fail it."""
    held = await asyncio.to_thread(_hold_write_lock, path)
    async with asyncio.TaskGroup() as group:
        swap = group.create_task(store.swap("a", expected=0, sealed=b"1"))
        await asyncio.sleep(0.05)
        assert not swap.done()
        held.kill()
        held.wait()

    assert 1 == swap.result()


def _hold_write_lock(path: Path) -> "subprocess.Popen[bytes]":
    code = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    return process


async def test_a_directory_that_cannot_be_made_is_a_store_error(state_dir: Path) -> None:
    """The file system's own reason, one line."""
    (state_dir / "file").touch()

    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        await SQLiteStore.open(state_dir / "file" / "deeper" / "store.db")


@pytest.mark.parametrize("directory", ["a b", "100%25", "what?mode=ro", "one#two", "naïve"])
async def test_any_directory_name_will_do(state_dir: Path, directory: str) -> None:
    """SQLite is given an address, in which some characters mean something; also after a kill."""
    path = state_dir / directory / "store.db"
    store = await SQLiteStore.open(path)
    await store.swap("grant/a", expected=0, sealed=b"one")
    again = await SQLiteStore.open(path)  # with commits in the log

    assert Row("grant/a", 1, b"one") == await again.read("grant/a")
    await store.close()
    await again.close()
    assert {"store.db"} == {file.name for file in path.parent.iterdir()}


async def test_a_look_at_a_log_leaves_other_processes_alone(path: Path, store: SQLiteStore) -> None:
    """Opening a store that is in use, and closing it again, takes neither its log nor its locks away."""
    await store.swap("grant/a", expected=0, sealed=b"one")
    for generation in (1, 2, 3):
        await (await SQLiteStore.open(path)).close()
        assert generation + 1 == await store.swap("grant/a", expected=generation, sealed=b"more")

    assert path.with_name("store.db-wal").stat().st_size > 0
    assert Row("grant/a", 4, b"more") == await store.read("grant/a")
