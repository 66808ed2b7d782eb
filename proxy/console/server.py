"""The console's listener: who may look, and what lies under which path.

Health and metrics are open to every program that reaches the listener and hold no secret. The page wants the token of
the printed address once; it is swapped for a cookie whose `Path` is a random prefix of this start, because cookies
ignore ports: under `/` every other local server would be sent ours. A broker's redirect after a login arrives without
either (`callback.py`).
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus

from aiohttp import web

from proxy.certificates import Certificates, place
from proxy.config import Address, Tcp
from proxy.console import answers
from proxy.console.answers import ALL_HEADERS, of_method
from proxy.console.callback import PATH as CALLBACK
from proxy.console.callback import Callback
from proxy.console.page import Pages
from proxy.console.room import Room
from proxy.console.session import COOKIE, Pass, Sessions
from proxy.console.view import View
from proxy.errors import Refusal, render
from proxy.gate import browser
from proxy.listener import Entry, Given, Listener, open_listener
from proxy.metrics import CONTENT_TYPE as METRICS
from proxy.vestibule import Crowd

FOR_MACHINES = ("/livez", "/healthz", "/readyz", "/metrics")
CONNECTIONS = 256  # a crowd at the data listeners leaves these free

_PREFIX = re.compile(r"/[\w-]{22}/", re.ASCII)  # of the pages of a start

MOST_COOKIES = 8  # of one name that are looked at

Route = Callable[[str], web.Response]


class Console:
    """One listener of the console. `start()` first, `stop()` last.

    `admits` knows the token that opens the page. `allowed_hosts` are names that it answers to
    beside its own address. `grace`: seconds that requests inside may take when it stops. With `certificates` it speaks
    TLS. `given` is the socket to listen on, if there is one already.
    """

    def __init__(
        self,
        address: Address,
        *,
        admits: Pass,
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
        self._pass = admits
        self._sessions = Sessions(lambda: asyncio.get_running_loop().time())
        self._home = f"/{secrets.token_urlsafe(16)}/"
        machines = (self._live, self._live, self._ready, self._metrics)
        self._open: dict[str, Route] = dict(zip(FOR_MACHINES, machines, strict=True))
        self._open |= {"/console.css": self._css, "/console.js": self._js}
        self._pages: Pages | None = None  # until somebody wants to see one: most starts are nobody's to look at
        self._drawing = asyncio.Lock()
        self._callback: Callback | None = None
        self._room: Room | None = None
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
        """Close the listener and what is left of its connections; let acts under way end."""
        self._sessions.end_all()
        if self._room is not None:
            await self._room.close()
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
        return f"{self.place}?token={self._pass.token}"

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
        if response.prepared:
            return response
        response.headers.update(ALL_HEADERS)
        if request.body_exists:
            response.force_close()  # all but a form of ours is never read
        return response

    async def _draw(self) -> None:
        """Read and compile the pages."""
        async with self._drawing:
            if self._pages is None:
                pages = await asyncio.to_thread(Pages)
                self._room = Room(self._view, self._sessions, pages, self._home)
                callback = Callback(self._view.end_login, pages, scheme=self._scheme, home=self._home)
                self._callback = self._callback or callback
                self._pages = pages

    async def _dispatch(self, listener: Listener, request: web.BaseRequest) -> web.StreamResponse:
        # The raw target: an absolute one, or one that is encoded oddly, has no route.
        path, _, query = request.raw_path.partition("?")
        if self._pages is None and path not in FOR_MACHINES:
            await self._draw()
        hosts = None
        if isinstance(listener.bound, Tcp):
            hosts = browser.Hosts([*listener.names, *self._allowed_hosts])
            if self._callback is not None and (response := await self._callback.handle(request, hosts)) is not None:
                return response
        self._check_origin(request, hosts)
        if self._room is not None and path.startswith(self._home):
            session = next(filter(None, map(self._sessions.of, _cookies(request))), None)
            if session is None:
                return self._closed()
            return await self._room.serve(request, session, path.removeprefix(self._home), query)
        return self._answer(request, path, query)

    def _check_origin(self, request: web.BaseRequest, hosts: browser.Hosts | None) -> None:
        """Before anything else: no foreign page, and no foreign name for this machine."""
        named = [value for name, value in request.raw_headers if name.lower() == b"host"]
        # Our own pages call the name that they came by; whether that name is ours is checked before the origin is.
        origin = f"{self._scheme}://{named[0].decode('ascii', 'replace')}" if hosts and len(named) == 1 else None
        browser.check(request.method, request.raw_headers, hosts, own_origin=origin)

    def _answer(self, request: web.BaseRequest, path: str, query: str) -> web.Response:
        if path in self._open:
            return of_method(request, "GET", "HEAD") or self._open[path](query)
        if _PREFIX.match(path):  # a page asks for itself that was open before this start
            return self._closed()
        if path == CALLBACK:
            return of_method(request, "GET") or answers.none_here()
        if path == "/":
            return of_method(request, "GET") or self._enter(query)
        return answers.none_here()

    # -- for machines -------------------------------------------------------------------------------------------------

    def _live(self, _query: str) -> web.Response:
        return answers.text("ok")

    def _ready(self, query: str) -> web.Response:
        word, lines = self._view.ready()
        verbose = query.partition("=")[0] == "verbose"
        body = "\n".join([*lines, word] if verbose else [word])
        return answers.text(body, HTTPStatus.OK if self._view.serves() else HTTPStatus.SERVICE_UNAVAILABLE)

    def _metrics(self, _query: str) -> web.Response:
        return web.Response(body=self._view.metrics(), headers={"Content-Type": METRICS})

    def _css(self, _query: str) -> web.Response:
        return web.Response(body=self._made().css, headers={"Content-Type": "text/css; charset=utf-8"})

    def _js(self, _query: str) -> web.Response:
        return web.Response(body=self._made().js, headers={"Content-Type": "text/javascript; charset=utf-8"})

    # -- for a person -------------------------------------------------------------------------------------------------

    def _enter(self, query: str) -> web.Response:
        """The printed address: its token → a cookie, and on to the page, so that no history keeps the token."""
        token = query.removeprefix("token=")
        if self._pass.take(token):
            response = answers.see_other(self._home)
            response.set_cookie(
                COOKIE,
                self._sessions.begin().cookie.reveal(),
                path=self._home,
                httponly=True,
                samesite="Strict",
                secure=self._certificates is not None,
            )
            return response
        # The same link again in the same browser: there the cookie decides.
        return answers.see_other(self._home) if self._pass.was(token) else self._closed()

    def _closed(self) -> web.Response:
        return answers.page(self._made().closed(), HTTPStatus.FORBIDDEN)

    def _made(self) -> Pages:
        if self._pages is None:
            raise RuntimeError("the pages were not drawn")
        return self._pages


def _cookies(request: web.BaseRequest) -> list[str]:
    """All cookies of our name, the first few: whatever else runs on this machine may have set one beside ours."""
    pairs = [
        pair.strip().partition("=") for header in request.headers.getall("Cookie", ()) for pair in header.split(";")
    ]
    return [value for name, _, value in pairs if name == COOKIE][:MOST_COOKIES]


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
