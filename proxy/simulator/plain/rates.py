"""A plain broker's rate limit, if it is given one: so many calls in so many seconds, from the first call on.

Told in the headers of the IETF's draft (https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/, up to
its version 07), whose reset counts seconds from now.
"""

import math
from dataclasses import dataclass

from proxy.simulator.listener import Answer

_BODY = b'{"error":"too many requests"}'


@dataclass(frozen=True, slots=True)
class Counted:
    """One counted call: what is left, for how many seconds, and whether it is one too many."""

    limit: int
    remaining: int
    seconds: int
    over: bool

    def headers(self) -> dict[str, str]:
        numbers = {"Limit": self.limit, "Remaining": self.remaining, "Reset": self.seconds}
        return {f"RateLimit-{name}": str(number) for name, number in numbers.items()}

    def refusal(self) -> Answer:
        return Answer(429, _BODY, headers={**self.headers(), "Retry-After": str(self.seconds)})


@dataclass(slots=True)
class RateLimit:
    """The counter of one simulator."""

    ends: float = 0.0  # Unix time
    used: int = 0

    def count(self, now: float, limit: int, length: float) -> Counted:
        """Count one call at Unix time `now`."""
        if now >= self.ends:
            self.ends, self.used = now + length, 0
        self.used += 1
        return Counted(limit, max(0, limit - self.used), max(1, math.ceil(self.ends - now)), self.used > limit)
