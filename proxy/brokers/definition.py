"""What a broker is, as frozen values: made from a definition by `reading.py`, used by everybody, changed by nobody."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from proxy.brokers.origin import HostPattern, Origin
from proxy.gate.orderrule import OrderForm
from proxy.gate.scopes import ScopeTable

MAIN = "main"  # the API, and the login, of a broker that has one only

LoginKind = Literal["refresh-token", "code", "client-credentials", "secret"]
ClientAuth = Literal["none", "basic", "form"]
PlacementKind = Literal["bearer", "basic", "headers", "query"]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a credential goes in a call to the API.

    `bearer`: `Authorization: Bearer`; `basic`: user and password (RFC 7617); `headers`: one value in each header of
    `names`; `query`: the parameter `names[0]`. A credential of two parts is kept as `first:second`.
    """

    kind: PlacementKind = "bearer"
    names: tuple[str, ...] = ()

    @property
    def parts(self) -> int:
        """How many values a credential has."""
        match self.kind:
            case "basic":
                return 2
            case "headers":
                return len(self.names)
            case _:
                return 1


BEARER = Placement()


@dataclass(frozen=True, slots=True)
class Login:
    """One way to be let in. All times are in seconds.

    - `kind`: a refresh token that a person pastes, the authorization code flow, client credentials (both RFC 6749), or
      a plain secret without OAuth: a personal token, a key pair;
    - `apis`: which of the broker's APIs take its credential; empty: all. `asks`: what a person is asked for, one text
      for each part;
    - `client_auth`: how the application proves itself at the token endpoint: HTTP Basic, or id and secret in the form;
    - `scope_separator` and `sends_scopes` (None: all): how scopes are asked for; `omits`: parameters that the authorize
      address does not take (`response_type`, `redirect_uri`, `scope`);
    - `code_life`: an authorization code's; `expires_in`: an access token's where answers do not say, None: no end;
    - `refresh_token_life`: None: no end; it counts from the token's `issue`, or from the `login` whatever is rotated;
    - `renew_at`: the part of an access token's life after which it is renewed.
    """

    name: str
    kind: LoginKind
    title: str = ""
    apis: tuple[str, ...] = ()
    placement: Placement = BEARER
    asks: tuple[str, ...] = ()
    client_auth: ClientAuth = "none"
    pkce: bool = False
    scope_separator: str = " "
    sends_scopes: tuple[str, ...] | None = None
    omits: frozenset[str] = frozenset()
    code_life: float = 600.0
    expires_in: float | None = 300.0
    refresh_token_life: float | None = None
    life_counts_from: Literal["issue", "login"] = "issue"
    renew_at: float = 0.66

    def serves(self, api: str) -> bool:
        """Whether its credential is worth something at this API."""
        return not self.apis or api in self.apis


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where one login asks for its tokens; None where the broker has no such address.

    `refresh_url` is only there where refreshing has an address of its own. `authorize_fields` are sent along to
    `authorize_url`.
    """

    token_url: str | None = None
    refresh_url: str | None = None
    authorize_url: str | None = None
    revoke_url: str | None = None
    login_page: str | None = None
    authorize_fields: tuple[tuple[str, str], ...] = ()


PERIODS = ("per_second", "per_minute", "per_hour")


@dataclass(frozen=True, slots=True)
class Rate:
    """How many calls of a category the broker allows; None where it does not say."""

    per_second: float | None = None
    per_minute: float | None = None
    per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """The headers of an answer, in lower case, that tell of its category: how many calls there are, are left, and were
    made, and when that begins anew.

    `tells_of`: which of the limits, one of `PERIODS`, they tell of; None: the one over the longest time.
    """

    limit: str | None = None
    remaining: str | None = None
    used: str | None = None
    reset: str | None = None
    tells_of: str | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """One set of a broker's hosts. All times are in seconds.

    `logins`: each login that this environment has, with its endpoints; `defaults`: those of logins that name no others.
    `api_hosts` are the hosts that a bearer may be sent to; `api_servers` the address of each API, missing where token
    answers name it.
    `private_hosts` are names that may lead to private addresses; an address that is written out needs no such leave.
    `min_life`, `renew_cooldown` and `max_rotations_per_day` (0: no limit) bound how often a token is renewed, and
    `token_concurrency` how many token requests may be out at a time.
    `rate_limits` are those of the broker's categories that differ here; without `paced` none is counted at all.
    """

    name: str
    logins: Mapping[str, Endpoints] = field(default_factory=dict)
    defaults: Endpoints = Endpoints()
    api_hosts: tuple[HostPattern, ...] = ()
    api_servers: Mapping[str, Origin] = field(default_factory=dict)
    ca_file: str | None = None
    min_life: float = 60.0
    renew_cooldown: float = 120.0
    max_rotations_per_day: int = 200
    token_concurrency: int = 8
    private_hosts: frozenset[str] = frozenset()
    rate_limits: Mapping[str, Rate] = field(default_factory=dict)
    paced: bool = True

    def endpoints(self, login: Login) -> Endpoints:
        """Where `login` asks for its tokens; `LookupError` if this environment does not have it."""
        return self.logins[login.name]


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """A kind of answer. Every part that is given must hold; a rule without parts holds for nothing.

    `text` is the whole body, stripped; `contains` a part of it; `json` are members of a JSON object at its top level,
    or below it, with dots between the names (`fault.detail.errorcode`).
    """

    status: int | None = None
    text: str | None = None
    contains: str | None = None
    json: tuple[tuple[str, str | int], ...] = ()

    def matches(self, status: int, _content_type: str | None, body: bytes) -> bool:
        """Whether an answer is of this kind. The content type decides nothing: it is often wrong."""
        if self.status not in (None, status):
            return False
        if self.status is None and self.text is None and self.contains is None and not self.json:
            return False
        text = body.decode("utf-8", errors="replace")
        if self.text is not None and text.strip() != self.text:
            return False
        if self.contains is not None and self.contains not in text:
            return False
        return not self.json or self._members_match(text)

    def _members_match(self, text: str) -> bool:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return False
        # Documented as text, sent as a number: `"code": "1017"` and `"code": 1017` are the same.
        return all(
            isinstance(member := _member(found, key), str | int)
            and not isinstance(member, bool)
            and str(member) == str(value)
            for key, value in self.json
        )


def _member(found: object, key: str) -> object:
    """The member of that name, or what its dots lead to; None if there is nothing."""
    if not isinstance(found, dict):
        return None
    if key in found:
        return found[key]
    first, dot, rest = key.partition(".")
    return _member(found.get(first), rest) if dot else None


@dataclass(frozen=True, slots=True)
class Api:
    """One of a broker's APIs: a host of its own, and the calls that it takes."""

    name: str
    table: ScopeTable

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes that any of its calls needs."""
        return frozenset(row.scope for row in self.table.rows if not row.deny)


@dataclass(frozen=True, slots=True)
class Broker:
    """A definition: everything that differs between brokers.

    - `scopes`: the broker's names for groups of calls, each with a description for people;
    - `apis` and `logins`: the first of each is the default;
    - `api_server_in_answer`: token answers name the API's address; else only the definition does;
    - `kills_old_token`: a refresh ends the old access token at once;
    - `dead_token`, `misconfigured`, `try_later`: what answers of the token endpoint mean;
    - `token_refused` (renew, then repeat) and `header_missing` (our own mistake): what answers of the API mean;
    - `refusal_proves_nonexecution`: a call that got `token_refused` was certainly not carried out;
    - `emulated_token_path`: where a client that refreshes by itself asks us, below the mount;
    - `partner_oauth`: the rows by which a partner handles the OAuth of its own users: `client`, `token`, `authorize`,
      `revoke` → a row's id;
    - `add_headers`: request headers that pass besides the usual ones, in lower case;
    - `orders`: the ways in which its orders are written; `account_params`: the captures that are an account.
    """

    name: str
    title: str
    scopes: Mapping[str, str]
    environments: Mapping[str, Environment]
    apis: Mapping[str, Api]
    logins: Mapping[str, Login]
    api_server_in_answer: bool = False
    kills_old_token: bool = False
    dead_token: tuple[AnswerRule, ...] = ()
    misconfigured: tuple[AnswerRule, ...] = ()
    try_later: tuple[AnswerRule, ...] = ()
    token_refused: tuple[AnswerRule, ...] = ()
    header_missing: tuple[AnswerRule, ...] = ()
    refusal_proves_nonexecution: bool = False
    rate_limits: Mapping[str, Rate] = field(default_factory=dict)
    rate_headers: RateHeaders | None = None
    emulated_token_path: str | None = None
    partner_oauth: Mapping[str, str] = field(default_factory=dict)
    add_headers: tuple[str, ...] = ()
    user_agent: str | None = None
    orders: Mapping[str, OrderForm] = field(default_factory=dict)
    account_params: tuple[str, ...] = ()

    def api(self, name: str | None = None) -> Api:
        """The API of that name, without one the default. `LookupError` if there is none."""
        return self.apis[name if name is not None else next(iter(self.apis))]

    def login(self, name: str | None = None) -> Login:
        """The login of that name, without one the default. `LookupError` if there is none."""
        return self.logins[name if name is not None else next(iter(self.logins))]
