"""Alpaca's rate limit: calls a minute, told in headers with every answer, enforced only on request.

https://alpaca.markets/support/usage-limit-api-calls
"""

import math
from dataclasses import dataclass

MINUTE = 60


@dataclass(frozen=True, slots=True)
class Counted:
    """One counted call: what the headers tell, and whether it is one too many. `reset` is Unix time."""

    limit: int
    remaining: int
    reset: int
    over: bool

    def headers(self) -> dict[str, str]:
        numbers = {"Limit": self.limit, "Remaining": self.remaining, "Reset": self.reset}
        return {f"X-RateLimit-{name}": str(number) for name, number in numbers.items()}


@dataclass(slots=True)
class RateLimit:
    """The counter of one host. Without `enforce` nothing is refused, and `remaining` never says 0."""

    minute: int = 0
    used: int = 0

    def count(self, now: float, limit: int, *, enforce: bool, length: float = MINUTE) -> Counted:
        """Count one call at Unix time `now`; `limit` calls pass in `length` seconds."""
        minute = int(now // length)
        if self.minute != minute:
            self.minute, self.used = minute, 0
        self.used += 1
        left = limit - self.used
        # A 0 would tell a well-behaved client to stop where nothing stops it.
        return Counted(limit, max(0 if enforce else 1, left), math.ceil((minute + 1) * length), enforce and left < 0)
