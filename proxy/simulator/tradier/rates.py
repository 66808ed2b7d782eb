"""Tradier's rate limits (documented): a minute for each token and bucket, from its first call on.

Counted for every call, enforced only on request. `X-Ratelimit-Expiry` is in milliseconds, as documented.
"""

from dataclasses import dataclass, field

from proxy.simulator.listener import TEXT, Answer

LIMITS = {"standard": 120, "market": 120, "trading": 60}  # bucket → calls a minute, live
WINDOW = 60.0


@dataclass(slots=True)
class _Window:
    ends: float = 0.0  # Unix time
    used: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """One counted call. `ends` is Unix time; `over` says that it was one too many."""

    allowed: int
    used: int
    available: int
    ends: float
    over: bool

    def headers(self) -> dict[str, str]:
        return {
            "X-Ratelimit-Allowed": str(self.allowed),
            "X-Ratelimit-Used": str(self.used),
            "X-Ratelimit-Available": str(self.available),
            "X-Ratelimit-Expiry": str(_milliseconds(self.ends)),
        }

    def refusal(self) -> Answer:
        """429. Public clients read the start of the text and the number at its end; the words between are not known."""
        text = f"Quota Violation: more than {self.allowed} calls a minute. Expiry: {_milliseconds(self.ends)}"
        return Answer(429, text.encode(), TEXT, self.headers())


@dataclass(slots=True)
class RateLimits:
    """The counters of one simulator. Without `enforce` nothing is refused, and `available` never says 0.

    `limit`: so many calls in so many seconds, in place of all others.
    """

    enforce: bool = False
    limit: tuple[int, float] | None = None
    _windows: dict[tuple[str, str], _Window] = field(default_factory=dict, repr=False)

    def count(self, token: str, bucket: str, now: float) -> Counted:
        """Count one call with `token` at Unix time `now`."""
        allowed, length = self.limit or (LIMITS[bucket], WINDOW)
        window = self._windows.setdefault((token, bucket), _Window())
        if now >= window.ends:
            window.ends, window.used = now + length, 0
        window.used += 1
        over = self.enforce and window.used > allowed
        # A 0 would tell a well-behaved client to stop where nothing stops it.
        available = max(0 if self.enforce else 1, allowed - window.used)
        return Counted(allowed, min(window.used, allowed), available, window.ends, over)

    def exhausted(self, bucket: str, now: float) -> Counted:
        """What a call over the limit looks like."""
        return Counted(LIMITS[bucket], LIMITS[bucket], 0, now + WINDOW, over=True)


def _milliseconds(moment: float) -> int:
    return int(moment * 1000)
