"""The knobs of a simulated Questrade."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

SCOPES = frozenset({"read_acc", "read_md", "trade"})


class Shape(StrEnum):
    """How a token answer writes `api_server`; all three are documented, `slash` is what is seen live."""

    SLASH = "slash"
    BARE = "bare"
    V1 = "v1"


def clock() -> float:
    """Unix time."""
    return time.time()  # noqa: TID251  the simulator stands for another machine: it has its own clock


@dataclass(slots=True)
class Options:
    """Not frozen: a test turns these while the simulator runs, and the next request sees it.

    Times are seconds. A personal app, as most people have, is `scopes={"read_acc", "read_md"}`.
    `reserved_characters` makes tokens with `+` and `/`, which must be percent-encoded; live ones have none.
    """

    expires_in: int = 1800
    token_latency: float = 0.0
    slow: float = 3.0  # how long the faults token-slow and api-slow take
    shape: Shape = Shape.SLASH
    scopes: frozenset[str] = SCOPES
    enforce_rate_limits: bool = False
    reserved_characters: bool = False
    now: Callable[[], float] = clock
