"""A grant, its token pair and its life-cycle. Pure: no clock, no socket; every function takes `now`.

Which state follows which is a table, `NEXT`; what the table lacks cannot happen. What a client's call gets in a
state is another, `SERVING`.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from proxy.brokers.origin import HostPattern, Origin, pinned, read_api_server
from proxy.clock import Now
from proxy.secret import Secret

DEFAULT_LIFE = 300.0  # seconds; for an `expires_in` that is missing or junk: the shorter of the documented values
LONGEST_LIFE = 24 * 3600.0
LONGEST_TOKEN = 4096
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
    NEEDS_LOGIN = "needs-login"


class Event(Enum):
    """What can happen to a grant."""

    RENEWAL_WANTED = "the advisory point has passed, a keep-alive is due, or the broker refused the current token"
    INTENT_DURABLE = "the intent to redeem is on disk"
    ANSWER_KEPT = "a new pair is in the journal"
    COMMITTED = "the store holds the new pair"
    PEER_IS_NEWER = "store or journal shows a newer generation"
    NOTHING_SENT = "the redeem failed before a byte of the request had left"
    ANSWER_LOST = "the request may have been processed; its answer is lost"
    TRY_LATER = "the broker answered, but neither with a pair nor about the token"
    TOKEN_DEAD = "the broker refused the refresh token"  # noqa: S105
    NOT_CONFIGURED = "the broker refused us, not the token; or it refused too often"
    OLD_TOKEN_LIVES = "the broker still takes the old access token, so the spend did not happen"  # noqa: S105
    LAST_TRY = "the old refresh token may be posted once more"
    TRY_AGAIN = "an hour has passed, the configuration changed, or an operator said so"
    LOGGED_IN = "a person logged in"
    REVOKED = "the authorization was given up"


NEXT: Mapping[tuple[State, Event], State] = {
    (State.FRESH, Event.RENEWAL_WANTED): State.DUE,
    (State.FRESH, Event.PEER_IS_NEWER): State.FRESH,
    (State.FRESH, Event.NOT_CONFIGURED): State.STOPPED,
    (State.DUE, Event.RENEWAL_WANTED): State.DUE,
    (State.DUE, Event.INTENT_DURABLE): State.REDEEMING,
    (State.DUE, Event.PEER_IS_NEWER): State.FRESH,
    (State.DUE, Event.NOT_CONFIGURED): State.STOPPED,
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
    (State.STOPPED, Event.TRY_AGAIN): State.DUE,
    (State.STOPPED, Event.PEER_IS_NEWER): State.FRESH,
    (State.NEEDS_LOGIN, Event.PEER_IS_NEWER): State.FRESH,
    **{(state, Event.LOGGED_IN): State.ANSWERED for state in State},
    **{(state, Event.REVOKED): State.NONE for state in State},
}


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

    `expires` holds a wall and a boot time, both in seconds; the earlier one counts.
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

    `lineage` names the login that the refresh token descends from, `issuer` the broker and environment that it belongs
    to. `refreshed` is when the refresh token was issued and `expires` when the access token dies (Unix seconds); `life`
    is the access token's whole life in seconds.
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
            "expires": self.expires,
            "life": self.life,
        }

    @classmethod
    def from_record(cls, name: str, generation: int, record: Mapping[str, Any]) -> "Grant":
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
            expires=record["expires"],
            life=record["life"],
        )


def token_hash(token: Secret) -> str:
    """SHA-256 of a token, hex: names it in journal and marks without telling it."""
    return hashlib.sha256(token.reveal().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a broker's environment says about the life of its tokens, in seconds."""

    api_hosts: Sequence[HostPattern]
    min_life: float
    refresh_token_life: float
    default_life: float = DEFAULT_LIFE
    api_server: Origin | None = None  # where answers name none


@dataclass(frozen=True, slots=True)
class Parsed:
    """What could be read from a token answer. `refused_host` tells of an `api_server` outside the pin."""

    grant: Grant
    refused_host: str | None


def read_answer(body: bytes, before: Grant, terms: Terms, now: Now) -> Parsed | None:
    """Turn a 200 of the token endpoint into the next generation of `before`; None if it does not tell the next token.

    The refresh token is salvaged first, from a truncated body too: no bad field beside it may cost it. `now` is the
    time at which the answer arrived.
    """
    fields = _read_json(body)
    refresh_token = _postable(fields.get("refresh_token")) or _postable(_salvage("refresh_token", body))
    access_token = _sendable(fields.get("access_token")) or _sendable(_salvage("access_token", body))
    # A whole answer may leave the refresh token as it is; one that broke off before it has lost it.
    if refresh_token is None and (access_token is None or not fields):
        return None
    life = _life(fields.get("expires_in"), terms)
    api_server = fields.get("api_server") if fields else _salvage("api_server", body)
    origin, refused = _origin(api_server, before.origin or terms.api_server, terms.api_hosts)
    grant = replace(
        before,
        generation=before.generation + 1,
        # An answer without one leaves the old refresh token standing (RFC 6749, section 6).
        refresh_token=Secret(refresh_token) if refresh_token else before.refresh_token,
        access_token=Secret(access_token) if access_token else None,
        origin=origin,
        refreshed=now.wall,
        expires=now.wall + life,
        life=life,
    )
    return Parsed(grant, refused)


def _read_json(body: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _postable(value: object) -> str | None:
    """A refresh token travels in a form body, where any text can: odd as it may look, there is no other."""
    if not isinstance(value, str) or not value:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: no text
        return None
    return value


def _sendable(value: object) -> str | None:
    """An access token travels in a header."""
    usable = isinstance(value, str) and 0 < len(value) <= LONGEST_TOKEN and value.isascii() and value.isprintable()
    return str(value) if usable and " " not in str(value) else None


def _salvage(name: str, body: bytes) -> object:
    """The text after `"name":` in a body that broke off, if its closing quote is there."""
    match = re.search(rb'"%s"\s*:\s*("(?:[^"\\]|\\.)*")' % name.encode(), body)
    if match is None:
        return None
    try:
        return json.loads(match[1])
    except ValueError:
        return None


def _life(value: object, terms: Terms) -> float:
    number = _number(value)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
        number = float(value)
    if number is None or not 0 < number < float("inf"):
        return max(terms.default_life, terms.min_life)
    return min(max(number, terms.min_life), LONGEST_LIFE)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # 400 digits are JSON too
        return None


def _origin(
    value: object, last_good: Origin | None, patterns: Sequence[HostPattern]
) -> tuple[Origin | None, str | None]:
    if value is None:
        return (last_good if last_good is not None and pinned(last_good, patterns) else None), None
    origin = read_api_server(value)
    if origin is not None and pinned(origin, patterns):
        return origin, None
    # Only a host of a known shape is repeated to a person; anything else could be made to look like one.
    return None, str(origin) if origin else "an unusable api_server"


@dataclass(frozen=True, slots=True)
class Plan:
    """When to renew on our own accord, as boot times in seconds. `advisory` may fail; `mandatory` is the last call."""

    advisory: float
    mandatory: float
    keep_alive: float


def plan(grant: Grant, now: Now, jitter: Callable[[], float]) -> Plan:
    """Spread renewals: `jitter()` gives a number from 0 to 1. For a pair that has just been issued or loaded."""
    # Over the pair's whole life, so that a restart does not start the count anew.
    born = now.boot - max(0.0, now.wall - grant.refreshed)
    spread = 0.9 + 0.2 * jitter()
    mandatory = born + grant.life - min(60.0, grant.life / 5)
    return Plan(
        advisory=min(born + 0.66 * grant.life * spread, mandatory),
        mandatory=mandatory,
        keep_alive=born + 12 * HOUR * spread,
    )


def backoff(failures: int, since_first: float, jitter: Callable[[], float]) -> float:
    """Seconds to wait after the `failures`-th failure in a row: 2 s doubled up to 60 s, up to 5 min after half an hour.

    At least half of each step is kept, which holds an endpoint to six tries in the first minute.
    """
    ceiling = 300.0 if since_first > HOUR / 2 else 60.0
    step = min(ceiling, 2.0 ** min(failures, 10))
    return step * (0.5 + 0.5 * jitter())
