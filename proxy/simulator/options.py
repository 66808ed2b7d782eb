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

    Times are seconds. `callback` is the one redirect address that is registered for the application.
    """

    expires_in: int = 1800
    token_latency: float = 0.0
    slow: float = 3.0  # how long the faults token-slow and api-slow take
    enforce_rate_limits: bool = False
    callback: str = "http://127.0.0.1:8081/callback"
    now: Callable[[], float] = clock
