"""A grant, its token pair and its life-cycle. Pure: no clock, no socket; every function takes `now`.

Which state follows which is a table, `NEXT`; what the table lacks cannot happen. What a client's call gets in a
state is another, `SERVING`.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from proxy.brokers.origin import Origin
from proxy.clock import Now
from proxy.secret import Secret
from proxy.store import Newer

DAY = 24 * 3600.0
HOUR = 3600.0


class State(Enum):
    """Where a grant stands. The values are the words that `status` prints."""

    NONE = "none"
    FRESH = "fresh"
    DUE = "due"
    REDEEMING = "redeeming"
    ANSWERED = "answered"
    UNCERTAIN = "uncertain"
    STOPPED = "stopped"
    QUARANTINED = "quarantined"
    NEEDS_LOGIN = "needs-login"

    __hash__ = object.__hash__  # each is one object; what Enum has instead is a call of Python's for every look-up


class Event(Enum):
    """What can happen to a grant."""

    RENEWAL_WANTED = "the advisory point has passed, a keep-alive is due, or the broker refused the current token"
    INTENT_DURABLE = "the intent to redeem is on disk; or nothing is spent, and none is needed"
    ANSWER_KEPT = "a new pair is in the journal"
    COMMITTED = "the store holds the new pair"
    PEER_IS_NEWER = "store or journal shows a newer generation"
    NOTHING_SENT = "the redeem failed before a byte of the request had left"
    ANSWER_LOST = "a request, ours or a peer's, may have been processed; its answer is lost"
    TRY_LATER = "the broker answered, but neither with a pair nor about the token"
    TOKEN_DEAD = "the broker refused the refresh token, of ours or of a peer"  # noqa: S105
    NOT_CONFIGURED = "the broker refused us, not the token; or it refused too often"
    OLD_TOKEN_LIVES = "the broker still takes the old access token, so the spend did not happen"  # noqa: S105
    LAST_TRY = "the old refresh token may be posted once more"
    TRY_AGAIN = "an hour has passed, the configuration changed, or an operator said so"
    EXPIRED = "the login has come to its end, and only a person can make another"
    NOT_OVER = "the wall clock was set back: the login has time left after all"
    DOUBTFUL_STORE = "the store seems to be a copy, or an older state of itself"
    ADOPTED = "an operator says that the newest token held here may be tried"
    LOGGED_IN = "a person logged in"
    REVOKED = "the authorization was given up"

    __hash__ = object.__hash__  # as `State`


_SETTLED = (State.FRESH, State.DUE, State.UNCERTAIN, State.STOPPED)

NEXT: Mapping[tuple[State, Event], State] = {
    (State.NONE, Event.PEER_IS_NEWER): State.FRESH,
    (State.FRESH, Event.RENEWAL_WANTED): State.DUE,
    (State.FRESH, Event.PEER_IS_NEWER): State.FRESH,
    (State.FRESH, Event.NOT_CONFIGURED): State.STOPPED,
    (State.FRESH, Event.EXPIRED): State.NEEDS_LOGIN,
    (State.DUE, Event.RENEWAL_WANTED): State.DUE,
    (State.DUE, Event.INTENT_DURABLE): State.REDEEMING,
    (State.DUE, Event.PEER_IS_NEWER): State.FRESH,
    (State.DUE, Event.ANSWER_LOST): State.UNCERTAIN,
    (State.DUE, Event.NOT_CONFIGURED): State.STOPPED,
    (State.DUE, Event.EXPIRED): State.NEEDS_LOGIN,
    (State.REDEEMING, Event.ANSWER_KEPT): State.ANSWERED,
    (State.REDEEMING, Event.NOTHING_SENT): State.DUE,
    (State.REDEEMING, Event.ANSWER_LOST): State.UNCERTAIN,
    (State.REDEEMING, Event.TRY_LATER): State.DUE,
    (State.REDEEMING, Event.TOKEN_DEAD): State.NEEDS_LOGIN,
    (State.REDEEMING, Event.NOT_CONFIGURED): State.STOPPED,
    (State.ANSWERED, Event.COMMITTED): State.FRESH,
    (State.ANSWERED, Event.PEER_IS_NEWER): State.FRESH,
    (State.UNCERTAIN, Event.OLD_TOKEN_LIVES): State.DUE,
    (State.UNCERTAIN, Event.LAST_TRY): State.DUE,
    (State.UNCERTAIN, Event.PEER_IS_NEWER): State.FRESH,
    (State.UNCERTAIN, Event.EXPIRED): State.NEEDS_LOGIN,
    (State.STOPPED, Event.TRY_AGAIN): State.DUE,
    (State.STOPPED, Event.PEER_IS_NEWER): State.FRESH,
    (State.STOPPED, Event.EXPIRED): State.NEEDS_LOGIN,
    (State.NEEDS_LOGIN, Event.PEER_IS_NEWER): State.FRESH,
    (State.NEEDS_LOGIN, Event.NOT_OVER): State.FRESH,
    **{(state, Event.DOUBTFUL_STORE): State.QUARANTINED for state in (*_SETTLED, State.ANSWERED)},
    **{(state, Event.TOKEN_DEAD): State.NEEDS_LOGIN for state in (*_SETTLED, State.QUARANTINED)},
    (State.QUARANTINED, Event.PEER_IS_NEWER): State.FRESH,
    (State.QUARANTINED, Event.EXPIRED): State.NEEDS_LOGIN,
    **{(state, Event.ADOPTED): State.DUE for state in (State.QUARANTINED, State.NEEDS_LOGIN, State.STOPPED)},
    **{(state, Event.LOGGED_IN): State.ANSWERED for state in State},
    **{(state, Event.REVOKED): State.NONE for state in State},
}


# Every renewal passes these.
ROUTINE = frozenset(
    {
        (State.FRESH, State.DUE),
        (State.DUE, State.REDEEMING),
        (State.REDEEMING, State.ANSWERED),
        (State.ANSWERED, State.FRESH),
    }
)


def after(state: State, event: Event) -> State:
    """The state that follows. An event that the table lacks is a bug of ours: `LookupError`."""
    try:
        return NEXT[state, event]
    except KeyError:
        raise LookupError(f"a grant that is {state.value} cannot see: {event.value}") from None


class Serving(Enum):
    """What a call gets while the access token is dead."""

    LOGIN = "503 login-needed"
    WAIT = "held while a redeem runs, then 503 token-unavailable"
    UNAVAILABLE = "503 token-unavailable"


SERVING: Mapping[State, Serving] = {
    State.NONE: Serving.LOGIN,
    State.NEEDS_LOGIN: Serving.LOGIN,
    State.QUARANTINED: Serving.LOGIN,
    State.STOPPED: Serving.UNAVAILABLE,
    State.FRESH: Serving.WAIT,
    State.DUE: Serving.WAIT,
    State.REDEEMING: Serving.WAIT,
    State.ANSWERED: Serving.WAIT,
    State.UNCERTAIN: Serving.WAIT,
}


@dataclass(frozen=True, slots=True)
class TokenPair:
    """One generation: the access token, the only origin it may be sent to, and when it dies. Parts are never mixed.

    `expires` holds a wall and a boot time, both in seconds; the earlier one counts. Both, and `life`, are infinite for
    a token that has no end.
    """

    generation: int
    access_token: Secret
    origin: Origin
    expires: Now
    life: float

    def alive(self, now: Now) -> bool:
        return now.wall < self.expires.wall and now.boot < self.expires.boot

    def remaining(self, now: Now) -> float:
        """Seconds to live; negative once dead."""
        return min(self.expires.wall - now.wall, self.expires.boot - now.boot)


@dataclass(frozen=True, slots=True)
class Grant:
    """What the store keeps of one authorization. `generation` counts token pairs and outlives logins.

    `lineage` names the login that the tokens descend from, `issuer` the broker and environment that they belong to, and
    `login` the way of logging in (empty in records of old: any). `refreshed` is when the tokens were issued, `expires`
    when the access token dies, `logged_in` when a person logged in (Unix seconds; 0: not known); `life` is the access
    token's whole life in seconds. A token without an end has an infinite life. `scopes` are those that the broker says
    it granted; none if it does not say. `epoch` is the store's at the time when the tokens were issued (see
    `quarantine.py`).
    """

    name: str
    generation: int = 0
    lineage: str = ""
    issuer: str = ""
    refresh_token: Secret | None = None
    access_token: Secret | None = None
    origin: Origin | None = None
    refreshed: float = 0.0
    expires: float = 0.0
    life: float = 0.0
    login: str = ""
    logged_in: float = 0.0
    scopes: tuple[str, ...] = ()
    epoch: int = 0

    @property
    def token_hash(self) -> str:
        """What may be written about a refresh token: its SHA-256, hex."""
        return token_hash(self.refresh_token) if self.refresh_token else ""

    def pair(self, now: Now) -> TokenPair | None:
        """The pair to serve, its end translated to this boot; None without a usable token and origin."""
        if self.access_token is None or self.origin is None:
            return None
        # A wall clock that was stepped back must not prolong a token beyond its whole life.
        left = min(self.expires - now.wall, self.life)
        return TokenPair(self.generation, self.access_token, self.origin, Now(self.expires, now.boot + left), self.life)

    def to_record(self) -> dict[str, Any]:
        """Plain values for the sealed store."""
        return {
            "lineage": self.lineage,
            "issuer": self.issuer,
            "refresh_token": self.refresh_token.reveal() if self.refresh_token else None,
            "access_token": self.access_token.reveal() if self.access_token else None,
            "host": self.origin.host if self.origin else None,
            "port": self.origin.port if self.origin else None,
            "refreshed": self.refreshed,
            "expires": _finite(self.expires),
            "life": _finite(self.life),
            "login": self.login,
            "logged_in": self.logged_in,
            "scopes": list(self.scopes),
            "epoch": self.epoch,
        }

    @classmethod
    def from_record(cls, name: str, generation: int, record: Mapping[str, Any]) -> "Grant":
        """What `to_record` gave, or a bearerd of before there were several logins.

        `Newer` if there is more in it: the next generation would be written without that.
        """
        if not record.keys() <= _FIELDS:
            unknown = ", ".join(sorted(record.keys() - _FIELDS))
            raise Newer(f"grant {name} was written by a newer bearerd: this one does not know its {unknown}")

        def secret(key: str) -> Secret | None:
            return Secret(record[key]) if record[key] else None

        return cls(
            name=name,
            generation=generation,
            lineage=record["lineage"],
            issuer=record["issuer"],
            refresh_token=secret("refresh_token"),
            access_token=secret("access_token"),
            origin=Origin(record["host"], record["port"]) if record["host"] else None,
            refreshed=record["refreshed"],
            expires=_infinite(record["expires"]),
            life=_infinite(record["life"]),
            login=record.get("login", ""),
            logged_in=record.get("logged_in", 0.0),
            scopes=tuple(record.get("scopes", ())),
            epoch=record.get("epoch", 0),
        )


def _finite(seconds: float) -> float | None:
    """JSON knows no infinity."""
    return seconds if math.isfinite(seconds) else None


def _infinite(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


_FIELDS = Grant("").to_record().keys()


def token_hash(token: Secret) -> str:
    """SHA-256 of a token, hex: names it in journal and marks without telling it."""
    return hash_of(token.reveal())


def hash_of(token: str) -> str:
    """The same of a token that nothing was made a `Secret` for: the log's redactor would have to remember each."""
    return hashlib.sha256(token.encode()).hexdigest()
