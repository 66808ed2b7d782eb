"""The knobs that every simulated broker has. A broker with more of them has an `Options` of its own, built on this."""

import time
from collections.abc import Callable
from dataclasses import dataclass


def clock() -> float:
    """Unix time."""
    return time.time()  # noqa: TID251  the simulator stands for another machine: it has its own clock


@dataclass(slots=True)
class Options:
    """Not frozen: a test turns these while the simulator runs, and the next request sees it.

    Times are seconds. `callback` is the one redirect address that is registered for the application. `limit` is so many
    calls of each rate category in so many seconds, enforced in place of the broker's own limits.
    """

    expires_in: int = 1800
    token_latency: float = 0.0
    slow: float = 3.0  # how long the faults token-slow and api-slow take
    enforce_rate_limits: bool = False
    limit: tuple[int, float] | None = None
    callback: str = "http://127.0.0.1:8081/callback"
    now: Callable[[], float] = clock

    @property
    def enforces(self) -> bool:
        """Whether calls over a limit are refused."""
        return self.enforce_rate_limits or self.limit is not None

    def rates(self) -> dict[str, object]:
        """What an environment in a configuration says of the limits: nothing, so that the broker's own count, or that
        there are none."""
        return {} if self.enforces else {"rate_limits": "none"}
