"""One sync for everybody who waits: many writers, one file, as few slow syncs as possible, and no false "durable".

The system reports a failed write-back once, to whichever sync comes next, and forgets about it. Two concurrent syncs
of one file could therefore hand the error about A's bytes to B and tell A that all is well. So syncs run one at a
time, are numbered, and a write counts as durable only if every sync that could have heard about it succeeded.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Write:
    """A write that waits for the thread, and what hindered it."""

    work: Callable[[], None]
    fault: Exception | None = None


class GroupSync:
    """Runs `sync` in a thread of its own, for all writes made until it starts."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._pool = ThreadPoolExecutor(1, "sync")
        self._writes: deque[_Write] = deque()
        self._asked = 0  # number of the last sync that was asked for; written by the event loop alone
        self._asked_for: asyncio.Future[None] | None = None
        self._begun = self._ended = self._last_failed = 0  # written by the thread alone
        self._reason: OSError | None = None

    def mark(self) -> int:
        """Take this before a write: the number of the first sync that may report an error about it."""
        return self._ended + 1

    async def write(self, work: Callable[[], None]) -> None:
        """Run `work`, which writes, in the thread, right before a sync; return when what it wrote is durable.

        What `work` raises passes, and hinders no other writer; else as `until`, after a cancellation too.
        """
        mark, write = self.mark(), _Write(work)
        # First this, then `until` looks at which sync has begun: that one takes all writes which it finds after that.
        self._writes.append(write)
        await self.until(mark)
        if write.fault is not None:
            raise write.fault

    async def until(self, mark: int) -> None:
        """Return when everything written until now is durable.

        `OSError` if it is not, or if a sync since `mark` failed: the write must then be made again, elsewhere.
        Cancelling the wait does not cancel the sync.
        """
        needed = self._begun + 1  # whatever begins from now on covers what was written until now
        if self._asked < needed or self._asked_for is None:
            self._asked, self._asked_for = needed, asyncio.wrap_future(self._pool.submit(self._run))
        await asyncio.shield(self._asked_for)
        if self._last_failed >= mark:
            reason = self._reason or OSError("sync failed")
            raise OSError(reason.errno, reason.strerror)

    async def close(self) -> None:
        """Wait for the sync that runs. No other may be asked for."""
        await asyncio.to_thread(self._pool.shutdown)

    def _run(self) -> None:
        self._begun = number = self._begun + 1
        try:
            while self._writes:
                self._make(self._writes.popleft())
            self._sync()
        except OSError as fault:
            self._reason, self._last_failed = fault, number
        finally:
            self._ended = number

    @staticmethod
    def _make(write: _Write) -> None:
        try:
            write.work()
        except Exception as fault:  # noqa: BLE001  its own writer gets to know
            write.fault = fault
