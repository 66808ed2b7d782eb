"""The embedded store with 100,000 grants: what opening, reading and writing cost then."""

import asyncio
import os
import resource
import time
from pathlib import Path

import pytest

from proxy.store import COPYING, Row
from proxy.store.sqlite import SQLiteStore

GRANTS = 100_000
SIZE = 4165  # bytes of a sealed record


def name(number: int) -> str:
    return f"grant/alpaca/user-{number:06d}"


async def filled(path: Path) -> None:
    store = await SQLiteStore.open(path)
    await store.fill(store_id="s", key_id="k", commits=1, state=COPYING)
    for start in range(0, GRANTS, 2000):
        await store.load([Row(name(number), 1, os.urandom(SIZE)) for number in range(start, start + 2000)])
    await store.turn(COPYING, "")
    await store.close()


async def cpu_of_swaps(store: SQLiteStore, *, at_once: int, start: int, count: int = 2000) -> float:
    """Seconds of CPU time a swap, in all threads and the kernel."""
    sealed = os.urandom(SIZE)
    before = time.process_time()
    for first in range(start, start + count, at_once):
        numbers = [(number * 7919) % GRANTS for number in range(first, first + at_once)]
        moved = await asyncio.gather(*(store.swap(name(number), expected=1, sealed=sealed) for number in numbers))
        assert {2} == set(moved)
    return (time.process_time() - before) / count


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_hundred_thousand_grants(state_dir: Path) -> None:
    """Open within a second, all of them read without having them all in memory, a swap for little CPU time."""
    path = state_dir / "state" / "store.db"
    await filled(path)
    begin = time.perf_counter()
    store = await SQLiteStore.open(path)
    opening = time.perf_counter() - begin

    memory, seen, after, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0, "", time.perf_counter()
    while page := await store.read_all("grant/", after=after, limit=1000):
        seen, after = seen + len(page), page[-1].name
    scan = time.perf_counter() - begin
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024

    alone = await cpu_of_swaps(store, at_once=1, start=0)
    together = await cpu_of_swaps(store, at_once=100, start=2000)
    await store.close()
    print(
        f"{GRANTS} grants: open {opening * 1e3:.1f} ms, scan {scan:.2f} s and {grown:.0f} MiB, "
        f"swap {alone * 1e6:.0f} µs CPU alone, {together * 1e6:.0f} µs in hundreds"
    )

    assert (GRANTS, True) == (seen, opening < 1.0)
    assert grown < 40
    assert together < 300e-6
