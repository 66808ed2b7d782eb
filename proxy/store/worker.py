"""A thread for work that blocks, asked by many at once: one wake-up on either side for all that waits meanwhile.

An executor wakes its thread and the event loop for each piece of work. That costs more than a read or a write of a few
pages. Here the thread goes on by itself as long as there is something to do: under load nobody wakes it at all.
"""

import asyncio
import contextlib
import threading
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

    __slots__ = ("_after", "_begins", "_busy", "_closed", "_hand", "_jobs", "_pool")

    def __init__(self, name: str, after: Callable[[], None] = _nothing) -> None:
        self._pool = ThreadPoolExecutor(1, name)
        self._after = after
        self._hand = threading.Lock()  # for the two below: held for no longer than it takes to exchange them
        self._jobs: list[_Job] = []
        self._busy = False  # whether the thread will look at them again
        self._begins: asyncio.Handle | None = None
        self._closed = False

    def ask(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Have `work` done. Whoever stops waiting before its turn has come withdraws it. `RuntimeError` once closed."""
        if self._closed:
            raise RuntimeError("the worker is closed")
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future())
        with self._hand:
            self._jobs.append(job)
            idle, self._busy = not self._busy, True
        if idle:  # what others ask for in this turn of the loop comes along
            self._begins = loop.call_soon(self._begin, loop)
        return job.done

    async def close(self) -> None:
        """Have done what was asked for, and end the thread. Harmless twice."""
        self._closed = True
        if self._begins is not None:
            self._begins.cancel()
            self._begin(asyncio.get_running_loop())
        await asyncio.to_thread(self._pool.shutdown)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._begins = None
        _ = loop.run_in_executor(self._pool, self._run, loop)

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while batch := self._take():
            self._do(batch)
            with contextlib.suppress(RuntimeError):  # the event loop was closed meanwhile: nobody waits
                loop.call_soon_threadsafe(_tell, batch)

    def _take(self) -> list[_Job]:
        with self._hand:
            batch, self._jobs = self._jobs, []
            self._busy = bool(batch)
        return batch

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


def _tell(batch: list[_Job]) -> None:
    for job in batch:
        if job.done.done():
            continue
        if job.fault is not None:
            job.done.set_exception(job.fault)
        else:
            job.done.set_result(job.result)
