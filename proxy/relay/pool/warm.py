"""Keeps a connection ready for each grant that was used lately, so that its next call need not wait for one.

A client that calls once a minute would else pay for TCP and TLS each time: more than everything else that we do.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from proxy.outbound import NotSent
from proxy.relay.pool.pool import IDLE, Pool

GRANTS = 64  # the most recently used ones
WARM_FOR = 900.0  # seconds after a grant's last call
AHEAD = 3.0  # seconds before the broker's idle limit: then another one is dialled
PAUSE = 1.0  # seconds between two looks
RETRY = 10.0  # seconds after a failure, of which the next call will tell
SHORTEST = 2 * AHEAD  # seconds: with a broker that closes sooner, nothing is worth keeping

Dial = Callable[[Pool], Awaitable[None]]


def lacking(pools: Iterable[Pool], now: float) -> list[Pool]:
    """Those that should have a connection ready, and have none that will last."""
    recent = sorted((pool for pool in pools if now - pool.used < WARM_FOR), key=lambda pool: -pool.used)
    # After a reload the way to the same origin may be another: the latest one counts.
    chosen = {(pool.grant, pool.route.origin): pool for pool in reversed(recent)}
    wanted = sorted(chosen.values(), key=lambda pool: -pool.used)[:GRANTS]
    return [
        pool
        for pool in wanted
        if pool.limit >= min(SHORTEST, IDLE)
        and not pool.dialling
        and now >= pool.retry
        and not any(now - each.since < pool.limit - AHEAD for each in pool.idle)
    ]


async def keep_warm(pools: Callable[[], Iterable[Pool]], dial: Dial) -> None:
    """Until it is cancelled."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        while True:
            for pool in lacking(pools(), loop.time()):
                pool.dialling = True
                group.create_task(_ready(pool, dial, loop))
            await asyncio.sleep(PAUSE)


async def _ready(pool: Pool, dial: Dial, loop: asyncio.AbstractEventLoop) -> None:
    try:
        with suppress(NotSent):
            await dial(pool)
            return
        pool.retry = loop.time() + RETRY
    finally:
        pool.dialling = False
