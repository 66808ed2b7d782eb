"""The watchdog beside a real loop that is held."""

import asyncio
import re
import sys
import time

import pytest

from proxy.watchdog import BEAT, DEEP, HELD, QUIET, Watchdog, places
from tests.callers import eventually

BOTH_LOOPS = True


def hold(seconds: float) -> None:
    secret = "canary-" + "1" * 20  # noqa: F841  it must not be told
    time.sleep(seconds)


async def test_a_loop_that_is_free_is_hardly_late() -> None:
    """Each beat is told, and the lag is small."""
    beats: list[float] = []
    dog = Watchdog(lambda late, _now: beats.append(late))
    dog.start()
    await asyncio.sleep(0.3)
    dog.stop()

    assert 5 < len(beats) <= 0.3 / BEAT + 1
    assert max(beats) <= dog.lag < HELD
    assert 0 == dog.held


async def test_what_holds_the_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Its place in the code, and for how long; nothing that it works on; and not again for a while."""
    beats: list[float] = []
    dog = Watchdog(lambda late, _now: beats.append(late))
    dog.start()
    await asyncio.sleep(2 * BEAT)
    for _ in range(2):
        hold(HELD + 0.2)
        await asyncio.sleep(2 * BEAT)
    dog.stop()

    (said,) = [each.msg for each in caplog.records if each.name == "watchdog"]
    assert isinstance(said, dict)
    assert "the event loop was held" == said["event"]
    assert HELD <= said["seconds"] <= HELD + 0.5
    assert re.search(rf"test_watchdog\.py:{hold.__code__.co_firstlineno + 2}( → |$)", said["at"])
    assert "canary" not in str(said)
    assert (2, True) == (dog.held, dog.lag >= HELD)
    assert max(beats) < HELD / 2  # it did not work meanwhile: no load of ours


async def test_only_what_the_loop_works_for_is_load() -> None:
    """A loop that has too much to do is late by what it works; one that was not let run is not."""
    beats: list[float] = []
    dog = Watchdog(lambda late, _now: beats.append(late))
    dog.start()
    await asyncio.sleep(2 * BEAT)
    began = time.thread_time()
    while time.thread_time() - began < HELD:
        pass
    await asyncio.sleep(2 * BEAT)
    dog.stop()

    assert HELD - 2 * BEAT <= max(beats) < HELD + 0.2


async def test_it_says_how_often_it_was_silent(caplog: pytest.LogCaptureFixture) -> None:
    """One line in ten seconds, with the number of times."""
    dog = Watchdog()
    dog.start()
    dog.stop()
    for now in (0.0, 1.0, 2.0, QUIET + 1.0):
        dog.tell(HELD, now)

    times = [each.msg["times"] for each in caplog.records if isinstance(each.msg, dict)]
    assert [1, 3] == times


async def test_nothing_is_left_of_it() -> None:
    """Neither a timer nor a thread; and to stop what never began does no harm."""
    Watchdog().stop()
    dog = Watchdog()
    dog.start()
    dog.stop()
    async for _ in eventually(2):
        if not dog.alive:
            break
    assert not dog.alive


def test_a_place_is_told_without_values() -> None:
    """The innermost frames, no more than a few."""

    def deeper(levels: int) -> str:
        return deeper(levels - 1) if levels else places(sys._getframe())

    found = deeper(9).split(" → ")
    assert DEEP == len(found)
    assert all(re.fullmatch(r"test_watchdog\.py:\d+", each) for each in found)
    assert "" == places(None)
