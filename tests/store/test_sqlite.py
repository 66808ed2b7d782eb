"""The embedded store, where it is more than its contract: its files, and its neighbours in other processes."""
# ruff: noqa: ASYNC240  the test's own file calls may block; the product's are watched by blockbuster

import asyncio
import contextlib
import os
import signal
import sqlite3
import stat
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.store import Row, StoreError
from proxy.store.files import create_private
from proxy.store.sqlite import SQLiteStore
from tests.store.sqlitefiles import closed_store


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    made = await SQLiteStore.open(path)
    yield made
    await made.close()


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


async def test_the_previous_generation_is_kept_sealed(store: SQLiteStore, path: Path) -> None:
    """For a diagnosis only: one generation back, never further."""
    for generation, value in enumerate((b"one", b"two", b"three")):
        await store.swap("grant/a", expected=generation, sealed=value)
    await store.rewrite(lambda row: b"%s/%d" % (row.sealed, row.generation), "k")
    await store.close()

    def kept() -> list[tuple[bytes, bytes]]:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return connection.execute("SELECT sealed, previous FROM records").fetchall()

    assert [(b"three/3", b"two/2")] == await asyncio.to_thread(kept)


async def test_a_closed_store_says_so(store: SQLiteStore) -> None:
    """Instead of an error of the thread pool."""
    await store.close()

    with pytest.raises(StoreError, match="closed"):
        await store.read("a")


async def test_its_place_is_the_file_itself(path: Path, state_dir: Path) -> None:
    """The inode: it stays when the store is opened again, and a copy has another one."""
    await closed_store(path)
    twin = path.with_name("copy.db")
    os.close(create_private(twin))
    twin.write_bytes(path.read_bytes())
    places = []
    for file in (path, path, twin):
        store = await SQLiteStore.open(file)
        places.append(store.place)
        await store.close()

    assert [f"inode {path.stat().st_ino}"] * 2 + [f"inode {twin.stat().st_ino}"] == places


async def test_swaps_that_wait_share_a_transaction(store: SQLiteStore) -> None:
    """Each has a commit number and an answer of its own, in the order in which they were asked for."""
    await store.swap("a", expected=0, sealed=b"1")
    before, go = await syncs(store), threading.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(store._run(go.wait))  # all of them come while the worker is busy
        swaps = [
            group.create_task(store.swap(name, expected=expected, sealed=sealed))
            for name, expected, sealed in (
                ("a", 1, b"2"), ("a", 1, b"late"), ("a", 2, b"3"), ("b", 0, b"1"), ("b", 1, None), ("none", 3, None),
                *((f"n{number}", 0, b"1") for number in range(90)),
            )
        ]  # fmt: skip
        await asyncio.sleep(0.01)
        go.set()
    moved = [swap.result() for swap in swaps]

    assert [2, None, 3, 1, 2, None, *[1] * 90] == moved
    assert 1 + 94 == await store.changes()
    assert ([Row("a", 3, b"3")], ["b"]) == ((await store.changed(1)).rows[:1], (await store.changed(1)).gone)
    assert 1 == await syncs(store) - before


async def syncs(store: SQLiteStore) -> int:
    """How many transactions with something in them there were: SQLite counts them for us in the shared index."""
    data = await asyncio.to_thread(lambda: store.path.with_name("store.db-shm").read_bytes())
    return int.from_bytes(data[8:12], sys.byteorder)


async def test_swaps_that_fail_together_all_say_so(store: SQLiteStore, path: Path) -> None:
    """None of them is taken for written."""
    path.unlink()
    faults = await asyncio.gather(
        *(store.swap(f"n{number}", expected=0, sealed=b"1") for number in range(5)), return_exceptions=True
    )

    assert [f"{path} was deleted or replaced while it was open; restart bearerd"] * 5 == [
        str(fault) for fault in faults
    ]


async def test_a_swap_that_was_given_up_does_not_get_in_later(store: SQLiteStore) -> None:
    """Cancelled while another call keeps the worker busy: the next swap does not take it along."""
    go = threading.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(store._run(go.wait))
        given_up = group.create_task(store.swap("a", expected=0, sealed=b"1"))
        await asyncio.sleep(0.01)
        given_up.cancel()
        await asyncio.sleep(0)
        go.set()

    assert 1 == await store.swap("b", expected=0, sealed=b"1")
    assert await store.read("a") is None


async def test_a_rewrite_goes_through_many_rows(store: SQLiteStore) -> None:
    """Every row once, whatever page it is in."""
    await asyncio.gather(*(store.swap(f"n{number:04d}", expected=0, sealed=b"%d" % number) for number in range(1203)))

    assert 1203 == await store.rewrite(lambda row: row.sealed + b"!", "k")
    assert [b"%d!" % number for number in range(1203)] == [row.sealed for row in await store.read_all("")]


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
