"""The embedded store: its file, its neighbours in other processes, and what it refuses to open."""
# ruff: noqa: ASYNC240  the test's own file calls may block; the product's are watched by blockbuster

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy.store import Damaged, Foreign, Row, StoreError, UnsafeFile
from proxy.store.sealing import Sealer
from proxy.store.sqlite import SQLiteStore
from proxy.store.vault import Vault


@pytest.fixture
def path(state_dir: Path) -> Path:
    return state_dir / "state" / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    made = await SQLiteStore.open(path)
    yield made
    await made.close()


async def alter(path: Path, *statements: str) -> None:
    """Change the closed store behind its back."""

    def work() -> None:
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    await asyncio.to_thread(work)


async def closed_store(path: Path) -> bytes:
    """Make a store with one row, close it, and return the bytes of its file."""
    store = await SQLiteStore.open(path)
    await store.swap("grant/a", expected=0, sealed=b"one" * 3000)
    await store.close()
    return path.read_bytes()


async def refused(path: Path, kind: type[StoreError], reason: str) -> None:
    """Opening fails, names the file, gives the reason, and leaves every byte as it was."""
    before = path.read_bytes()
    with pytest.raises(kind, match=reason) as caught:
        await SQLiteStore.open(path)
    assert str(path) in str(caught.value)
    assert before == path.read_bytes()


async def test_a_store_remembers_itself(path: Path) -> None:
    """Id, key id, rows and commit number are there after it was closed."""
    first = await SQLiteStore.open(path)
    await first.adopt_key("k")
    await first.swap("grant/a", expected=0, sealed=b"one")
    commits = await first.changes()
    await first.close()
    again = await SQLiteStore.open(path)

    assert (first.store_id, "k", commits) == (again.store_id, again.key_id, await again.changes())
    assert Row("grant/a", 1, b"one") == await again.read("grant/a")
    await again.close()


async def test_two_stores_have_two_ids(store: SQLiteStore, state_dir: Path) -> None:
    """A row of one never opens in the other."""
    other = await SQLiteStore.open(state_dir / "other" / "store.db")

    assert store.store_id != other.store_id
    await other.close()


async def test_every_file_is_private_under_any_umask(path: Path) -> None:
    """Database, write-ahead log and index 0600, directory 0700."""
    old = os.umask(0)
    try:
        store = await SQLiteStore.open(path)
        await store.swap("a", expected=0, sealed=b"1")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        await store.close()
    finally:
        os.umask(old)

    assert dict.fromkeys(("store.db", "store.db-wal", "store.db-shm"), 0o600) == modes
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)


async def test_commits_are_synced(store: SQLiteStore) -> None:
    """WAL with synchronous=FULL, and overwritten secrets are not left in free pages."""
    settings = [
        (await store._run(lambda name=name: store._one(f"PRAGMA {name}")))[0]  # type: ignore[misc]
        for name in ("journal_mode", "synchronous", "secure_delete")
    ]

    assert ["wal", 2, 1] == settings


async def test_the_previous_generation_is_kept_sealed(store: SQLiteStore, path: Path) -> None:
    """For a diagnosis only: one generation back, never further."""
    for generation, value in enumerate((b"one", b"two", b"three")):
        await store.swap("grant/a", expected=generation, sealed=value)
    await store.rewrite(lambda row: b"%s/%d" % (row.sealed, row.generation), "k")
    await store.close()

    rows = await asyncio.to_thread(
        lambda: sqlite3.connect(path).execute("SELECT sealed, previous FROM records").fetchall()
    )
    assert [(b"three/3", b"two/2")] == rows


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
    await alter(path, "UPDATE meta SET schema = 2")

    await refused(path, Foreign, "newer bearerd .schema 2; this one knows 1")


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


async def test_another_processs_rekey_stops_our_writes(store: SQLiteStore, path: Path) -> None:
    """A value sealed with the old key must not get in after the key was changed."""
    other = await SQLiteStore.open(path)
    await other.rewrite(lambda row: row.sealed, "new")
    await other.close()

    with pytest.raises(StoreError, match="new master key"):
        await store.swap("a", expected=0, sealed=b"1")


async def test_a_closed_store_says_so(store: SQLiteStore) -> None:
    """Instead of an error of the thread pool."""
    await store.close()

    with pytest.raises(StoreError, match="closed"):
        await store.read("a")


async def test_a_directory_that_cannot_be_made_is_a_store_error(state_dir: Path) -> None:
    """The file system's own reason, one line."""
    (state_dir / "file").touch()

    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        await SQLiteStore.open(state_dir / "file" / "deeper" / "store.db")


COUNTER = """
import asyncio, sys
from pathlib import Path
from proxy.store.sqlite import SQLiteStore

async def main():
    store = await SQLiteStore.open(Path(sys.argv[1]))
    done = 0
    while done < int(sys.argv[2]):
        row = await store.read("counter")
        number = int(row.sealed) if row else 0
        if await store.swap("counter", expected=row.generation if row else 0, sealed=b"%d" % (number + 1)):
            done += 1
            print(done, flush=True)
    await store.close()

asyncio.run(main())
"""


async def count(path: Path, times: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", COUNTER, str(path), str(times), stdout=asyncio.subprocess.PIPE
    )


async def test_two_processes_lose_no_update(path: Path) -> None:
    """Both make the store at once and count together: every swap that was acknowledged is in the sum."""
    processes = [await count(path, 50) for _ in range(2)]
    for process in processes:
        await process.communicate()
    assert [0, 0] == [process.returncode for process in processes]

    store = await SQLiteStore.open(path)
    assert (Row("counter", 100, b"100"), 100) == (await store.read("counter"), await store.changes())
    await store.close()


async def test_a_killed_process_loses_nothing_that_was_acknowledged(path: Path) -> None:
    """kill -9 in the middle of commits: the store opens, with the last acknowledged value or the next."""
    process = await count(path, 100_000)
    assert process.stdout is not None
    for _ in range(20):
        await process.stdout.readline()
    process.kill()
    rest = (await process.stdout.read()).splitlines()
    assert -signal.SIGKILL == await process.wait()

    store = await SQLiteStore.open(path)
    row = await store.read("counter")
    await store.close()
    assert row is not None
    assert 0 <= int(row.sealed) - (int(rest[-1]) if rest else 20) <= 1
