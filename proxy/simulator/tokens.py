"""Who holds which tokens of a simulated OAuth broker: access tokens, refresh tokens, and what became of them."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Standing(StrEnum):
    """What an access token is worth."""

    CURRENT = "current"
    STALE = "stale"
    FOREIGN = "foreign"


KINDS = (*(standing.value for standing in Standing), "none")  # what `authorizations` of a state counts


@dataclass(frozen=True, slots=True)
class Rules:
    """How a broker treats its tokens. `refresh_life` is in seconds, None: no end.

    - `rotates`: a refresh spends the refresh token and answers with a new one; else it is good again and again;
    - `kills_old`: a refresh ends the access token before it at once;
    - `life_from_login`: the refresh token's life counts from the login, whatever is rotated; else from its issue.
    """

    refresh_life: float | None = None
    rotates: bool = True
    kills_old: bool = True
    life_from_login: bool = False


@dataclass(frozen=True, slots=True)
class Issued:
    """One token answer: what it is good for, and for whom. `refresh` is None where none comes with it."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    client_id: str = ""
    scopes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Chain:
    """One authorization, at its newest tokens. A time of None is no end."""

    newest: Issued
    access_dies: float | None
    refresh_dies: float | None


class Tokens:
    """Every token of one simulator. Times are Unix seconds, lives are seconds; a life of None has no end."""

    def __init__(self, rules: Rules, new_token: Callable[[], str] = lambda: secrets.token_urlsafe(24)) -> None:
        self._rules = rules
        self._new_token = new_token
        self._by_refresh: dict[str, _Chain] = {}
        self._by_access: dict[str, tuple[Issued, float | None]] = {}
        self._newest: _Chain | None = None
        self._spent: set[str] = set()
        self._issued_access: set[str] = set()
        self._minted_for: set[str] = set()
        self.generation = 0  # token answers issued
        self.rotations = 0  # those issued for a refresh or a re-mint
        self.reused = 0  # refreshes with a token that was spent

    def login(
        self, client_id: str, scopes: tuple[str, ...], now: float, life: float | None, *, refreshable: bool = True
    ) -> Issued:
        """The first tokens of a new authorization."""
        refresh = self._new_token() if refreshable else None
        issued = self._issue(Issued(self._new_token(), refresh, client_id, scopes), now, life)
        end = None if self._rules.refresh_life is None else now + self._rules.refresh_life
        self._keep(_Chain(issued, None if life is None else now + life, end))
        return issued

    def mint(self, client_id: str, scopes: tuple[str, ...], now: float, life: float | None) -> Issued:
        """An access token for client credentials. From a client's second on it counts as a rotation."""
        self.rotations += client_id in self._minted_for
        self._minted_for.add(client_id)
        issued = self._issue(Issued(self._new_token(), None, client_id, scopes), now, life)
        self._newest = _Chain(issued, None if life is None else now + life, None)
        return issued

    def redeem(self, refresh: str, client_id: str, now: float, life: float | None) -> Issued | None:
        """The next tokens for a refresh token; None if it is spent, unknown, revoked, too old or another client's."""
        self.reused += refresh in self._spent
        chain = self._by_refresh.get(refresh)
        if chain is None or client_id != chain.newest.client_id:
            return None
        if chain.refresh_dies is not None and now >= chain.refresh_dies:
            return None
        self.rotations += 1
        return self._renew(chain, now, life)

    def steal(self, now: float, life: float | None) -> bool:
        """Another program redeems the newest refresh token; False if there is none.

        Counts as issued, but neither as a rotation nor as a reuse: those count what came over the wire.
        """
        if self._newest is None or self._newest.newest.refresh is None:
            return False
        self._renew(self._newest, now, life)
        return True

    def standing(self, access: str, now: float) -> Standing:
        if self.holder(access, now) is not None:
            return Standing.CURRENT
        return Standing.STALE if access in self._issued_access else Standing.FOREIGN

    def holder(self, access: str, now: float) -> Issued | None:
        """Whose access token this is; None if it is not good now."""
        issued, dies = self._by_access.get(access, (None, None))
        return issued if dies is None or now < dies else None

    def expire(self) -> None:
        """Every access token is dead now; refresh tokens stay good."""
        self._by_access.clear()

    def revoke(self, token: str) -> bool:
        """End the authorization that this access or refresh token belongs to; False if there is none."""
        chain = self._by_refresh.get(token)
        issued = chain.newest if chain is not None else self._by_access.get(token, (None, None))[0]
        if issued is None:
            return False
        self._by_access.pop(issued.access, None)
        self._by_refresh.pop(issued.refresh or "", None)
        if self._newest is not None and self._newest.newest is issued:
            self._newest = None
        return True

    def _renew(self, chain: _Chain, now: float, life: float | None) -> Issued:
        old, rules = chain.newest, self._rules
        refresh = old.refresh
        if rules.rotates and refresh is not None:
            self._spent.add(refresh)
            del self._by_refresh[refresh]
            refresh = self._new_token()
            if rules.refresh_life is not None and not rules.life_from_login:
                chain.refresh_dies = now + rules.refresh_life
        if rules.kills_old:
            self._by_access.pop(old.access, None)
        chain.newest = self._issue(Issued(self._new_token(), refresh, old.client_id, old.scopes), now, life)
        chain.access_dies = None if life is None else now + life
        self._keep(chain)
        return chain.newest

    def _issue(self, issued: Issued, now: float, life: float | None) -> Issued:
        self._by_access[issued.access] = (issued, None if life is None else now + life)
        self._issued_access.add(issued.access)
        self.generation += 1
        return issued

    def _keep(self, chain: _Chain) -> None:
        self._newest = chain
        if chain.newest.refresh is not None:
            self._by_refresh[chain.newest.refresh] = chain
