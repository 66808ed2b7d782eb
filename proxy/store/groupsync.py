"""One sync for everybody who waits: many writers, one file, as few slow syncs as possible, and no false "durable".

The system reports a failed write-back once, to whichever sync comes next, and forgets about it. Two concurrent syncs
of one file could therefore hand the error about A's bytes to B and tell A that all is well. So syncs run one at a
time, are numbered, and a write counts as durable only if every sync that could have heard about it succeeded.
"""

import asyncio
import errno
from collections.abc import Callable

from proxy.store.worker import Worker


class GroupSync:
    """Writes in a thread of its own, and runs `sync` there for all writes made until it starts."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._worker = Worker("sync", self._settle)
        self._wanted = False  # whether this batch waits for a sync; as the rest, written by the thread alone
        self._ended = self._last_failed = 0
        self._reason: OSError | None = None

    def mark(self) -> int:
        """Take this before a write: the number of the first sync that may report an error about it."""
        return self._ended + 1

    async def write(self, work: Callable[[], None]) -> None:
        """Run `work`, which writes, in the thread, right before a sync; return when what it wrote is durable.

        What `work` raises passes, and hinders no other writer; else as `until`. Whoever stops waiting may have written
        all the same.
        """
        mark = self.mark()

        def write() -> None:
            self._wanted = True
            work()

        await self._worker.ask(write)
        self._check(mark)

    async def until(self, mark: int) -> None:
        """Return when everything written until now is durable.

        `OSError` if it is not, or if a sync since `mark` failed: the write must then be made again, elsewhere.
        Cancelling the wait does not cancel a sync that has begun.
        """
        await self._worker.ask(self._want)
        self._check(mark)

    def soon(self, work: Callable[[], None]) -> "asyncio.Future[None]":
        """Run `work` in the thread, between other people's writes; whether it is durable, nobody waits to know."""
        return self._worker.ask(work)

    async def close(self) -> None:
        """Wait for the sync that runs. No other may be asked for."""
        await self._worker.close()

    def _want(self) -> None:
        self._wanted = True

    def _check(self, mark: int) -> None:
        if self._last_failed >= mark:
            reason = self._reason or OSError("sync failed")
            raise OSError(reason.errno, reason.strerror)

    def _settle(self) -> None:
        if not self._wanted:
            return
        self._wanted = False
        number = self._ended + 1
        try:
            self._sync()
        except OSError as fault:
            self._reason, self._last_failed = fault, number
        except BaseException:  # this batch gets to know by itself, but not whoever wrote before it and asks after it
            self._reason, self._last_failed = OSError(errno.EIO, "a fault of ours"), number
            raise
        finally:
            self._ended = number
