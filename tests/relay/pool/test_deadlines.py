"""One timer for many: each expires when it is due, and not before."""

import asyncio
import math

from proxy.relay.pool.deadlines import Deadlines


class Line:
    """Due at a time that may change."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.expired = 0

    def due(self) -> float:
        return self.at

    def expire(self) -> None:
        self.expired += 1
        self.at = math.inf


async def test_each_expires_when_it_is_due() -> None:
    """The later one and the one that has nothing out do not; one that was moved to later is looked at again."""
    loop = asyncio.get_running_loop()
    deadlines, now = Deadlines(loop), loop.time()
    soon, moved, later, idle = Line(now + 0.05), Line(now + 0.05), Line(now + 30), Line(math.inf)
    for line in (soon, moved, later, idle):
        deadlines.add(line)
        deadlines.by(line.due())
    moved.at = now + 0.2
    await asyncio.sleep(0.12)
    assert (1, 0, 0, 0) == (soon.expired, moved.expired, later.expired, idle.expired)
    await asyncio.sleep(0.15)
    assert (1, 1, 0, 0) == (soon.expired, moved.expired, later.expired, idle.expired)
    assert later.at == deadlines.at
    deadlines.close()


async def test_an_earlier_one_moves_the_timer() -> None:
    """One that is dropped does not expire."""
    loop = asyncio.get_running_loop()
    deadlines, now = Deadlines(loop), loop.time()
    later, soon, gone = Line(now + 30), Line(now + 0.03), Line(now + 0.03)
    for line in (later, soon, gone):
        deadlines.add(line)
        deadlines.by(line.due())
    deadlines.drop(gone)
    await asyncio.sleep(0.1)
    assert (0, 1, 0) == (later.expired, soon.expired, gone.expired)
    deadlines.close()
    assert math.inf == deadlines.at
