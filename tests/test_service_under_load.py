"""Reloads and stops while clients call in every way: no call fails that a client could not have seen coming."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.busy import MOUNT, Busy, busy, called
from tests.callers import eventually

Figure = Callable[[object], None]

VARIANTS: list[Mapping[str, Any]] = [
    {"mounts": {"own": MOUNT, "second": MOUNT | {"grant": "own", "port": 0}}},
    {"limits": {"body_bytes": 4711, "in_flight_per_client": 900}},
    {"clients": {"bot": {"own": ["read", "trade"]}}},
    {},
]


async def reload_often(place: Busy, times: int) -> None:
    """By command, each of which takes something else away or brings it back."""
    for number in range(times):
        await asyncio.to_thread(place.write, VARIANTS[number % len(VARIANTS)])
        answer = await place.command("reload")
        assert answer["changes"], answer
        await asyncio.sleep(0.05)


def loaded(place: Busy) -> int:
    return place.server.err.count('"configuration reloaded"')


async def reloads(directory: Path, workers: int, times: int, figure: Figure) -> None:
    async with busy(directory, workers) as place:
        async with called(place) as seen:
            await reload_often(place, times)
            for number in range(3):
                await asyncio.to_thread(place.write, VARIANTS[number])
                place.server.send_signal(signal.SIGHUP)
                async for _ in eventually(10):
                    if loaded(place) > times + number:
                        break
            await asyncio.sleep(0.1)
        figure(f"{times + 3} reloads, {workers} processes that serve: {seen}")
        assert times + 3 == loaded(place)
        assert ([], 0, {}) == (seen.others, seen.refused, dict(seen.codes))
        assert {"kept", "new", "polls", "orders", "socket", "feed"} == seen.good.keys()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
async def test_reloads_fail_no_call(state_dir: Path, workers: int, figure: Figure) -> None:
    """Kept and new connections, long polls, orders, a socket and a stream go on; what is in force is the last."""
    await reloads(state_dir, workers, 5, figure)


@pytest.mark.soak
@pytest.mark.parametrize("workers", [1, 2])
async def test_forty_reloads_fail_no_call(state_dir: Path, workers: int, figure: Figure) -> None:
    """The same for longer."""
    await reloads(state_dir, workers, 40, figure)


async def stop(directory: Path, workers: int, drain_delay: float, figure: Figure) -> None:
    """SIGTERM under load; whoever looks at /readyz sends nobody there any more."""
    async with busy(directory, workers, drain_delay=drain_delay) as place:
        place.patient = True
        async with called(place) as seen:
            place.server.send_signal(signal.SIGTERM)
            await asyncio.wait_for(place.not_ready(), 5)
            before = seen.good.total()
            await asyncio.sleep(drain_delay / 2)
            assert seen.good.total() > before, "until the delay is over everybody is served"
        assert 0 == await asyncio.to_thread(place.server.end, 15)
        figure(f"a stop with a delay of {drain_delay} s, {workers} processes that serve: {seen}")
        assert ([], {1001: 1}) == (seen.others, dict(seen.codes))
        assert place.broker["/v1/orders"] == seen.good["orders"]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
async def test_a_stop_behind_a_balancer_fails_no_call(state_dir: Path, workers: int, figure: Figure) -> None:
    """Not ready first; each answer ends its connection; what is inside ends, sockets with 1001; exit 0."""
    await stop(state_dir, workers, 0.4, figure)


NOTHING_SENT = {"None", "(503, 'draining')", "ConnectionResetError", "BrokenPipeError"}


@pytest.mark.soak
@pytest.mark.parametrize("workers", [1, 2])
async def test_whoever_calls_on_in_a_stop_is_told_that_nothing_was_sent(
    state_dir: Path, workers: int, figure: Figure
) -> None:
    """Without a delay and a balancer: calls that came too late fail before they were sent; no order is lost."""
    async with busy(state_dir, workers) as place:
        place.patient = True
        async with called(place) as seen:
            place.server.send_signal(signal.SIGTERM)
            assert 0 == await asyncio.to_thread(place.server.end, 15)
        words = Counter(text.partition(": ")[2] for text in seen.others)
        figure(f"a stop without a delay, {workers} processes that serve: {seen} {dict(words)}")
        assert words.keys() <= NOTHING_SENT
        assert place.broker["/v1/orders"] == seen.good["orders"]
