"""What a broker is, as frozen values: made from a definition by `reading.py`, used by everybody, changed by nobody."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from proxy.brokers.origin import HostPattern, Origin
from proxy.gate.scopes import ScopeTable

Login = Literal["paste", "code"]


@dataclass(frozen=True, slots=True)
class Environment:
    """One set of a broker's hosts. All times are in seconds.

    `api_hosts` are the hosts that a token answer may name; `api_server` is the API's address where answers name none.
    `private_hosts` are names that may lead to private addresses; an address that is written out needs no such leave.
    `min_life`, `renew_cooldown` and `max_rotations_per_day` (0: no limit) bound how often a token is renewed.
    """

    name: str
    token_url: str
    api_hosts: tuple[HostPattern, ...] = ()
    authorize_url: str | None = None
    revoke_url: str | None = None
    login_page: str | None = None
    api_server: Origin | None = None
    ca_file: str | None = None
    min_life: float = 60.0
    renew_cooldown: float = 120.0
    max_rotations_per_day: int = 200
    private_hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """A kind of answer. Every part that is given must hold; a rule without parts holds for nothing.

    `text` is the whole body, stripped; `contains` a part of it; `json` are members of a JSON object at its top level.
    """

    status: int | None = None
    text: str | None = None
    contains: str | None = None
    json: tuple[tuple[str, str | int], ...] = ()

    def matches(self, status: int, _content_type: str | None, body: bytes) -> bool:
        """Whether an answer is of this kind. The content type decides nothing: it is often wrong."""
        if self == AnswerRule() or self.status not in (None, status):
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
        return isinstance(found, dict) and all(
            key in found and not isinstance(found[key], bool) and str(found[key]) == str(value)
            for key, value in self.json
        )


@dataclass(frozen=True, slots=True)
class Rate:
    """How many calls of a category the broker allows; None where it does not say."""

    per_second: float | None = None
    per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """A definition: everything that differs between brokers.

    - `scopes`: the broker's names for groups of calls, each with a description for people;
    - `kills_old_token`: a refresh ends the old access token at once; `refresh_token_life` and `expires_in` (for answers
      that name none) are in seconds;
    - `dead_token`, `misconfigured`, `try_later`: what answers of the token endpoint mean;
    - `token_refused` (renew, then repeat) and `header_missing` (our own mistake): what answers of the API mean;
    - `refusal_proves_nonexecution`: a call that got `token_refused` was certainly not carried out;
    - `emulated_token_path`: where a client that refreshes by itself asks us, below the mount;
    - `add_headers`: request headers that pass besides the usual ones, in lower case.
    """

    name: str
    title: str
    scopes: Mapping[str, str]
    environments: Mapping[str, Environment]
    table: ScopeTable
    refresh_token_life: float
    login: Login = "paste"
    kills_old_token: bool = False
    expires_in: float = 300.0
    dead_token: tuple[AnswerRule, ...] = ()
    misconfigured: tuple[AnswerRule, ...] = ()
    try_later: tuple[AnswerRule, ...] = ()
    token_refused: tuple[AnswerRule, ...] = ()
    header_missing: tuple[AnswerRule, ...] = ()
    refusal_proves_nonexecution: bool = False
    rate_limits: Mapping[str, Rate] = field(default_factory=dict)
    emulated_token_path: str | None = None
    add_headers: tuple[str, ...] = ()
    user_agent: str | None = None
