"""The console's listener: who may look, and what lies under which path.

Health and metrics are open to every program that reaches the listener and hold no secret. The page wants the token of
the printed address once; it is swapped for a cookie whose `Path` is a random prefix of this start, because cookies
ignore ports: under `/` every other local server would be sent ours. A broker's redirect after a login arrives without
either (`callback.py`).
"""

import asyncio
import hmac
import secrets
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl

from aiohttp import web

from proxy.admin import NotPossible
from proxy.certificates import Certificates, place
from proxy.config import Address, Tcp
from proxy.console.callback import PATH as CALLBACK
from proxy.console.callback import Callback, Outcome
from proxy.console.page import Pages
from proxy.errors import Refusal, render
from proxy.gate import browser
from proxy.listener import Entry, Given, Listener, open_listener
from proxy.metrics import CONTENT_TYPE as METRICS
from proxy.secret import Secret
from proxy.store import StoreError
from proxy.vestibule import Crowd

COOKIE = "bearerd_console"
FOR_MACHINES = ("/livez", "/healthz", "/readyz", "/metrics")
REFRESH = 10  # seconds between two looks of an open page
LARGEST_FORM = 4096  # bytes
FORM_PATIENCE = 10.0  # seconds for a form to arrive
CONNECTIONS = 256  # a crowd at the data listeners leaves these free
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}
ALL_HEADERS = {
    "Server": "bearerd",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_TEXT = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"

Route = Callable[[web.BaseRequest, str], web.Response]


class View(Protocol):
    """What the console shows, none of it secret, and what it lets a person do."""

    def status(self) -> dict[str, Any]:
        """The server's status, as `bearerd status --json` prints it."""

    def ready(self) -> tuple[str, list[str]]:
        """`ok`, `degraded`, `needs-login` or `draining`, and a line for each thing that was looked at."""

    def metrics(self) -> bytes:
        """All metrics in Prometheus' text format."""

    async def begin_login(self, grant: str) -> str:
        """The address of the broker's page that logs `grant` in. Raises `NotPossible`, `StoreError`."""

    async def end_login(self, answer: str) -> Outcome:
        """What comes of the address that a broker led back to. Raises `StoreError`."""


class Console:
    """One listener of the console. `start()` first, `stop()` last.

    `token` opens the page: once, or any number of times if `reusable`. `allowed_hosts` are names that it answers to
    beside its own address. `grace`: seconds that requests inside may take when it stops. With `certificates` it speaks
    TLS. `given` is the socket to listen on, if there is one already.
    """

    def __init__(
        self,
        address: Address,
        *,
        token: str,
        reusable: bool,
        view: View,
        grace: float,
        allowed_hosts: Iterable[str] = (),
        certificates: Certificates | None = None,
        given: Given | None = None,
    ) -> None:
        self._address = address
        self._given = given
        self._certificates = certificates
        self._scheme = "http" if certificates is None else "https"
        self._view = view
        self._grace = grace
        self._allowed_hosts = tuple(allowed_hosts)
        self._reusable = reusable
        self._token = Secret(token)
        self._spent: Secret | None = None
        self._session = Secret(secrets.token_urlsafe(32))
        self._csrf = Secret(secrets.token_urlsafe(32))
        self._home = f"/{secrets.token_urlsafe(16)}/"
        self._open: dict[str, Route] = {
            **dict(zip(FOR_MACHINES, (self._live, self._live, self._ready, self._metrics), strict=True)),
            "/console.css": self._css,
        }
        self._pages: Pages | None = None  # until somebody wants to see one: most starts are nobody's to look at
        self._drawing = asyncio.Lock()
        self._callback: Callback | None = None
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Open the listener. Raises `OSError` with the address in its text."""
        self._listener = await open_listener(
            self._address,
            self._handle,
            grace=self._grace,
            greet=self._greet,
            crowd=Crowd(CONNECTIONS),
            entry=Entry(self._certificates, pages=True),
            given=self._given,
        )

    async def stop(self) -> None:
        """Close the listener and what is left of its connections."""
        if self._listener is not None:
            await self._listener.close()

    def _greet(self, listener: Listener) -> None:
        self._listener = listener

    @property
    def address(self) -> Address:
        """Where it listens; before `start`, where it will."""
        return self._listener.bound if self._listener else self._address

    @property
    def url(self) -> str:
        """An address that opens the page: if the last token has been used, one with a new token."""
        if not isinstance(self.address, Tcp):
            return self.place
        if self._token == self._spent:
            self._token = Secret(secrets.token_urlsafe(24))
        return f"{self.place}?token={self._token.reveal()}"

    @property
    def place(self) -> str:
        """Where the console is, without a token."""
        return place_of(self.address, self._certificates.hosts if self._certificates is not None else None)

    def allow_hosts(self, names: Iterable[str]) -> None:
        """From now on answer to these names too, and no longer to earlier ones."""
        self._allowed_hosts = tuple(names)

    async def _handle(self, listener: Listener, request: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await self._dispatch(listener, request)
        except Refusal as refusal:
            rendered = render(refusal, request_id=secrets.token_hex(8))
            response = web.Response(status=rendered.status, body=rendered.body, headers=rendered.headers)
        response.headers.update(ALL_HEADERS)
        if request.body_exists:
            response.force_close()  # all but one form is never read
        return response

    async def _draw(self) -> None:
        """Read and compile the pages."""
        async with self._drawing:
            if self._pages is None:
                self._pages = await asyncio.to_thread(Pages)
                self._callback = self._callback or Callback(self._view.end_login, self._pages, scheme=self._scheme)

    async def _dispatch(self, listener: Listener, request: web.BaseRequest) -> web.Response:
        if self._pages is None and request.raw_path.partition("?")[0] not in FOR_MACHINES:
            await self._draw()
        hosts = None
        if isinstance(listener.bound, Tcp):
            hosts = browser.Hosts([*listener.names, *self._allowed_hosts])
            if self._callback is not None and (response := await self._callback.handle(request, hosts)) is not None:
                return response
        self._check_origin(request, hosts)
        if request.raw_path == f"{self._home}login":
            return _of_method(request, ("POST",)) or await self._log_in(request)
        return self._answer(request)

    def _check_origin(self, request: web.BaseRequest, hosts: browser.Hosts | None) -> None:
        """Before anything else: no foreign page, and no foreign name for this machine."""
        named = [value for name, value in request.raw_headers if name.lower() == b"host"]
        # Our own pages call the name that they came by; whether that name is ours is checked before the origin is.
        origin = f"{self._scheme}://{named[0].decode('ascii', 'replace')}" if hosts and len(named) == 1 else None
        browser.check(request.method, request.raw_headers, hosts, own_origin=origin)

    def _answer(self, request: web.BaseRequest) -> web.Response:
        # The raw target: an absolute one, or one that is encoded oddly, has no route.
        path, _, query = request.raw_path.partition("?")
        if path in self._open:
            return _of_method(request, ("GET", "HEAD")) or self._open[path](request, query)
        if path == CALLBACK:
            return _of_method(request, ("GET",)) or _text("There is no such page.", HTTPStatus.NOT_FOUND)
        if path == "/":
            return _of_method(request, ("GET",)) or self._enter(query)
        if path == self._home:
            return _of_method(request, ("GET",)) or self._status(request, query)
        return _text("There is no such page.", HTTPStatus.NOT_FOUND)

    # -- for machines -------------------------------------------------------------------------------------------------

    def _live(self, _request: web.BaseRequest, _query: str) -> web.Response:
        return _text("ok")

    def _ready(self, _request: web.BaseRequest, query: str) -> web.Response:
        word, lines = self._view.ready()
        # While one mount serves, the others' trouble is no reason to send nobody here. Without any there is nothing.
        serves = word != "draining" and any(mount["usable"] for mount in self._view.status()["mounts"])
        verbose = query.partition("=")[0] == "verbose"
        body = "\n".join([*lines, word] if verbose else [word])
        return _text(body, HTTPStatus.OK if serves else HTTPStatus.SERVICE_UNAVAILABLE)

    def _metrics(self, _request: web.BaseRequest, _query: str) -> web.Response:
        return web.Response(body=self._view.metrics(), headers={"Content-Type": METRICS})

    def _css(self, _request: web.BaseRequest, _query: str) -> web.Response:
        return web.Response(body=self._made().css, headers={"Content-Type": "text/css; charset=utf-8"})

    # -- for a person -------------------------------------------------------------------------------------------------

    def _enter(self, query: str) -> web.Response:
        """The printed address: its token → a cookie, and on to the page, so that no history keeps the token."""
        token = query.removeprefix("token=")
        if _same(token, self._token) and self._token != self._spent:
            if not self._reusable:
                self._spent = self._token
            response = self._go_home()
            secure = self._certificates is not None
            response.set_cookie(
                COOKIE, self._session.reveal(), path=self._home, httponly=True, samesite="Strict", secure=secure
            )
            return response
        # The same link again in the same browser: there the cookie decides.
        return self._go_home() if self._spent and _same(token, self._spent) else self._closed()

    def _status(self, request: web.BaseRequest, query: str) -> web.Response:
        if not _same(request.cookies.get(COOKIE, ""), self._session):
            return self._closed()
        paused = query == "paused"
        response = _html(self._made().status(self._view.status(), paused=paused, csrf=self._csrf.reveal()))
        response.headers["Referrer-Policy"] = "same-origin"  # without any, a form is sent with `Origin: null`
        if not paused:
            response.headers["Refresh"] = str(REFRESH)
        return response

    async def _log_in(self, request: web.BaseRequest) -> web.Response:
        """The button: begin a login, and on to the broker's page."""
        form = await _form(request)
        allowed = _same(request.cookies.get(COOKIE, ""), self._session) & _same(form.get("csrf", ""), self._csrf)
        if not allowed:
            return self._closed()
        grant = form.get("grant", "")
        try:
            location = await self._view.begin_login(grant)
        except (NotPossible, StoreError) as error:
            return _html(self._made().done(None, None, str(error)), HTTPStatus.CONFLICT)
        # Browsers hold `form-action` against every redirect that follows a form, and where a broker sends them nobody
        # knows. A page that goes on by itself ends that chain; its address stands in the head only.
        response = _html(self._made().leaving(grant))
        response.headers["Refresh"] = f"0;url={location}"
        return response

    def _go_home(self) -> web.Response:
        return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": self._home} | PAGE_HEADERS)

    def _closed(self) -> web.Response:
        return _html(self._made().closed(), HTTPStatus.FORBIDDEN)

    def _made(self) -> Pages:
        if self._pages is None:
            raise RuntimeError("the pages were not drawn")
        return self._pages


def place_of(address: Address, hosts: Sequence[str] | None = None) -> str:
    """The address of a console that listens there, for a browser on this machine.

    `hosts`: the names and addresses that its certificate is for, if it has one.
    """
    if not isinstance(address, Tcp):
        return str(address)
    if hosts is not None:
        return f"https://{place(address, hosts)}/"
    if address.everywhere:
        address = Tcp("::1" if ":" in address.host else "127.0.0.1", address.port)
    return f"http://{address}/"


def _of_method(request: web.BaseRequest, methods: tuple[str, ...]) -> web.Response | None:
    """None if the request's method is one of `methods`, else the refusal."""
    if request.method in methods:
        return None
    response = _text(f"Only {' and '.join(methods)} here.", HTTPStatus.METHOD_NOT_ALLOWED)
    response.headers["Allow"] = ", ".join(methods)
    return response


async def _form(request: web.BaseRequest) -> dict[str, str]:
    """A small form; empty if it is anything else."""
    if not 0 < (request.content_length or 0) <= LARGEST_FORM:
        return {}
    try:
        async with asyncio.timeout(FORM_PATIENCE):
            body = await request.read()
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=8))
    except (ValueError, TimeoutError):
        return {}


def _same(given: str, secret: Secret) -> bool:
    """Whether `given` is the secret, in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.reveal().encode())


def _text(text: str, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(status=status, text=text + "\n", headers={"Content-Type": _TEXT})


def _html(text: str, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(status=status, text=text, headers={"Content-Type": _HTML} | PAGE_HEADERS)
