"""Looks after the event loop: how late it comes to its timers, and what held it where that took long.

Everything that bearerd does goes through one loop. What holds it (a file system that hangs, a pattern that takes for
ever, a machine that is paused) holds every call. A timer tells how late it was; meanwhile a thread looks what the
loop's thread is doing, and notes places in the code, never values.
"""

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, thread_time
from types import FrameType

from proxy import logs

BEAT = 0.025  # seconds from one beat of the loop to the next
HELD = 0.25  # seconds late from which on the log says so
LOOK = 0.1  # seconds from one look of the thread to the next
QUIET = 10.0  # seconds between two lines of the log
DEEP = 4  # frames, the innermost ones
WINDOW = 15.0  # seconds for which the latest beat counts at least

log = logs.get("watchdog")


class Watchdog:
    """Of the loop that runs when it is started.

    `noticed(late, now)` hears of each beat: by how many seconds it was late that the loop has worked,
    and when, on the loop's clock.
    """

    def __init__(self, noticed: Callable[[float, float], None] = lambda _late, _now: None) -> None:
        self.held = 0  # times since the start that the loop was held
        self._noticed = noticed
        self._worst = [0.0, 0.0]  # seconds late at worst: in this window, and in the one before it
        self._window = 0.0
        self._said = -QUIET
        self._missed = 0
        self._where = ""
        self._due = 0.0
        self._beaten = 0.0  # when the last beat was, on the thread's clock
        self._worked = 0.0  # processor time of the loop's thread at the last beat
        self._timer: asyncio.TimerHandle | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._window = self._loop.time()
        self._beaten = monotonic()
        self._worked = thread_time()
        self._next(self._loop.time())
        self._thread = threading.Thread(target=self._look, args=(threading.get_ident(),), name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Harmless twice, and before `start`."""
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def lag(self) -> float:
        """How late the loop was at worst, in seconds, in the last quarter of a minute or somewhat more."""
        return max(self._worst)

    def _next(self, now: float) -> None:
        self._due = now + BEAT
        self._timer = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        now = self._loop.time()
        late = now - self._due
        if now - self._window >= WINDOW:
            self._window = now
            self._worst = [0.0, self._worst[0]]
        self._worst[0] = max(self._worst[0], late)
        if late >= HELD:
            self.tell(late, now)
        self._beaten, self._where = monotonic(), ""
        worked = thread_time()
        # What the loop did not work for, another program has taken: no overload of ours.
        self._noticed(min(late, worked - self._worked), now)
        self._worked = worked
        self._next(now)

    def tell(self, late: float, now: float) -> None:
        """The loop was held for so many seconds until `now`."""
        self.held += 1
        self._missed += 1
        if now - self._said >= QUIET:
            where = self._where or "unknown: the process did not run"
            log.warning("the event loop was held", seconds=round(late, 3), at=where, times=self._missed)
            self._said, self._missed = now, 0

    def _look(self, loop_thread: int) -> None:
        """In a thread of its own: note where the loop's thread is while it is late."""
        while not self._ended.wait(LOOK):
            if monotonic() - self._beaten > BEAT + LOOK:
                self._where = places(sys._current_frames().get(loop_thread))  # noqa: SLF001  the documented way


def places(frame: FrameType | None) -> str:
    """The innermost frames, outermost first: `gateway.py:120 → headers.py:31`. Nothing of their values."""
    found: list[str] = []
    while frame is not None and len(found) < DEEP:
        found.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        frame = frame.f_back
    return " → ".join(reversed(found))
