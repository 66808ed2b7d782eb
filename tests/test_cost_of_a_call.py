"""What one small read costs, counted: a guard against what creeps in. The bounds leave room for a third more.

When one is met, find out what the call does now that it did not do before; `docs/speed.md` says what belongs there.
"""

import statistics
from collections.abc import Callable

import pytest

from tests.counting import counted, kept_blocks
from tests.lab import Lab, running
from tests.wire import Visit, Wire

TARGET = "/lab/v1/accounts"
BODY = b'{"accounts": [' + b'{"number": "26598145", "type": "Margin", "status": "Active"},' * 5 + b"{}]}"
WARM, CALLS = 30, 60
# Functions called for one read: those written in Python, and those in C. As measured, on uvloop and on asyncio's loop.
USUAL = {
    "express": {"uvloop": (79, 60), "asyncio": (97, 80)},
    "pool": {"uvloop": (324, 294), "asyncio": (368, 320)},
    "aiohttp": {"uvloop": (523, 365), "asyncio": (631, 413)},
}


async def _answer(visit: Visit) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    await visit.write(head + BODY)  # in one piece, so that nothing hangs on how it is cut


async def _call(lab: Lab, wire: Wire) -> None:
    await wire.send(lab.request("GET", TARGET))
    reply = await wire.reply()
    assert (200, BODY) == (reply.status, reply.body)


@pytest.mark.parametrize("engine", sorted(USUAL))
async def test_a_read_calls_no_more_functions_than_it_did(
    engine: str, request: pytest.FixtureRequest, figure: Callable[[object], None]
) -> None:
    """The median of 60 calls on one connection, with everything at hand."""
    found: list[tuple[int, int]] = []
    async with running(engine=engine) as lab, lab.connect() as wire:
        lab.broker.script = [_answer] * (WARM + CALLS)
        for _ in range(WARM):
            await _call(lab, wire)
        for _ in range(CALLS):
            with counted() as calls:
                await _call(lab, wire)
            found.append((calls.python, calls.c))
        assert (engine == "express") == (lab.lane.taken >= CALLS)
    python, c = (statistics.median(column) for column in zip(*found, strict=True))
    figure(f"one read, {engine}: {python:.0f} functions in Python, {c:.0f} in C")

    usual = USUAL[engine][request.config.getoption("--loop")]
    assert (python <= usual[0] * 4 / 3, c <= usual[1] * 4 / 3) == (True, True)


async def test_a_read_leaves_nothing_in_memory(figure: Callable[[object], None]) -> None:
    """Of a thousand calls, less than one block of memory each: what is kept of one is kept once, or thrown away."""
    count = 1000
    async with running(engine="express") as lab, lab.connect() as wire:

        async def round_of(calls: int) -> int:
            lab.broker.script = [_answer] * calls
            for _ in range(calls):
                await _call(lab, wire)
            await lab.trail.durable()
            lab.broker.visits.clear()
            return kept_blocks()

        before = await round_of(200)
        each = (await round_of(count) - before) / count
    figure(f"one read leaves {each:.2f} blocks of memory")

    assert each < 1
