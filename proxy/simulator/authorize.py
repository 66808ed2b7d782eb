"""The authorization code flow of a simulated broker (RFC 6749 section 4.1): a page with two buttons, and the codes.

A broker says by a check of its own which requests it takes, and what is asked for; everything after that is the same
for all of them.
"""

import base64
import hashlib
import hmac
import html
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiohttp import web

from proxy.simulator.listener import HTML, TEXT, Answer

CODE_LIFE = 600.0  # seconds
FORM = "application/x-www-form-urlencoded"

Parameters = Mapping[str, str]


class Refused(ValueError):
    """An authorization request that the broker does not take. The text says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may be shown to a person. `challenge` is that of PKCE (RFC 7636, S256), if there is one."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...] = ()
    state: str | None = None
    challenge: str | None = None


@dataclass(frozen=True, slots=True)
class _Code:
    """What nobody has exchanged yet. `dies` is Unix time."""

    asked: Asked
    dies: float


class Desk:
    """The login page of one broker at `path`, and the codes that it has given out.

    `check` makes a request into what it asks for; it raises `Refused`. `now` is Unix time. `code_life` is in seconds;
    `extra` are parameters of the redirect besides code and state.
    """

    def __init__(
        self,
        title: str,
        path: str,
        check: Callable[[Parameters], Asked],
        now: Callable[[], float],
        *,
        code_life: float = CODE_LIFE,
        extra: Parameters = MappingProxyType({}),
    ) -> None:
        self._title = title
        self._path = path
        self._check = check
        self._now = now
        self._code_life = code_life
        self._extra = extra
        self._codes: dict[str, _Code] = {}

    def page(self, parameters: Parameters) -> Answer:
        """GET: two buttons and all parameters of the request in hidden fields; 400 for a bad request."""
        try:
            asked = self._check(parameters)
        except Refused as refused:
            return _bad(refused)
        hidden = "".join(
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in parameters.items()
        )
        wanted = "".join(f"<li>{html.escape(scope)}</li>" for scope in asked.scopes)
        return page(
            self._title,
            f"<p>Allow the application <b>{html.escape(asked.client_id)}</b> to use your account?</p>"
            + (f"<ul>{wanted}</ul>" if wanted else "")
            + f'<form method="post" action="{self._path}">{hidden}'
            '<button name="decision" value="allow">Allow</button> '
            '<button name="decision" value="deny">Deny</button></form>',
        )

    def decide(self, form: Parameters) -> Answer:
        """POST: the person pressed a button: 302 back to the application, with a code or `error=access_denied`."""
        try:
            asked = self._check(form)
        except Refused as refused:
            return _bad(refused)
        if form.get("decision") != "allow":
            return redirect(asked.redirect_uri, {"error": "access_denied"} | _state(asked))
        return redirect(asked.redirect_uri, self._granted(asked))

    def approve(self, parameters: Parameters) -> str:
        """What follows from pressing `Allow`: the address that the browser is sent to. `Refused` for a bad request."""
        asked = self._check(parameters)
        return _joined(asked.redirect_uri, self._granted(asked))

    def exchange(
        self, code: str, client_id: str, *, redirect_uri: str | None = None, verifier: str | None = None
    ) -> Asked | None:
        """What a code stands for; None if it is unknown, used, late, or bound to something else. It is used up.

        A `redirect_uri` that is left out is not compared: some clients leave it out.
        """
        found = self._codes.pop(code, None)
        if found is None or self._now() >= found.dies or client_id != found.asked.client_id:
            return None
        if redirect_uri not in (None, found.asked.redirect_uri) or not _proven(found.asked.challenge, verifier):
            return None
        return found.asked

    def _granted(self, asked: Asked) -> dict[str, str]:
        code = secrets.token_urlsafe(24)
        self._codes[code] = _Code(asked, self._now() + self._code_life)
        return {"code": code, **self._extra, **_state(asked)}


def asked(
    parameters: Parameters,
    *,
    client_id: str,
    callback: str,
    response_types: Iterable[str] = ("code",),
    names_redirect: bool = True,
    needs_state: bool = False,
    scopes: Iterable[str] | None = None,
    separator: str = " ",
) -> Asked:
    """The usual check. `Refused` says what is wrong.

    The client and its callback must be the registered ones. With `names_redirect` the request must name the callback.
    `response_types` empty: there is no such parameter. `scopes`: those that may be asked for, one at least; None: any.
    """
    if parameters.get("client_id") != client_id:
        raise Refused("the client_id is not registered")
    types = tuple(response_types)
    if types and parameters.get("response_type") not in types:
        raise Refused(f"response_type must be one of: {', '.join(types)}")
    if names_redirect and parameters.get("redirect_uri") != callback:
        raise Refused("the redirect_uri is not the registered one")
    if needs_state and not parameters.get("state"):
        raise Refused("state is missing")
    wanted = tuple(scope for scope in parameters.get("scope", "").split(separator) if scope)
    if scopes is not None and (not wanted or not set(wanted) <= set(scopes)):
        raise Refused("scope must be some of the known ones")
    return Asked(client_id, callback, wanted, parameters.get("state"), _challenge(parameters))


def query_of(url: str, path: str) -> dict[str, str]:
    """The parameters of an authorize address. `Refused` if it is not one of `path`."""
    parts = urlsplit(url)
    if parts.path != path:
        raise Refused(f"not an authorize address: its path is not {path}")
    return dict(parse_qsl(parts.query))


async def form_of(request: web.BaseRequest) -> dict[str, str]:
    """The form in the body of a request; empty if there is none, or if it is said to be something else."""
    if not request.can_read_body or request.content_type != FORM:
        return {}
    return dict(parse_qsl((await request.read()).decode("utf-8", "replace")))


def basic_of(header: str | None) -> tuple[str, str] | None:
    """User and password of `Authorization: Basic` (RFC 7617), None if it is anything else."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, found, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (user, password) if found else None


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal."""
    # A header may hold bytes that are no text: aiohttp makes lone surrogates of them.
    return hmac.compare_digest(*(secret.encode("utf-8", "surrogateescape") for secret in (one, other)))


def redirect(uri: str, parameters: Mapping[str, object], *, fragment: bool = False) -> Answer:
    """302 to `uri` with more parameters in its query, or in its fragment."""
    return Answer(302, b"", HTML, {"Location": _joined(uri, parameters, fragment=fragment)})


def page(title: str, content: str) -> Answer:
    """A page for a person. `content` is HTML."""
    text = f"<!DOCTYPE html><html><head><title>Simulated {title}</title></head><body>{content}</body></html>"
    return Answer(200, text.encode(), HTML, {"Cache-Control": "no-store"})


def _bad(refused: Refused) -> Answer:
    return Answer(400, f"Bad Request: {refused}".encode(), TEXT)


def _joined(uri: str, parameters: Mapping[str, object], *, fragment: bool = False) -> str:
    separator = "#" if fragment else "&" if "?" in uri else "?"
    return uri + separator + urlencode(parameters)


def _state(asked: Asked) -> dict[str, str]:
    return {} if asked.state is None else {"state": asked.state}


def _challenge(parameters: Parameters) -> str | None:
    challenge = parameters.get("code_challenge")
    if challenge is not None and parameters.get("code_challenge_method") != "S256":
        raise Refused("code_challenge_method must be S256")
    return challenge


def _proven(challenge: str | None, verifier: str | None) -> bool:
    if challenge is None:
        return True
    digest = hashlib.sha256((verifier or "").encode()).digest()
    return same(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), challenge)
