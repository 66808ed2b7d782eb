"""The `logins:` of a definition: how one is let in, and where the credential then goes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from proxy.brokers.definition import BEARER, Endpoints, Login, Placement
from proxy.brokers.section import Section
from proxy.config.problem import did_you_mean

_LOGIN = tuple(field.name for field in fields(Login) if field.name != "name")
_KINDS = ("refresh-token", "code", "client-credentials", "secret")
_PASTED = ("refresh-token", "secret")
_OMITTABLE = ("response_type", "redirect_uri", "scope")
_NEVER = "never"
_RENEW_AT = (0.1, 0.95)

# https, a host without a user name in front, maybe a port, and a path without anything that needs decoding.
URL = re.compile(
    r"https://(?P<host>[a-z0-9.-]+|\[[0-9a-f:]+\])(?::(?P<port>[0-9]{1,5}))?(?P<path>/[A-Za-z0-9._~/-]*)", re.ASCII
)
ENDPOINTS = tuple(field.name for field in fields(Endpoints))
_URLS = tuple(key for key in ENDPOINTS if key.endswith("_url") or key == "login_page")
# What binds a login to its answer is ours to write.
_OURS = re.compile(r"client_id|state|redirect_uri|response_type|scope|code_challenge.*|nonce", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9-]+", re.ASCII)
# What frames or routes a request, or has a placement of its own, carries no credential of a definition.
_NO_CREDENTIAL = re.compile(
    r"authorization|cookie2?|host|content-.*|accept.*|connection|upgrade|te|trailer|transfer-encoding|keep-alive|expect"
    r"|range|location|via|forwarded|user-agent|x-forwarded-.*|x-http-method.*|proxy-.*|sec-.*",
    re.IGNORECASE,
)
# What each kind of login cannot do without.
NEEDED = {
    "refresh-token": ("token_url",),
    "code": ("token_url", "authorize_url"),
    "client-credentials": ("token_url",),
    "secret": (),
}
_MEANT_FOR = {  # what else an environment says is no business of the kind
    "refresh-token": ("token_url", "refresh_url", "revoke_url", "login_page"),
    "code": ENDPOINTS,
    "client-credentials": ("token_url", "revoke_url", "login_page"),
    "secret": ("login_page",),
}


def read_logins(section: Section, apis: Sequence[str], scopes: Mapping[str, str]) -> dict[str, Login]:
    """Every login of the definition, the default first."""
    found = {name: _login(part, name, apis, scopes) for name, part in section.named("logins")}
    return {name: login for name, login in found.items() if login}


def read_endpoints(section: Section) -> dict[str, Any]:
    """The fields of `Endpoints` that this section names."""
    given: dict[str, Any] = {key: _url(section, key) for key in _URLS}
    authorize_fields = tuple(section.text_map("authorize_fields").items())
    for name, _ in authorize_fields:
        if not _WORD.fullmatch(name) or _OURS.fullmatch(name):
            message = "is no name of a parameter that may be added"
            section.section("authorize_fields").fault(name, message, "bearerd writes those of OAuth", at_key=True)
    given["authorize_fields"] = authorize_fields or None
    return {key: value for key, value in given.items() if value is not None}


def meant_for(login: Login, endpoints: Endpoints) -> Endpoints | None:
    """What of these addresses this login uses; None if it lacks one that it cannot do without."""
    if not all(getattr(endpoints, key) for key in NEEDED[login.kind]):
        return None
    return Endpoints(**{key: getattr(endpoints, key) for key in _MEANT_FOR[login.kind]})


def matching(section: Section, key: str, form: re.Pattern[str], name: str) -> str | None:
    """A text of this form; `name` says in words which."""
    value = section.text(key)
    if value is not None and not form.fullmatch(value):
        section.fault(key, f"must be {name}")
        return None
    return value


def _url(section: Section, key: str) -> str | None:
    value = matching(section, key, URL, "an https:// address with a path, without user name, `?` and `#`")
    found = URL.fullmatch(value or "")
    if found and found["port"] and not 0 < int(found["port"]) < 1 << 16:
        section.fault(key, "has no valid port", "write a number from 1 to 65535")
    return value


def _login(section: Section, name: str, apis: Sequence[str], scopes: Mapping[str, str]) -> Login | None:
    section.known(_LOGIN)
    section.needs("kind")
    kind = section.choice("kind", _KINDS)
    given: dict[str, Any] = {
        "title": section.text("title"),
        "apis": _among(section, "apis", apis),
        "client_auth": section.choice("client_auth", ("none", "basic", "form")),
        "pkce": section.flag("pkce"),
        "scope_separator": section.choice("scope_separator", (" ", ",")),
        "sends_scopes": _among(section, "sends_scopes", tuple(scopes)) if "sends_scopes" in section.data else None,
        "omits": frozenset(_among(section, "omits", _OMITTABLE)),
        "code_life": section.number("code_life"),
        "life_counts_from": section.choice("life_counts_from", ("issue", "login")),
        "renew_at": _part(section, "renew_at"),
    }
    given = {key: value for key, value in given.items() if value is not None}
    given |= {key: _life(section, key) for key in ("expires_in", "refresh_token_life") if key in section.data}
    if kind == "secret":
        given["expires_in"] = None
    placement = _placement(section)
    if kind is None:
        return None
    _check_kind(section, kind, placement)
    asks = section.texts("asks") or _asked(kind, placement)
    if kind in _PASTED and len(asks) != placement.parts:
        section.fault("asks", f"names {len(asks)} values, the placement {placement.parts}", "name each part once")
    return Login(name, kind, placement=placement, asks=asks, **given)  # type: ignore[arg-type]  # `choice` gave it


def _check_kind(section: Section, kind: str, placement: Placement) -> None:
    if kind != "secret" and placement.parts > 1:
        section.fault("placement", "has several parts, and an OAuth token is one value", "use `kind: secret`")
    if kind == "client-credentials" and section.data.get("client_auth", "none") == "none":
        section.fault("client_auth", "is missing: client credentials are sent as `basic` or `form`", "add the key")
    if kind == "secret" and section.data.get("expires_in") not in (None, _NEVER):
        section.fault("expires_in", "says nothing of a plain secret, which is used until it is refused", "remove it")


def _asked(kind: str, placement: Placement) -> tuple[str, ...]:
    if kind != "secret":
        return ("refresh token",) if kind in _PASTED else ()
    if placement.kind == "basic":
        return "user name", "password"
    return placement.names or ("token",)


def _placement(section: Section) -> Placement:
    if not isinstance(section.data.get("placement"), dict):
        chosen = section.choice("placement", ("bearer", "basic"))
        return Placement("basic") if chosen == "basic" else BEARER
    part = section.section("placement")
    part.known(("headers", "query"))
    names, query = part.texts("headers"), part.text("query")
    for index, name in enumerate(names):
        if not _HEADER.fullmatch(name) or _NO_CREDENTIAL.fullmatch(name):
            path = (*part.path, "headers", index)
            part.problems.append(part.document.problem(path, "is no header that may carry a credential"))
    if len({name.lower() for name in names}) != len(names):
        part.fault("headers", "names a header twice", "letter case tells no headers apart")
    if query is not None and not _WORD.fullmatch(query):
        part.fault("query", "is no name of a parameter", "use letters, digits, `_`, `-` and `.`")
    if bool(names) == (query is not None):
        part.fault(None, "must name either headers or one query parameter", "write {headers: [NAME]} or {query: NAME}")
        return BEARER
    return Placement("headers", names) if names else Placement("query", (query or "",))


def _among(section: Section, key: str, names: Sequence[str]) -> tuple[str, ...]:
    found = section.texts(key)
    for index, name in enumerate(found):
        if name not in names:
            fix = did_you_mean(name, names) or f"known here: {', '.join(names) or 'none'}"
            problem = section.document.problem((*section.path, key, index), f"'{name}' is not declared here", fix)
            section.problems.append(problem)
    return found


def _life(section: Section, key: str) -> float | None:
    """Seconds, or None for `never`."""
    if section.data.get(key) == _NEVER:
        return None
    found = section.number(key)
    if found == 0:
        section.fault(key, "is too small", f"write seconds, or `{_NEVER}`")
    return found


def _part(section: Section, key: str) -> float | None:
    found = section.number(key)
    least, most = _RENEW_AT
    if found is not None and not least <= found <= most:
        section.fault(key, f"must be from {least} to {most}", "it is a part of the token's life")
        return None
    return found
