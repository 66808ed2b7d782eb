"""Questrade's rate limits: counted for every limited call, enforced only on request.

The headers follow the hourly counter, as they do live; the limit of one second shows only as a 429.
"""

import math
from dataclasses import dataclass, field

LIMITS = {"account": (30, 30_000), "market": (20, 15_000)}  # category → calls a second, calls an hour
HOUR = 3600


@dataclass(slots=True)
class _Window:
    second: int = 0
    in_second: int = 0
    hour: int = 0
    in_hour: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """One counted call: the values of both headers, and whether it is one too many."""

    remaining: int
    reset: int
    over: bool

    def headers(self) -> dict[str, str]:
        return {"X-RateLimit-Remaining": str(self.remaining), "X-RateLimit-Reset": str(self.reset)}


@dataclass(slots=True)
class RateLimits:
    """The counters of one simulator. Without `enforce` nothing is refused, and `remaining` never says 0.

    `limit`: so many calls in so many seconds, in place of all others.
    """

    enforce: bool = False
    limit: tuple[int, float] | None = None
    _windows: dict[str, _Window] = field(default_factory=lambda: {category: _Window() for category in LIMITS})

    def count(self, category: str, now: float) -> Counted:
        """Count one call of `category` at Unix time `now`."""
        window, (per_second, per_hour), length = self._windows[category], LIMITS[category], float(HOUR)
        if self.limit is not None:
            (per_hour, length), per_second = self.limit, self.limit[0]
        second, hour = int(now), int(now // length)
        if window.second != second:
            window.second, window.in_second = second, 0
        if window.hour != hour:
            window.hour, window.in_hour = hour, 0
        window.in_second += 1
        window.in_hour += 1
        left = per_hour - window.in_hour
        over = self.enforce and (left < 0 or window.in_second > per_second)
        # A 0 would tell a well-behaved client to stop where nothing stops it.
        remaining = max(0 if self.enforce else 1, left)
        reset = second + 1 if over and left >= 0 else math.ceil((hour + 1) * length)
        return Counted(remaining, reset, over)
