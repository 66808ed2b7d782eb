"""Who holds which tokens. Refresh tokens are spent by use; a new access token kills the one before it at once."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.simulator.tokens import Standing

MANUAL_LIFE = 7 * 86_400.0  # a refresh token made by hand in the App Hub, seconds
ROTATED_LIFE = 3 * 86_400.0


@dataclass(frozen=True, slots=True)
class Pair:
    """One issued token pair."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)


@dataclass(slots=True)
class _Chain:
    """One authorization that a person gave, at its newest pair."""

    refresh: str = field(repr=False)
    refresh_dies: float
    access: str | None = field(default=None, repr=False)
    access_dies: float = 0.0


def live_like_token() -> str:
    """33 characters of the URL-safe alphabet with a 0 at the end, as seen live."""
    return secrets.token_urlsafe(24) + "0"


def awkward_token() -> str:
    """A token that breaks when it is not percent-encoded: the documentation's own samples hold `+` and `/`."""
    return "+/" + secrets.token_urlsafe(22) + "=0"


class Grants:
    """Every token of one simulator. Times are Unix seconds, lives are seconds."""

    def __init__(self, new_token: Callable[[], str] = live_like_token) -> None:
        self._new_token = new_token
        self._by_refresh: dict[str, _Chain] = {}
        self._by_access: dict[str, _Chain] = {}
        self._newest: _Chain | None = None
        self._spent: set[str] = set()
        self._issued_access: set[str] = set()
        self._owners: dict[str, int] = {}
        self.generation = 0  # pairs issued, a refresh token made by hand among them
        self.rotations = 0
        self.reused = 0

    def manual_token(self, now: float) -> str:
        """A refresh token as the App Hub makes them: no access token comes with it."""
        chain = _Chain(self._new_token(), now + MANUAL_LIFE)
        self._by_refresh[chain.refresh] = self._newest = chain
        self.generation += 1
        return chain.refresh

    def first_pair(self, now: float, life: float) -> Pair:
        """The pair of a new login by authorization code."""
        return self._next_pair(_Chain("", 0.0), now, life)

    def redeem(self, refresh: str, now: float, life: float) -> Pair | None:
        """The next pair for a refresh token; None if it is spent, unknown, revoked or too old."""
        self.reused += refresh in self._spent
        chain = self._by_refresh.get(refresh)
        if chain is None or now >= chain.refresh_dies:
            return None
        self.rotations += 1
        return self._next_pair(chain, now, life)

    def steal(self, now: float, life: float) -> None:
        """Another program redeems the newest grant's refresh token.

        Counts as a pair issued, but neither as a rotation nor as a reuse: those count what came over the wire.
        """
        if self._newest is not None:
            self._next_pair(self._newest, now, life)

    def standing(self, access: str, now: float) -> Standing:
        chain = self._by_access.get(access)
        if chain is not None and now < chain.access_dies:
            return Standing.CURRENT
        return Standing.STALE if access in self._issued_access else Standing.FOREIGN

    def owner(self, access: str) -> object:
        """The authorization that an access token belongs to, now or at any time; None if it is nobody's."""
        return self._owners.get(access)

    def expire(self) -> None:
        """Every access token is dead now; refresh tokens stay good."""
        self._by_access.clear()

    def revoke(self, token: str) -> None:
        """End the grant that this access or refresh token belongs to, if any."""
        chain = self._by_refresh.get(token) or self._by_access.get(token)
        if chain is not None:
            self._by_refresh.pop(chain.refresh, None)
            self._by_access.pop(chain.access or "", None)
            self._newest = None if chain is self._newest else self._newest

    def _next_pair(self, chain: _Chain, now: float, life: float) -> Pair:
        if chain.refresh:
            self._spent.add(chain.refresh)
        self._by_refresh.pop(chain.refresh, None)
        self._by_access.pop(chain.access or "", None)
        chain.access, chain.access_dies = self._new_token(), now + life
        chain.refresh, chain.refresh_dies = self._new_token(), now + ROTATED_LIFE
        self._by_refresh[chain.refresh] = self._by_access[chain.access] = self._newest = chain
        self._issued_access.add(chain.access)
        self._owners[chain.access] = id(chain)
        self.generation += 1
        return Pair(chain.access, chain.refresh)
