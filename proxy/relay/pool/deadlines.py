"""One timer for all calls that are out, instead of one or two for each: most calls end long before theirs."""

import asyncio
import math
from typing import Protocol

PAUSE = 0.01  # seconds between two sweeps, at least


class Watched(Protocol):
    """Something that must not take for ever."""

    def due(self) -> float:
        """When it will have taken too long, by the loop's clock, as things stand. Infinite while nothing is out."""
        ...

    def expire(self) -> None:
        """It has."""
        ...


class Deadlines:
    """All that is open. The timer stands at the earliest deadline that was known when it was set: `at`."""

    __slots__ = ("_loop", "_open", "_timer", "at")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._open: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.at = math.inf

    def add(self, watched: Watched) -> None:
        """Look at this one too."""
        self._open.add(watched)

    def drop(self, watched: Watched) -> None:
        """No more. Harmless twice."""
        self._open.discard(watched)

    def by(self, due: float) -> None:
        """Something that is looked at is due by then; to be said where that is before `at`."""
        if due < self.at:
            if self._timer is not None:
                self._timer.cancel()
            self.at = due
            self._timer = self._loop.call_at(due, self._sweep)

    def close(self) -> None:
        """Look at nothing any more."""
        self._open.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.at = None, math.inf

    def _sweep(self) -> None:
        self._timer, self.at = None, math.inf
        now, nearest = self._loop.time(), math.inf
        for watched in tuple(self._open):
            due = watched.due()
            if due <= now:
                watched.expire()
            elif due < nearest:
                nearest = due
        if nearest < math.inf:
            self.by(max(nearest, now + PAUSE))
