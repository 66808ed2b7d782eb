"""Counts the calls that use a grant's token, holds new ones back while it is exchanged, and wakes who waits."""

import asyncio
from collections.abc import Callable


class Turnstile:
    """Of one grant. While it is not `open`, nobody may be lent a token.

    `closing` is told just before calls in flight are waited for, `opened` when a token may be lent again, or another:
    for those who lend it elsewhere.
    """

    __slots__ = ("_changed", "_lent", "_waiting", "closing", "open", "opened")

    def __init__(self) -> None:
        self.open = True
        self.closing: Callable[[], None] | None = None
        self.opened: Callable[[], None] | None = None
        self._lent = 0
        self._waiting = 0
        self._changed: asyncio.Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a pair is lent out."""
        return self._lent > 0

    @property
    def wanted(self) -> bool:
        """Whether a call waits for a pair."""
        return self._waiting > 0

    def lend(self) -> None:
        self._lent += 1

    def give_back(self) -> None:
        self._lent -= 1
        if self._lent == 0 and not self.open:
            self.tell()

    def tell(self) -> None:
        """Something changed: whoever waits looks again."""
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    def reopen(self) -> None:
        self.open = True
        self.tell()
        if self.opened is not None:
            self.opened()

    async def change(self, deadline: float) -> bool:
        """As a call that needs a pair: wait for the next `tell()` until `deadline` (loop time); False if none came."""
        self._waiting += 1
        try:
            return await self._next(deadline)
        finally:
            self._waiting -= 1

    async def _next(self, deadline: float) -> bool:
        loop = asyncio.get_running_loop()
        if self._changed is None:
            self._changed = loop.create_future()
        left = deadline - loop.time()
        if left <= 0:
            return False
        # Not wait_for: whoever gives up must not cancel what the others wait for.
        done, _ = await asyncio.wait((self._changed,), timeout=left)
        return bool(done)

    async def drain(self, seconds: float) -> None:
        """Hold new calls back and wait, for at most `seconds`, until those in flight have ended."""
        self.open = False
        if self.closing is not None:
            self.closing()
        deadline = asyncio.get_running_loop().time() + seconds
        while self._lent and await self._next(deadline):
            pass
