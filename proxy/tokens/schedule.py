"""When a grant is renewed, when a person is warned, and how long a failed try waits. Pure; times in seconds."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from proxy.clock import Now
from proxy.tokens.answer import Terms
from proxy.tokens.grant import HOUR, Grant

WARNINGS = (1 / 12, 1 / 48, 1 / 288)  # of the life before its end; of 24 h: 2 h, 30 min and 5 min
_TICK = 0.001  # a timer may come a hair too early


@dataclass(frozen=True, slots=True)
class Plan:
    """When to renew on our own accord, as boot times in seconds. `advisory` may fail; `mandatory` is the last call.

    `born` is when the pair was issued. All but `keep_alive` are infinite for a token that has no end.
    """

    born: float
    advisory: float
    mandatory: float
    keep_alive: float

    def hurried(self, other: "Plan") -> "Plan":
        """Whatever of the two comes first: a wall clock that was set may be right, and must not put anything off."""
        return Plan(
            born=self.born,
            advisory=min(self.advisory, other.advisory),
            mandatory=min(self.mandatory, other.mandatory),
            keep_alive=min(self.keep_alive, other.keep_alive),
        )


def plan(grant: Grant, now: Now, jitter: Callable[[], float], renew_at: float) -> Plan:
    """Spread renewals: `jitter()` gives a number from 0 to 1. For a pair that has just been issued or loaded."""
    # Over the pair's whole life, so that a restart does not start the count anew.
    born = now.boot - max(0.0, now.wall - grant.refreshed)
    spread = 0.9 + 0.2 * jitter()
    mandatory = born + grant.life - min(60.0, grant.life / 5)
    return Plan(
        born=born,
        advisory=min(born + renew_at * grant.life * spread, mandatory),
        mandatory=mandatory,
        keep_alive=born + 12 * HOUR * spread,
    )


@dataclass(frozen=True, slots=True)
class End:
    """When a login ends that only a person can repeat: by either clock, whichever comes first. `life`: from its start.

    `of_login`: it counts from the login, however often tokens are renewed; else it is the access token's.
    """

    at: Now
    life: float
    of_login: bool

    def left(self, now: Now) -> float:
        """Seconds until then; zero or less once it has come."""
        return min(self.at.wall - now.wall, self.at.boot - now.boot)

    def warnings(self, now: Now) -> int:
        """How many of the warnings are due."""
        return sum(self.left(now) <= self.life * part + _TICK for part in WARNINGS)

    def look_in(self, now: Now) -> float:
        """Seconds until the next warning or the end; 0 once it has come."""
        left = self.left(now)
        if left <= 0:
            return 0.0
        ahead = (left - self.life * part for part in WARNINGS)
        return max(_TICK, min((wait for wait in ahead if wait > _TICK), default=left))


def end_of(grant: Grant, terms: Terms, now: Now) -> End | None:
    """The end of a grant that nothing of ours can put off; None if it has none."""
    ends = []
    if grant.access_token is not None and grant.refresh_token is None and not terms.minting:
        ends.append((grant.expires, grant.life, False))
    held = grant.access_token is not None or grant.refresh_token is not None
    if held and terms.life_counts_from == "login" and terms.refresh_token_life is not None and grant.logged_in:
        ends.append((grant.logged_in + terms.refresh_token_life, terms.refresh_token_life, True))
    wall, life, of_login = min(ends, default=(math.inf, math.inf, False))
    if not math.isfinite(wall):
        return None
    # A wall clock that was stepped back must not prolong a login beyond its whole life.
    return End(Now(wall, now.boot + min(wall - now.wall, life)), life, of_login)


def backoff(failures: int, since_first: float, jitter: Callable[[], float]) -> float:
    """Seconds to wait after the `failures`-th failure in a row: 2 s doubled up to 60 s, up to 5 min after half an hour.

    At least half of each step is kept, which holds an endpoint to six tries in the first minute.
    """
    ceiling = 300.0 if since_first > HOUR / 2 else 60.0
    step = min(ceiling, 2.0 ** min(failures, 10))
    return step * (0.5 + 0.5 * jitter())
