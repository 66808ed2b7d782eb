"""A thread for work that blocks, asked by many at once: one wake-up on either side for all that waits meanwhile.

An executor wakes the event loop for each piece of work. That costs more than a read or a write of a few pages.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Job:
    """A piece of work, who waits for it, and what came of it."""

    work: Callable[[], Any]
    done: "asyncio.Future[Any]"
    result: Any = None
    fault: BaseException | None = None


def _nothing() -> None:
    pass


class Worker:
    """Does what it is asked for, one piece at a time and in turn, in a thread of its own.

    What is asked for while a batch is being done makes the next one. `after` runs in the thread at the end of each
    batch, before anybody hears of it; what it finds is for it to remember. One event loop at a time may ask.
    """

    __slots__ = ("_after", "_busy", "_closed", "_jobs", "_pool")

    def __init__(self, name: str, after: Callable[[], None] = _nothing) -> None:
        self._pool = ThreadPoolExecutor(1, name)
        self._after = after
        self._jobs: list[_Job] = []
        self._busy = self._closed = False

    def ask(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Have `work` done. Whoever stops waiting before its turn has come withdraws it. `RuntimeError` once closed."""
        if self._closed:
            raise RuntimeError("the worker is closed")
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future())
        self._jobs.append(job)
        if not self._busy:
            self._begin(loop)
        return job.done

    async def close(self) -> None:
        """Have done what was asked for, and end the thread. Harmless twice."""
        self._closed = True
        if self._jobs:  # the thread takes them after what it is doing: later nobody could hand them over any more
            self._begin(asyncio.get_running_loop())
        await asyncio.to_thread(self._pool.shutdown)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._jobs, self._busy = self._jobs, [], True
        done = loop.run_in_executor(self._pool, self._do, batch)
        done.add_done_callback(lambda _: self._tell(batch, loop))

    def _do(self, batch: list[_Job]) -> None:
        for job in batch:
            if not job.done.cancelled():
                try:
                    job.result = job.work()
                except BaseException as fault:  # noqa: BLE001  whoever waits gets to know
                    job.fault = fault
        try:
            self._after()
        except BaseException as fault:  # noqa: BLE001  nothing may look as if it had come to a good end
            for job in batch:
                job.fault = job.fault or fault

    def _tell(self, batch: list[_Job], loop: asyncio.AbstractEventLoop) -> None:
        self._busy = False
        if self._jobs:
            self._begin(loop)
        for job in batch:
            if job.done.done():
                continue
            if job.fault is not None:
                job.done.set_exception(job.fault)
            else:
                job.done.set_result(job.result)
