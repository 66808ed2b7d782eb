"""Time, as a value that is passed in. The only place that reads a clock."""

import time
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Now:
    """One reading of both clocks, in seconds.

    `wall` is Unix time: it survives a restart but may be stepped. `boot` counts on through suspend and is never
    stepped, but means nothing after a reboot. What must not happen too late is judged by the earlier of the two.
    """

    wall: float
    boot: float


class Clock(Protocol):
    """Where `Now` comes from: `SystemClock` in the server, a hand-moved one in tests."""

    def now(self) -> Now: ...


class SystemClock:
    """The machine's clocks."""

    # CLOCK_MONOTONIC stops while a laptop sleeps on Linux; a token's life does not.
    _boot_clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> Now:
        return Now(wall=time.time(), boot=time.clock_gettime(self._boot_clock))  # noqa: TID251  the one place
