"""What a broker knows of its token pairs, kept while others use them: when each was issued, and when it ended.

The simulator's counters are read some 20 times a second. From these it follows when the access token of a pair was
good for certain: from the reading that shows it first, until its life is over, counted from the reading before, or
until the next pair kills it. (Between two pairs that follow each other without a gap there is always one that is good.)
"""

import asyncio
import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.callers import Wire

EVERY = 0.04  # seconds between readings


@dataclass
class Pair:
    """One token pair, by monotonic times in seconds: issued after `after` and until `by`; dead from `dead` on.

    `dark`: until when nobody could have it: its answer was slow (a time), or was lost (infinite).
    """

    after: float
    by: float
    dead: float
    dark: float = 0.0


class Ledger:
    """The pairs of one simulated broker that kills the old access token. `life`: of access tokens, in seconds."""

    def __init__(self, control: str, life: float, broker: str = "questrade") -> None:
        self.pairs: list[Pair] = []
        self.last: dict[str, Any] = {}
        self.darkness: list[tuple[float, float]] = []  # times in which the newest pair was out of everybody's reach
        self._control, self._life, self._broker = control, life, broker
        self._next_dark = 0.0
        self._readings: list[float] = []

    async def keep(self, until: Callable[[], bool]) -> None:
        """Read until told to stop."""
        wire = Wire(self._control)
        last = time.monotonic()
        try:
            while not until():
                asked = time.monotonic()
                reply = await wire.call("GET", "/state")
                assert reply is not None
                found: dict[str, Any] = json.loads(reply.body)[self._broker]
                if self.last and found["rotations"] > self.last["rotations"]:
                    self._issued(last, time.monotonic())
                if self.last and found["reused_refresh_tokens"] > self.last["reused_refresh_tokens"]:
                    self.pairs[-1].dark = math.inf  # nobody who has a pair posts the token before it
                self.last, last = found, asked
                self._readings.append(asked)
                await asyncio.sleep(EVERY)
        finally:
            await wire.close()

    def next_is_dark(self, seconds: float) -> None:
        """The answer that brings the next pair takes so long."""
        self._next_dark = seconds

    def dark(self, since: float, until: float) -> None:
        """Nobody could have the newest pair in between, whatever the broker says of it."""
        self.darkness.append((since, until))

    def _issued(self, after: float, by: float) -> None:
        if self.pairs:
            self.pairs[-1].dead = min(self.pairs[-1].dead, after)
        self.pairs.append(Pair(after, by, after + self._life, by + self._next_dark if self._next_dark else 0.0))
        self._next_dark = 0.0

    def held_since(self, at: float) -> float | None:
        """Since when somebody could have a good access token, without a break until `at`; None: nobody could."""
        since: float | None = None
        end = 0.0
        for pair in self.pairs:
            if pair.after > at:
                break
            begin = max(pair.by, pair.dark)
            if begin >= pair.dead:
                continue  # lost
            # The next pair ended this one: no gap, but for the time in which its answer was on its way.
            follows = since is not None and pair.after <= end and not pair.dark
            since = since if follows else begin
            end = pair.dead
        newest = next((pair for pair in reversed(self.pairs) if pair.after <= at), None)
        if since is None or newest is None or at >= newest.dead or at < max(newest.by, newest.dark):
            return None
        for begin, until in self.darkness:
            if begin <= at and until >= since:
                if until >= at:
                    return None
                since = until
        return since

    def issued(self, since: float, until: float) -> int:
        """How many pairs may have been issued in that time."""
        return sum(pair.by >= since and pair.after <= until for pair in self.pairs)

    def late(self, since: float, until: float) -> float:
        """For how long of that time the machine had no time for us: what readings came late, in all."""
        inside = [at for at in self._readings if since <= at <= until]
        return sum(max(0.0, other - one - 2 * EVERY) for one, other in itertools.pairwise([since, *inside, until]))

    def lit(self, since: float, until: float) -> float:
        """Which part of that time, from 0 to 1, somebody could have a good access token."""
        steps = [since + number * EVERY for number in range(1, int((until - since) / EVERY))]
        return sum(self.held_since(step) is not None for step in steps) / max(1, len(steps))
