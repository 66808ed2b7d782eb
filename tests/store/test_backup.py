"""Backups: what is in one comes back, of one moment; what was altered, cut or mixed does not."""

import asyncio
import errno
import os
import resource
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest

from proxy.store import (
    COPYING,
    PAGE,
    RESTORING,
    Damaged,
    Movable,
    OutOfUse,
    Row,
    Store,
    StoreError,
    out_of_use,
)
from proxy.store.backup import back_up
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from tests.store.backups import KEY, MADE, brought_back, filled, values, write
from tests.store.failing import FailingStore, Fault


@pytest.mark.parametrize("rows", [1, PAGE + 1, 2 * PAGE])
async def test_everything_comes_back(tmp_path: Path, rows: int) -> None:
    """Values, generations, store id, key id and commit number; the new store is in use."""
    store, sealer = await filled(rows)
    summary = await back_up(store, sealer, tmp_path / "file", MADE)
    target = MemoryStore()

    assert summary == await brought_back(tmp_path / "file", target)
    assert (rows, rows + 2) == (summary.rows, summary.commits)
    assert await values(store, sealer) == await values(target, sealer)
    about = await target.about()
    assert (store.store_id, store.key_id, rows + 2, "") == (about.store_id, about.key_id, about.commits, about.state)


async def test_nothing_can_be_read_in_it(tmp_path: Path) -> None:
    """No name and no value; only which store and key it is of."""
    store, sealer = await filled()
    await back_up(store, sealer, tmp_path / "file", MADE)
    data = await asyncio.to_thread((tmp_path / "file").read_bytes)

    assert b"grant" not in data
    assert b"token" not in data
    assert store.store_id.encode() in data
    assert sealer.key_id.encode() in data


async def test_it_is_of_one_moment(tmp_path: Path) -> None:
    """Commits between two pages are in it, whether before or behind the page that is read, and so are deletions."""

    class Busy(MemoryStore):
        async def read_all(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Row]:
            found = await super().read_all(prefix, after=after, limit=limit)
            if after == "":
                await write(self, sealer, "grant/g0000", 2)  # it was just read
                await write(self, sealer, f"grant/g{PAGE:04}", 1)  # it will be
                await write(self, sealer, "grant/a", 0)
                assert await self.swap("grant/g0001", expected=1, sealed=None) is not None
            return found

    store = Busy()
    sealer = Sealer(KEY, store.store_id)
    await store.adopt_key(sealer.key_id)
    for number in range(PAGE + 1):
        await write(store, sealer, f"grant/g{number:04}", 0)
    await write(store, sealer, "grant/g0000", 1)
    summary = await back_up(store, sealer, tmp_path / "file", MADE)
    target = MemoryStore()

    assert await brought_back(tmp_path / "file", target) == summary
    assert await MemoryStore.read_all(store, "") != []
    assert {row.name: row.generation for row in await MemoryStore.read_all(store, "")} == {
        row.name: row.generation for row in await target.read_all("")
    }
    assert await store.changes() == summary.commits


async def test_it_is_of_one_moment_while_others_write(pair: tuple[Store, Store], tmp_path: Path) -> None:
    """In stores of every kind. Another process writes two records in turn, the first and the last that are read."""
    ours, theirs = cast("Movable", pair[0]), cast("Movable", pair[1])
    sealer = Sealer(KEY, ours.store_id)
    await ours.adopt_key(sealer.key_id)
    assert await ours.turn("", COPYING)
    names = ["a", *(f"g{number:04}" for number in range(PAGE)), "z"]
    await ours.load([Row(name, 1, sealer.seal(name, 1, b"{}")) for name in names])
    assert await ours.turn(COPYING, "")
    await theirs.adopt_key(sealer.key_id)
    begun = await ours.changes()
    done = False

    async def write_on() -> None:
        generation = 1
        while not done:
            for name in ("a", "z"):
                sealed = sealer.seal(name, generation + 1, b"{}")
                assert await theirs.swap(name, expected=generation, sealed=sealed) == generation + 1
                await asyncio.sleep(0)
            generation += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(write_on())
        summaries = [await back_up(ours, sealer, tmp_path / f"{number}", MADE) for number in range(3)]
        done = True
    for number, summary in enumerate(summaries):
        target = MemoryStore()
        assert summary == await brought_back(tmp_path / f"{number}", target)
        first, *_, last = await target.read_all("")
        assert first.generation - last.generation in (0, 1)
        assert begun + (first.generation - 1) + (last.generation - 1) == summary.commits
    assert summaries[0].commits < summaries[2].commits


async def test_more_commits_meanwhile_than_one_answer_holds(tmp_path: Path) -> None:
    """All of them are in it."""

    class Busy(MemoryStore):
        done = False

        async def read_all(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Row]:
            found = await super().read_all(prefix, after=after, limit=limit)
            if not self.done:
                self.done = True
                for number in range(2, 1200):
                    await write(self, sealer, f"grant/g{number:04}", 0)
                await write(self, sealer, "grant/g0000", 1)
            return found

    store = Busy()
    sealer = Sealer(KEY, store.store_id)
    await store.adopt_key(sealer.key_id)
    await write(store, sealer, "grant/g0000", 0)

    assert 1199 == (await back_up(store, sealer, tmp_path / "file", MADE)).rows
    target = MemoryStore()
    await brought_back(tmp_path / "file", target)
    row = await target.read("grant/g0000")  # the last that was written, and the first that was read
    assert row is not None
    assert 2 == row.generation


async def test_a_damaged_store_makes_no_backup(tmp_path: Path) -> None:
    """One record that cannot be opened: an error that names it, and no file."""
    store, sealer = await filled()
    await store.swap("grant/bad", expected=0, sealed=b"\x01" + bytes(4096))

    with pytest.raises(StoreError, match=r"memory: record 'grant/bad'"):
        await back_up(store, sealer, tmp_path / "file", MADE)
    assert [] == await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


async def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    """Unless it is to be replaced; then it is whole or the old one."""
    store, sealer = await filled()
    file = tmp_path / "file"
    await asyncio.to_thread(file.write_bytes, b"old")

    with pytest.raises(StoreError, match="exists already"):
        await back_up(store, sealer, file, MADE)
    assert await asyncio.to_thread(file.read_bytes) == b"old"
    await back_up(store, sealer, file, MADE, replace=True)
    assert await brought_back(file, MemoryStore())


async def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """0600, whatever the umask; a draft of a killed run is no obstacle."""
    store, sealer = await filled()
    await asyncio.to_thread((tmp_path / "file.draft").write_bytes, b"half")
    before = os.umask(0)
    try:
        await back_up(store, sealer, tmp_path / "file", MADE)
    finally:
        os.umask(before)
    status = await asyncio.to_thread((tmp_path / "file").stat)

    assert 0o600 == stat.S_IMODE(status.st_mode)
    assert ["file"] == await asyncio.to_thread(lambda: [each.name for each in tmp_path.iterdir()])


async def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """The message has the system's word, and no half file stands there."""
    store, sealer = await filled(400)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(StoreError, match=os.strerror(errno.EFBIG)):
            await back_up(store, sealer, tmp_path / "file", MADE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [] == await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    with pytest.raises(StoreError, match=os.strerror(errno.ENOENT)):
        await back_up(store, sealer, tmp_path / "none/file", MADE)


async def test_a_store_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """None, and its rows are what they were."""
    store, sealer = await filled()
    await back_up(store, sealer, tmp_path / "file", MADE)
    target, other = await filled(1)
    before = await values(target, other)

    assert await brought_back(tmp_path / "file", target) is None
    assert before == await values(target, other)


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
async def test_a_restore_that_fails_anywhere_can_be_repeated(tmp_path: Path, late: bool) -> None:
    """At each call of the store: out of use until then, and whole after the second try."""
    store, sealer = await filled(PAGE + 1)
    await back_up(store, sealer, tmp_path / "file", MADE)
    for at in range(1, 8):
        target = FailingStore()
        target.fault = fault = Fault(at=at, late=late)
        try:
            await brought_back(tmp_path / "file", target)
            assert at == 7  # fill, three loads, one look and the turn
        except StoreError:
            assert at < 7
        target.fault = Fault()
        about = await target.about()
        assert about.state == RESTORING or not about.rows or fault.calls >= 6
        if about.state == RESTORING or not about.rows:
            assert await brought_back(tmp_path / "file", target) is not None
        assert await values(store, sealer) == await values(target, sealer)


async def test_a_store_that_loses_a_row_does_not_come_into_use(tmp_path: Path) -> None:
    """What it holds in the end is counted."""

    class Losing(MemoryStore):
        async def load(self, rows: Iterable[Row], gone: Iterable[str] = ()) -> None:
            await super().load(list(rows)[1:], gone)

    store, sealer = await filled()
    await back_up(store, sealer, tmp_path / "file", MADE)
    target = Losing()

    with pytest.raises(Damaged, match="holds 2 records after the restore, and the backup has 3"):
        await brought_back(tmp_path / "file", target)
    assert RESTORING == (await target.about()).state


def test_a_half_restored_store_says_how_it_goes_on() -> None:
    """Whoever opens it for use is told."""
    with pytest.raises(OutOfUse, match=r"a restore into /s.* is not finished") as caught:
        raise out_of_use("/s.db", RESTORING)
    assert caught.value.fix == "bearerd store restore FILE"
