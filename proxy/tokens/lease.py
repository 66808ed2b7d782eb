"""The right to spend a grant's token in a store that several processes share: a lease, renewed while it is needed.

What it is worth is judged by our own boot clock, from the moment at which it was last asked for: the store may have
answered late, and its clock may be another.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from proxy import logs
from proxy.clock import Clock
from proxy.store import Held, StoreError
from proxy.tokens.book import Book

TTL = 60.0
ENOUGH = 35.0  # seconds that must be left when a token is posted, which takes 30 s at most
_AGAIN = 5.0  # seconds until a renewal that failed is tried again

log = logs.get("tokens")


class Tenure:
    """A lease that is held. `left` is infinite where nobody shares the store."""

    __slots__ = ("_book", "_clock", "_noted_until", "_until")

    def __init__(self, book: Book, clock: Clock, until: float) -> None:
        """Not for callers: use `tenure`."""
        self._book = book
        self._clock = clock
        self._until = until
        self._noted_until = math.inf

    @property
    def left(self) -> float:
        """Seconds for which nobody else can spend, even if no renewal gets through any more."""
        return min(self._until, self._noted_until) - self._clock.now().boot

    async def note_spending(self, generation: int) -> bool:
        """Tell those who share the row; False if the lease is lost, or the row has moved. `StoreError`."""
        if not self._book.shared:
            return True
        self._noted_until = self._clock.now().boot + TTL
        return await self._book.note_spending(generation, TTL)

    async def renew(self) -> Held | None:
        """Acquire or renew; whose it is otherwise. `StoreError`."""
        asked = self._clock.now().boot
        held = await self._book.lease(TTL)
        self._until = asked + TTL if held is None else -math.inf
        return held

    async def keep_up(self) -> None:
        """Renew every third of its time, until cancelled or lost. Never raises: a token request may be out."""
        pause = TTL / 3
        while True:
            await asyncio.sleep(pause)
            try:
                if await self.renew() is not None:
                    log.error("another process has taken over the right to spend a token")
                    return
                pause = TTL / 3
            except StoreError as error:
                log.warning("the right to spend a token could not be renewed", reason=str(error))
                pause = _AGAIN
            except Exception as error:  # noqa: BLE001  it would cancel the request
                log.error("a lease is not renewed by a fault of ours", error=type(error).__name__)
                return


@asynccontextmanager
async def tenure(book: Book, clock: Clock) -> AsyncIterator[Tenure | Held]:
    """Hold the right to spend within the block, or learn who has it. `StoreError` if the store cannot tell."""
    if not book.shared:
        yield Tenure(book, clock, math.inf)
        return
    mine = Tenure(book, clock, -math.inf)
    held = await mine.renew()
    if held is not None:
        yield held
        return
    fault: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(mine.keep_up())
            try:
                yield mine
            except Exception as error:  # noqa: BLE001  a task group would wrap it
                fault = error
            finally:
                renewing.cancel()
    finally:
        with suppress(StoreError):  # then it ends by itself
            await book.release()
    if fault is not None:
        raise fault
