"""What a plain broker is, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from proxy.brokers.definition import BEARER, ClientAuth, LoginKind, Placement
from proxy.simulator.authorize import CODE_LIFE
from proxy.simulator.listener import Answer

DEAD_TOKEN = Answer(400, b'{"error":"invalid_grant"}')  # RFC 6749, section 5.2
BAD_CLIENT = Answer(401, b'{"error":"invalid_client"}')
UNAUTHORIZED = Answer(401, b'{"error":"unauthorized"}')

Refresh = Literal["rotating", "kept", "none"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The login host of a broker with OAuth. Times are in seconds.

    `token` and `authorize` are paths, `authorize` empty without a login page. `expires_in` and `refresh_token_life`
    are None where a token has no end. `refresh`: a token answer holds a new refresh token each time, the same one, or
    none. `answer` are further members of a token answer, `redirect` further parameters of the redirect. `scopes`
    are the scopes that may be asked for, all if empty.
    """

    token: str
    authorize: str = ""
    client_auth: ClientAuth = "none"
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    redirect_uris: tuple[str, ...] = ()
    pkce: bool = False
    scopes: tuple[str, ...] = ()
    code_life: float = CODE_LIFE
    expires_in: float | None = 300.0
    refresh: Refresh = "none"
    refresh_token_life: float | None = None
    life_counts_from: Literal["issue", "login"] = "issue"
    answer: Mapping[str, object] = field(default_factory=dict)
    redirect: Mapping[str, str] = field(default_factory=dict)
    dead_token: Answer = DEAD_TOKEN
    bad_client: Answer = BAD_CLIENT


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of call. `path` is a template whose `{name}` takes one segment; `order` counts it as an order.

    Header values may hold `{origin}`, `{order}` (how many orders there are now) and the names of the template.
    """

    method: str
    path: str
    answer: Answer
    order: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """A whole plain broker. `login` and `apis` are names of the definition; `secret` are the parts of a plain one."""

    name: str
    title: str
    kind: LoginKind
    login: str
    calls: tuple[Call, ...]
    apis: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    placement: Placement = BEARER
    endpoint: Endpoint | None = None
    secret: tuple[str, ...] = field(default=(), repr=False)
    refused: Answer = UNAUTHORIZED
