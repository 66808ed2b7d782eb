"""One sync for many waiters, and no false "durable"."""

import asyncio
import contextlib
import errno
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from proxy.store.groupsync import GroupSync


class Device:
    """Counts syncs, holds them up, and fails those whose numbers are listed."""

    def __init__(self) -> None:
        self.count = 0
        self.failing: set[int] = set()
        self.started, self.go = threading.Event(), threading.Event()
        self.go.set()

    def sync(self) -> None:
        self.count += 1
        number = self.count
        self.started.set()
        assert self.go.wait(5)
        if number in self.failing:
            raise OSError(errno.EIO, "Input/output error")


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
async def group(device: Device) -> AsyncIterator[GroupSync]:
    made = GroupSync(device.sync)
    yield made
    device.go.set()
    await made.close()


async def reached(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


async def test_many_waiters_share_a_sync(group: GroupSync, device: Device) -> None:
    """64 writers that come while a sync runs need one more, not 64."""
    device.go.clear()
    first = asyncio.gather(group.until(group.mark()))
    await reached(device.started.is_set)
    rest = asyncio.gather(*(group.until(group.mark()) for _ in range(64)))
    await asyncio.sleep(0.01)
    device.go.set()
    await first
    await rest

    assert 2 == device.count


async def test_a_write_during_a_sync_waits_for_the_next(group: GroupSync, device: Device) -> None:
    """The sync that already runs may have missed it."""
    device.go.clear()
    first = asyncio.gather(group.until(group.mark()))
    await reached(device.started.is_set)
    late = asyncio.gather(group.until(group.mark()))
    await asyncio.sleep(0.01)
    assert not late.done()
    device.go.set()
    await first
    await late

    assert 2 == device.count


async def test_the_failure_of_a_running_sync_reaches_who_wrote_meanwhile(group: GroupSync, device: Device) -> None:
    """The system tells of a lost page once, and it may tell the sync before ours: ours succeeding proves nothing."""
    device.failing = {1}
    device.go.clear()
    first = asyncio.gather(group.until(group.mark()), return_exceptions=True)
    await reached(device.started.is_set)
    late = asyncio.gather(group.until(group.mark()), return_exceptions=True)
    await asyncio.sleep(0.01)
    device.go.set()

    assert [OSError, OSError] == [type((await each)[0]) for each in (first, late)]
    assert 2 == device.count


async def test_a_write_after_a_failure_starts_afresh(group: GroupSync, device: Device) -> None:
    """What is written and marked after the failed sync is judged by the next one alone."""
    device.failing = {1}
    old = group.mark()
    with pytest.raises(OSError, match="Input/output"):
        await group.until(old)
    await group.until(group.mark())

    with pytest.raises(OSError, match="Input/output"):
        await group.until(old)


async def test_cancelling_a_waiter_leaves_the_sync_to_the_others(group: GroupSync, device: Device) -> None:
    """A wait that times out takes nothing from anybody else."""
    device.go.clear()
    mark = group.mark()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(group.until(mark), 0.01)
    other = asyncio.gather(group.until(mark))
    await asyncio.sleep(0)
    device.go.set()
    await other

    assert device.count <= 2


async def together(group: GroupSync, device: Device, works: list[Callable[[], None]]) -> list[int | None]:
    """Give the group these writes while its first sync runs, so that they share the second; what errors they got."""
    device.go.clear()
    first = asyncio.gather(group.until(group.mark()))
    await reached(device.started.is_set)
    rest = asyncio.gather(*(group.write(work) for work in works), return_exceptions=True)
    await asyncio.sleep(0.01)
    assert not rest.done()
    device.go.set()
    with contextlib.suppress(OSError):  # a sync that fails before it has looked is told to it, too
        await first
    results = await rest
    assert 2 == device.count
    return [getattr(result, "errno", None) for result in results]


async def test_writes_are_made_right_before_the_sync_that_they_share(group: GroupSync, device: Device) -> None:
    """None waits for a sync that began before it was made, and none is made after its sync."""
    counts: list[int] = []  # how many syncs had begun at each write

    def work() -> None:
        counts.append(device.count)

    assert [None] * 64 == await together(group, device, [work] * 64)
    assert [1] * 64 == counts


async def test_a_write_that_fails_hinders_no_other(group: GroupSync, device: Device) -> None:
    """Its own writer gets the error as it is."""

    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    done: list[int] = []
    works = [lambda: done.append(1), fail, lambda: done.append(3)]
    assert [None, errno.ENOSPC, None] == await together(group, device, works)
    assert [1, 3] == done


async def test_no_write_is_durable_if_its_sync_failed(group: GroupSync, device: Device) -> None:
    """Every writer of that sync is told; those after it are not."""
    device.failing = {2}
    assert [errno.EIO] * 3 == await together(group, device, [lambda: None] * 3)
    await group.write(lambda: None)


async def test_a_write_whose_writer_leaves_before_its_turn_is_withdrawn(group: GroupSync, device: Device) -> None:
    """Nobody would hear of it; the others' writes are made, and synced."""
    done: list[int] = []
    device.go.clear()
    first = asyncio.gather(group.until(group.mark()))
    await reached(device.started.is_set)
    leaving = asyncio.gather(group.write(lambda: done.append(1)))
    staying = asyncio.gather(group.write(lambda: done.append(2)))
    await asyncio.sleep(0.01)
    leaving.cancel()
    device.go.set()
    await first
    await staying

    assert [2] == done


async def test_a_sync_that_fails_in_an_odd_way_counts_as_failed_for_what_was_written_before() -> None:
    """Whoever asks only after a later sync was fine must not take that one's word for it."""
    faults: list[Exception] = [ArithmeticError()]

    def sync() -> None:
        if faults:
            raise faults.pop()

    group = GroupSync(sync)
    early = group.mark()
    with pytest.raises(ArithmeticError):
        await group.until(early)
    with pytest.raises(OSError, match="fault"):
        await group.until(early)
    await group.until(group.mark())
    await group.close()
