"""How many token requests may be out at one token endpoint, and who is next.

A broker that sees a hundred redeems at once hangs, or takes them for an attack. All grants of one endpoint share a
lane; somebody for whom a client waits goes before what is renewed in the background.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

LIMIT = 8  # token requests at a time, where a definition says nothing


class Turns(Protocol):
    """What a rotation needs of a lane."""

    def turn(self, *, urgent: bool) -> AbstractAsyncContextManager[None]: ...


class Lane:
    """At most `limit` turns at a time; None is no bound. Whoever is cancelled while it waits, or has just been called,
    loses nothing for the others. A `limit` that is changed counts from the next turn on.
    """

    def __init__(self, limit: int | None = LIMIT) -> None:
        self.limit = limit
        self._taken = 0
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._background: deque[asyncio.Future[None]] = deque()

    def __repr__(self) -> str:
        return f"Lane({self._taken} of {self.limit} taken, {len(self._urgent)} urgent and {self.waiting} waiting)"

    @property
    def taken(self) -> int:
        """How many turns are out."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many wait for one, urgent ones included."""
        return len(self._urgent) + len(self._background)

    @asynccontextmanager
    async def turn(self, *, urgent: bool) -> AsyncIterator[None]:
        """Hold one turn within the block. `urgent`: a client waits for what it brings."""
        await self._enter(self._urgent if urgent else self._background)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, queue: "deque[asyncio.Future[None]]") -> None:
        if self._room() and not self.waiting:
            self._taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._call()  # the limit may have been raised
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # it was called in the moment in which it gave up
            elif turn in queue:
                queue.remove(turn)
            raise

    def _leave(self) -> None:
        self._taken -= 1
        self._call()

    def _call(self) -> None:
        """Call in whoever there is room for. The turn is theirs from here on, whenever they get to run."""
        while self.waiting and self._room():
            turn = (self._urgent or self._background).popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)

    def _room(self) -> bool:
        return self.limit is None or self._taken < self.limit


OPEN_LANE = Lane(None)
