"""Who may call which host: key pairs, Connect tokens, client-credentials tokens and the broker partner's key.

| | trading | data, stream | broker |
|---|---|---|---|
| key pair in `APCA-API-KEY-ID`, `APCA-API-SECRET-KEY` | of that host only | either | no |
| Connect token as Bearer | if it covers the account | with scope `data` | no |
| client-credentials token as Bearer | no | yes | yes |
| broker key as Basic | no | stream | yes |

https://docs.alpaca.markets/docs/authentication, …/using-oauth2-and-trading-api. Exactly one of them: a call that brings
two, or two of a kind, is refused and counted, so that a test sees whether a proxy took away what the client sent.
"""

import base64
import secrets
import string
import uuid
from dataclasses import dataclass, field
from enum import StrEnum

from multidict import CIMultiDictProxy

from proxy.simulator.alpaca.trading import READ
from proxy.simulator.authorize import basic_of, same
from proxy.simulator.tokens import Issued, Rules, Standing, Tokens

KEY_HEADERS = ("APCA-API-KEY-ID", "APCA-API-SECRET-KEY")
_LETTERS = string.ascii_uppercase + string.digits
ENV = "env:"  # the scope-like mark of the accounts that a Connect token covers: env:paper, env:live
PERSON = "person:"  # and of the person who has logged in, if that was another than the usual one


class Host(StrEnum):
    """The hosts that take calls."""

    PAPER = "paper"
    LIVE = "live"
    DATA = "data"
    BROKER = "broker"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An id and its secret: a person's API key, the broker partner's, or an application's."""

    id: str
    secret: str = field(repr=False)

    def is_pair(self, pair: tuple[str, str]) -> bool:
        return same(self.id, pair[0]) and same(self.secret, pair[1])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a call's credential is worth. `kind` is one of `tokens.KINDS`; `scopes` None: everything.

    `person` is whose accounts it is for; None: the usual person's.
    """

    kind: str
    scopes: frozenset[str] | None = None
    several: bool = False
    person: str | None = None

    @property
    def good(self) -> bool:
        return self.kind == Standing.CURRENT


_DATA = (Host.DATA, Host.STREAM)
_NONE, _FOREIGN = Verdict("none"), Verdict(Standing.FOREIGN)


class Credentials:
    """All credentials of one simulated Alpaca."""

    def __init__(self) -> None:
        self.keys = {Host.PAPER: _key_pair("PK"), Host.LIVE: _key_pair("AK")}
        self.broker = _key_pair("CK")
        self.application = KeyPair(secrets.token_hex(16), secrets.token_hex(20))  # of Connect
        self.machine = KeyPair(_key_pair("CK").id, secrets.token_urlsafe(30))  # of client credentials
        self.connect = Tokens(Rules(kills_old=False), lambda: str(uuid.uuid4()))
        self.minted = Tokens(Rules(kills_old=False), _token_of_three_parts)

    def judge(self, host: Host, headers: CIMultiDictProxy[str], now: float) -> Verdict:
        """What the credential in these headers is worth at this host."""
        lines = headers.getall("Authorization", [])
        halves = [headers.getall(name, []) for name in KEY_HEADERS]
        forms = len(lines) + any(halves)
        if not forms:
            return _NONE
        if forms > 1 or any(len(half) > 1 for half in halves):
            return Verdict(Standing.FOREIGN, several=True)
        if not lines:
            return self._by_keys(host, ("".join(halves[0]), "".join(halves[1])))
        scheme, _, value = lines[0].partition(" ")
        if scheme == "Bearer" and value and " " not in value:
            return self._by_token(host, value, now)
        pair = basic_of(lines[0])
        good = host in (Host.BROKER, Host.STREAM) and pair is not None and self.broker.is_pair(pair)
        return Verdict(Standing.CURRENT) if good else _FOREIGN

    def judge_frame(self, host: Host, key: str, secret: str, now: float) -> Verdict:
        """What the credential in the first frame of a socket is worth; none at all if both halves are empty.

        `oauth` and `access_token` stand in the place of a key's id before a Connect and a client-credentials token.
        """
        if not key and not secret:
            return _NONE
        if key not in ("oauth", "access_token"):
            return self._by_keys(host, (key, secret))
        found = self._by_token(host, secret, now)
        minted = self.minted.standing(secret, now) is not Standing.FOREIGN
        return found if minted is (key == "access_token") else _FOREIGN

    def still_good(self, secret: str, now: float) -> bool:
        """Whether a credential that was good is so still: keys have no end, tokens may."""
        return Standing.STALE not in (self.minted.standing(secret, now), self.connect.standing(secret, now))

    def _by_keys(self, host: Host, pair: tuple[str, str]) -> Verdict:
        owners = [owner for owner, own in self.keys.items() if own.is_pair(pair)]
        good = host in owners or (host in _DATA and owners)
        return Verdict(Standing.CURRENT) if good else _FOREIGN

    def _by_token(self, host: Host, token: str, now: float) -> Verdict:
        minted = self.minted.standing(token, now)
        if minted is not Standing.FOREIGN:
            taken = host in (*_DATA, Host.BROKER)
            return Verdict(minted) if taken else _FOREIGN
        issued = self.connect.holder(token, now)
        if issued is None:
            return Verdict(self.connect.standing(token, now))
        if host in _DATA or ENV + host in issued.scopes:
            marks = [scope.removeprefix(PERSON) for scope in issued.scopes if scope.startswith(PERSON)]
            person = marks[0] if marks else None
            return Verdict(Standing.CURRENT, frozenset(granted(issued)) | {READ}, person=person)
        return _FOREIGN


def granted(issued: Issued) -> tuple[str, ...]:
    """The scopes of a Connect token, without the marks of its accounts."""
    return tuple(scope for scope in issued.scopes if not scope.startswith((ENV, PERSON)))


def _key_pair(prefix: str) -> KeyPair:
    return KeyPair(prefix + "".join(secrets.choice(_LETTERS) for _ in range(18)), secrets.token_urlsafe(30))


def _token_of_three_parts() -> str:
    """Looks like a signed JWT, and is none."""
    head = base64.urlsafe_b64encode(b'{"alg":"EdDSA","typ":"JWT"}').rstrip(b"=").decode()
    return f"{head}.{secrets.token_urlsafe(90)}.{secrets.token_urlsafe(64)}"
