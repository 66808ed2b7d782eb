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
        # As `Now(...)` makes it, but without the detour of a frozen class: several of them are made for each call.
        now = _new(Now)
        _set_wall(now, time.time())  # noqa: TID251  the one place
        _set_boot(now, time.clock_gettime(self._boot_clock))
        return now


_new = object.__new__
_set_wall, _set_boot = (Now.__dict__[name].__set__ for name in ("wall", "boot"))
