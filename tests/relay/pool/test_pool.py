"""Which of a grant's connections serves the next call, and which serves none any more."""

import asyncio
from typing import Any, cast

from proxy.brokers.origin import Origin
from proxy.relay.pool.connection import Connection
from proxy.relay.pool.dialling import Route
from proxy.relay.pool.pool import IDLE, SHORTEST_IDLE, Pool, Single


class Line:
    """What a pool asks of a connection."""

    def __init__(self, pool: Pool | Single, since: float, *, unread: bool = False, left: bool = False) -> None:
        self.pool, self.since, self.left = pool, since, left
        self.has_unread = unread
        self.aborted = 0

    def unread(self, _milliseconds: int) -> list[object]:
        return [1] if self.has_unread else []

    def abort(self) -> None:
        self.aborted += 1
        self.pool.gone(cast("Connection", self))


def pool_of(*lines: tuple[float, bool]) -> tuple[Pool, list[Any]]:
    pool = Pool("g", Route(Origin("h", 443)), asyncio.get_running_loop())
    found = [Line(pool, since, unread=unread) for since, unread in lines]
    for line in found:
        pool.add(cast("Connection", line))
        pool.free(cast("Connection", line))
    return pool, found


async def test_the_latest_used_is_used_next() -> None:
    """So that those that are not needed grow old."""
    pool, (old, new) = pool_of((100, False), (101, False))
    assert [new, old, None] == [pool.take(102) for _ in range(3)]
    assert pool.busy
    assert b"h" == pool.host


async def test_one_that_was_idle_for_too_long_is_closed() -> None:
    """The broker may be closing it."""
    pool, lines = pool_of((100, False), (100.1, False))
    assert lines[1] is pool.take(100 + IDLE)
    assert pool.take(100 + IDLE) is None
    assert [1, 0] == [line.aborted for line in lines]


async def test_one_that_has_something_to_say_is_not_used() -> None:
    """It stays for the loop to read; those behind it keep their order."""
    pool, (first, second, third) = pool_of((100, False), (101, True), (102, True))
    assert first is pool.take(103)
    assert [second, third] == pool.idle
    assert pool.take(103) is None
    assert [second, third] == pool.idle


async def test_what_a_broker_was_seen_to_do_is_remembered_for_a_while() -> None:
    """It closes after 8 s: none is kept as long; that is slowly forgotten, and nobody is taken for worse than that."""
    now = asyncio.get_running_loop().time()
    pool, (line,) = pool_of((now - 8, False))
    line.left = True
    pool.gone(cast("Connection", line))
    assert 5 < pool.limit < 7
    limit = pool.limit
    pool.tidy(now)
    assert limit < pool.limit < IDLE
    for _ in range(200):
        pool.tidy(now)
    assert IDLE == pool.limit
    pool, (line,) = pool_of((now, False))
    line.left = True
    pool.gone(cast("Connection", line))
    assert SHORTEST_IDLE == pool.limit


async def test_a_tidy_pool_has_no_old_ones() -> None:
    """Those that are out are left alone."""
    pool, (out, old, young) = pool_of((0, False), (100, False), (110, False))
    pool.idle.remove(cast("Connection", out))
    pool.tidy(100 + IDLE)
    assert [young] == pool.idle
    assert (0, 1) == (out.aborted, old.aborted)
    pool.close()
    assert {out} == pool.open


async def test_a_single_connection_is_closed_behind_its_call() -> None:
    """It serves nobody else."""
    single = Single()
    line = Line(single, 0)
    single.add(cast("Connection", line))
    single.free(cast("Connection", line))
    assert (1, set()) == (line.aborted, single.open)
