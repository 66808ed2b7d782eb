"""What a token answer becomes: the next generation of a grant, or a sentence about what is wrong. Pure."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from proxy.brokers.definition import Broker, Environment, Login
from proxy.brokers.origin import HostPattern, Origin, pinned, read_api_server
from proxy.clock import Now
from proxy.secret import Secret
from proxy.tokens.grant import DAY, Grant

LONGEST_LIFE = DAY  # seconds; of an access token that can be renewed
LONGEST_WAIT = 3650 * DAY  # of one that cannot
LONGEST_TOKEN = 4096
_MOST_SCOPES = 64


@dataclass(frozen=True, slots=True)
class Terms:
    """What a definition says about tokens. All times are in seconds; None: no end.

    `default_life` is an access token's where the answer names none; `minting`: it comes by client credentials, and
    there is no refresh token. With `api_server_in_answer`, answers name the API's origin and `api_server` is for those
    that don't; without it `api_server` is all there is, whatever an answer says. `renew_at` is a part of the life.
    """

    api_hosts: Sequence[HostPattern]
    min_life: float
    refresh_token_life: float | None = None
    default_life: float | None = 300.0
    api_server: Origin | None = None
    api_server_in_answer: bool = False
    renew_at: float = 0.66
    life_counts_from: Literal["issue", "login"] = "issue"
    minting: bool = False

    @classmethod
    def of(cls, broker: Broker, environment: Environment, login: Login) -> "Terms":
        """As the definition has them for one login of one environment."""
        servers = environment.api_servers
        api = next((api for api in (*login.apis, *broker.apis) if api in servers), None)
        return cls(
            api_hosts=environment.api_hosts,
            min_life=environment.min_life,
            refresh_token_life=login.refresh_token_life,
            default_life=login.expires_in,
            api_server=servers[api] if api is not None else None,
            api_server_in_answer=broker.api_server_in_answer,
            renew_at=login.renew_at,
            life_counts_from=login.life_counts_from,
            minting=login.kind == "client-credentials",
        )


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
    if terms.minting:
        refresh_token = None  # it is never posted: the client's own credentials are
    # A whole answer may leave the refresh token as it is; one that broke off before it has lost it.
    if refresh_token is None and (access_token is None or not fields):
        return None
    renewable = terms.minting or refresh_token is not None or before.refresh_token is not None
    life = _life(fields.get("expires_in"), terms, LONGEST_LIFE if renewable else LONGEST_WAIT)
    origin, refused = _origin(fields.get("api_server") if fields else _salvage("api_server", body), before, terms)
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
        scopes=_scopes(fields.get("scope"), before.scopes),
    )
    return Parsed(grant, refused)


def as_answer(grant: Grant) -> bytes:
    """The answer that `grant` could have come from, as of when it was refreshed. It holds secrets."""
    fields = {
        "refresh_token": grant.refresh_token.reveal() if grant.refresh_token else None,
        "access_token": grant.access_token.reveal() if grant.access_token else None,
        "api_server": f"https://{grant.origin}/" if grant.origin else None,
        "expires_in": grant.life if math.isfinite(grant.life) else None,
        "scope": " ".join(grant.scopes) or None,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


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


def sendable(secret: Secret, parts: int) -> bool:
    """Whether a plain secret can be sent: in headers or a query, each of its parts."""
    found = secret.reveal().split(":", parts - 1)
    return len(found) == parts and all(_sendable(part) for part in found)


def _life(value: object, terms: Terms, longest: float) -> float:
    number = _number(value)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
        number = float(value)
    if number is None or not 0 < number < math.inf:
        return math.inf if terms.default_life is None else max(terms.default_life, terms.min_life)
    return min(max(number, terms.min_life), longest)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # 400 digits are JSON too
        return None


def _origin(value: object, before: Grant, terms: Terms) -> tuple[Origin | None, str | None]:
    if not terms.api_server_in_answer:
        return terms.api_server, None
    if value is None:
        last_good = before.origin or terms.api_server
        return (last_good if last_good is not None and pinned(last_good, terms.api_hosts) else None), None
    origin = read_api_server(value)
    if origin is not None and pinned(origin, terms.api_hosts):
        return origin, None
    # Only a host of a known shape is repeated to a person; anything else could be made to look like one.
    return None, str(origin) if origin else "an unusable api_server"


def _scopes(value: object, before: tuple[str, ...]) -> tuple[str, ...]:
    """The granted scopes: separated by spaces (RFC 6749, section 3.3) or commas. Without them nothing changes."""
    if not isinstance(value, str):
        return before
    named = dict.fromkeys(part for part in re.split("[ ,]+", value) if re.fullmatch("[!-~]{1,100}", part))
    return tuple(named)[:_MOST_SCOPES]


def said(body: bytes) -> str:
    """What the error in an answer says, for a person: a code and a sentence, one line; empty if it has no known shape.

    Known are RFC 6749's `error` and `error_description`, Apigee's `ErrorCode` and `Error`
    (cloud.google.com/apigee/docs, "OAuth HTTP status code reference"), authx's `error` with `fields`
    (docs.alpaca.markets/docs/authentication) and a bare `message`.
    """
    fields = _read_json(body)
    code = _shown(fields.get("error")) or _shown(fields.get("ErrorCode"))
    text = _shown(fields.get("error_description")) or _shown(fields.get("Error")) or _shown(fields.get("message"))
    named = ", ".join(_names(fields.get("fields")))
    return ": ".join(part for part in (code, text) if part) + (f" ({named})" if named else "")


def _shown(value: object) -> str:
    """Text as a person may see it: short, and without anything that a terminal would act on."""
    return value if isinstance(value, str) and re.fullmatch("[ -~]{1,120}", value, re.ASCII) else ""


def _names(value: object) -> Iterator[str]:
    for item in value[:8] if isinstance(value, list) else ():
        name = _shown(item.get("name")) if isinstance(item, dict) else ""
        if name:
            yield name
