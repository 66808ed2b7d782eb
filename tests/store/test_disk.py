"""The disk that breaks on request: it must be as nasty as a real one, or the tests on it prove nothing."""

import errno
import time
from pathlib import Path

import pytest

from proxy.store import StoreLocked
from proxy.store.disk import MemoryDisk

PATH = Path("/state/file")


def test_what_was_written_is_read() -> None:
    """Writes are visible at once, at their offset, with zeros before it."""
    disk = MemoryDisk()
    file = disk.create(PATH)
    assert 3 == disk.pwrite(file, b"abc", 2)

    assert (b"\0\0abc", 5) == (disk.pread(file, 100, 0), disk.size(file))
    assert b"\0\0abc" == disk.content(PATH)


def test_a_kill_keeps_what_a_power_loss_may_drop() -> None:
    """The page cache survives the process, not the machine."""
    disk = MemoryDisk()
    file = disk.create(PATH)
    disk.pwrite(file, b"a", 0)
    disk.datasync(file)
    disk.pwrite(file, b"b", 0)

    assert b"b" == disk.after_kill().content(PATH)
    assert {b"a", b"b"} == {left.content(PATH) for left in disk.after_power_loss()}


def test_a_power_loss_may_keep_any_part_of_what_was_not_synced() -> None:
    """Each subset of two writes, and torn sectors of one."""
    disk = MemoryDisk()
    file = disk.create(PATH)
    disk.pwrite(file, bytes(8192), 0)
    disk.datasync(file)
    disk.pwrite(file, b"a" * 4096, 0)
    disk.pwrite(file, b"b" * 4096, 4096)

    left = {each.content(PATH) for each in disk.after_power_loss()}
    whole = {a + b for a in (bytes(4096), b"a" * 4096) for b in (bytes(4096), b"b" * 4096)}
    assert whole <= left
    assert b"a" * 512 + bytes(7680) in left


def test_many_lost_writes_are_tried_as_prefixes_and_gaps() -> None:
    """The number of outcomes grows with the number of writes, not with its power of two."""
    disk = MemoryDisk()
    file = disk.create(PATH)
    disk.pwrite(file, b"x" * 4096 * 20, 0)

    outcomes = [left.content(PATH) for left in disk.after_power_loss()]
    assert len(outcomes) < 200
    assert b"x" * 4096 * 7 in outcomes
    assert bytes(4096) + b"x" * 4096 * 19 in outcomes


def test_a_failed_sync_loses_its_writes_for_good() -> None:
    """They stay readable, and a sync that succeeds afterwards does not save them."""
    disk = MemoryDisk()
    file = disk.create(PATH)
    disk.pwrite(file, b"a", 0)
    disk.fail("datasync", errno.EIO)

    with pytest.raises(OSError, match="Input/output"):
        disk.datasync(file)
    disk.datasync(file)
    assert b"a" == disk.content(PATH)
    assert {b""} == {left.content(PATH) for left in disk.after_power_loss()}


def test_faults_come_when_they_were_ordered() -> None:
    """After so many good calls, for so many times, until the disk is healed."""
    disk = MemoryDisk()
    file = disk.create(PATH)
    disk.fail("pwrite", errno.ENOSPC, times=2, after=1)
    disk.pwrite(file, b"ok", 0)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            disk.pwrite(file, b"no", 0)
    disk.pwrite(file, b"OK", 0)
    disk.fail("pwrite", errno.EIO)
    disk.short = 1
    disk.heal()

    assert 3 == disk.pwrite(file, b"end", 0)
    assert 5 == disk.calls["pwrite"]


def test_syncs_can_be_slow() -> None:
    """`sync_seconds` stands for a real disk on a machine whose own is too fast."""
    disk = MemoryDisk()
    file = disk.create(PATH)
    disk.sync_seconds = 0.005
    start = time.perf_counter()
    disk.datasync(file)

    assert time.perf_counter() - start >= 0.005


def test_a_lock_is_held_until_it_is_closed() -> None:
    """And by nobody after a kill."""
    disk = MemoryDisk()
    held = disk.lock(PATH)
    with pytest.raises(StoreLocked):
        disk.lock(PATH)
    disk.after_kill().lock(PATH)
    disk.close(held)

    disk.lock(PATH)


def test_a_file_that_is_not_there_is_not_found() -> None:
    """Opening does not create; a removed file is gone, a replaced one has the new contents."""
    disk = MemoryDisk()
    with pytest.raises(FileNotFoundError):
        disk.open(PATH)
    disk.pwrite(disk.create(PATH.with_name("draft")), b"new", 0)
    disk.replace(PATH.with_name("draft"), PATH)
    assert b"new" == disk.content(PATH)

    disk.remove(PATH)
    with pytest.raises(FileNotFoundError):
        disk.open(PATH)


def test_damage_is_seen_by_every_reader() -> None:
    """Bit rot changes what is durable."""
    disk = MemoryDisk()
    disk.create(PATH)
    disk.damage(PATH, 1, b"x")

    assert b"\0x" == disk.content(PATH)
