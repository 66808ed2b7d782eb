"""Old files go whole, a record says so first, and `verify` knows the difference to a theft."""

import errno

import pytest

from proxy.audit import record as records
from proxy.audit import retention
from proxy.audit.trail import Trail
from proxy.audit.trailfile import name_of
from proxy.store.disk import MemoryDisk
from tests.audit.trails import DAY, INSTALL, ROOT, HandClock, contents, directory, findings, opened, read, said, vault


async def many_days(disk: MemoryDisk, trail: Trail, clock: HandClock, days: int) -> None:
    """A read a day; the retention looks each time."""
    for _ in range(days):
        trail.put("call", records.call(read()))
        await trail.durable()
        await trail.retire()
        clock.wall += DAY


async def test_only_files_whose_records_are_all_old_go() -> None:
    """Three days are kept of ten; what is left holds, and says up to where the rest is gone."""
    disk, kept, clock = MemoryDisk(), vault(), HandClock()
    async with opened(disk, kept, clock=clock, keep_days=3) as trail:
        await many_days(disk, trail, clock, 10)
    files = await contents(disk, kept)
    assert 5 == len(files), "the three days, the one that is under way, and the one whose end is younger"
    found = await findings(disk, kept)
    assert ([], min(files)) == (found.faults, found.first)
    retired = [fields for fields in await said(disk, kept) if fields["kind"] == "retired"]
    assert min(files) - 1 == retired[-1]["until"]
    assert 1 == len(retired[-1]["files"])


async def test_a_stolen_file_is_no_retired_one() -> None:
    """The oldest that is kept, removed by hand."""
    disk, kept, clock = MemoryDisk(), vault(), HandClock()
    async with opened(disk, kept, clock=clock, keep_days=3) as trail:
        await many_days(disk, trail, clock, 8)
    first = min(await contents(disk, kept))
    disk.remove(await directory(kept) / name_of(first))
    (fault,) = (await findings(disk, kept)).faults
    assert "are missing, and were not retired" in fault.problem


async def test_nothing_goes_before_the_record_is_on_the_disk() -> None:
    """A disk that fails keeps everything; the next look removes it."""
    disk, kept, clock = MemoryDisk(), vault(), HandClock()
    async with opened(disk, kept, clock=clock) as trail:
        await many_days(disk, trail, clock, 5)
        trail.keep_days = 1
        before = set(disk.names(trail.directory))
        disk.fail("datasync", errno.EIO)
        with pytest.raises(OSError, match="Input"):
            await trail.retire()
        assert before <= set(disk.names(trail.directory))
        await trail.retire()
        assert not before <= set(disk.names(trail.directory))
    assert [] == (await findings(disk, kept)).faults


async def test_a_removal_that_was_cut_off_is_finished() -> None:
    """Some files went, the disk failed, the server was killed: the trail holds at each point."""
    disk, kept, clock = MemoryDisk(), vault(), HandClock()
    async with opened(disk, kept, clock=clock) as trail:
        await many_days(disk, trail, clock, 6)
        trail.keep_days = 1
        disk.fail("remove", errno.EIO, after=2)
        with pytest.raises(OSError, match="Input"):
            await trail.retire()
    assert [] == (await findings(disk, kept)).faults
    async with opened(disk, kept, clock=clock, keep_days=1) as trail:
        await trail.retire()
    assert [] == (await findings(disk, kept)).faults


async def test_a_clock_that_jumps_is_not_believed_at_once() -> None:
    """A machine that woke up in 2099 must not throw the trail away: the first look after the jump removes nothing."""
    disk, kept, clock = MemoryDisk(), vault(), HandClock()
    async with opened(disk, kept, clock=clock, keep_days=3) as trail:
        await many_days(disk, trail, clock, 3)
    clock.wall += 70 * 365 * DAY
    trail = Trail(ROOT, kept, INSTALL, files=disk, clock=clock, keep_days=3)
    await trail.open()
    await trail.retire()
    assert 3 == len(await contents(disk, kept))
    trail.put("call", records.call(read()))
    await trail.durable()
    clock.wall += retention.EVERY
    await trail.retire()
    assert 2 == len(await contents(disk, kept)), "the end of the one before the jump is of today"
    await trail.close()
    assert [] == (await findings(disk, kept)).faults


async def test_the_last_file_always_stays() -> None:
    """However old it is: the chain goes on from it."""
    disk, kept, clock = MemoryDisk(), vault(), HandClock()
    async with opened(disk, kept, clock=clock, keep_days=1):
        pass
    where = await directory(kept)
    assert retention.old(disk, where, clock.wall + 1000 * DAY) is None
