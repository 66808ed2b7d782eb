"""Where a broker sends the browser back to after a login, on the console or on a listener of its own.

Only the `state` authenticates it: no cookie is read. Whatever comes of it, the browser is sent on at once to a clean
address, so that neither code nor state stays in its history.
"""

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import web

from proxy.console.page import Pages
from proxy.gate import browser
from proxy.gate.browser import Hosts
from proxy.store import StoreError
from proxy.tokens.login import NOBODY_WAITS

PATH = "/callback"
DONE = f"{PATH}/done/"
UNKNOWN = "unknown"  # the page of every answer that belongs to no login: nothing is kept of it
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
_MOST_KEPT = 32  # pages of logins that have ended


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an answer: how the grant stands, as plain data, or what went wrong.

    `grant` is None for an answer that belongs to no login.
    """

    grant: str | None
    standing: dict[str, Any] | None = None
    problem: str = ""


class Callback:
    """Takes a broker's redirects at `path`. `complete` is given the whole address that the browser came by.

    `home` is the path of the console's page, for the link that leads back there.
    """

    def __init__(
        self,
        complete: Callable[[str], Awaitable[Outcome]],
        pages: Pages,
        *,
        path: str = PATH,
        scheme: str = "http",
        home: str | None = None,
    ) -> None:
        self._complete = complete
        self._home = home
        self._scheme = scheme
        self._pages = pages
        self._path = path
        self._ends: OrderedDict[str, Outcome] = OrderedDict()

    async def handle(self, request: web.BaseRequest, hosts: Hosts) -> web.Response | None:
        """The answer; None if the request is about something else, or uses a method that no redirect has.

        Raises `Refusal` for what is no redirect in a person's window; then no state is used up.
        """
        path = request.raw_path.partition("?")[0]
        if request.method != "GET" or not (path == self._path or path.startswith(DONE)):
            return None
        # The page comes at the end of a chain that began at another site: the same rules hold for it.
        browser.check_redirect(request.raw_headers, hosts)
        return self._page(path.removeprefix(DONE)) if path.startswith(DONE) else await self._arrive(request)

    async def _arrive(self, request: web.BaseRequest) -> web.Response:
        name, failed = UNKNOWN, False
        try:
            outcome = await self._complete(f"{self._scheme}://{request.headers['Host']}{request.raw_path}")
        except StoreError as error:
            outcome, failed = Outcome(None, problem=str(error)), True
        if outcome.grant is not None or failed:
            name = secrets.token_urlsafe(16)
            self._ends[name] = outcome
            while len(self._ends) > _MOST_KEPT:
                self._ends.popitem(last=False)
        return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": DONE + name} | HEADERS)

    def _page(self, name: str) -> web.Response:
        """It holds no code, state or token."""
        outcome = self._ends.get(name) or Outcome(None, problem=NOBODY_WAITS)
        return web.Response(
            status=HTTPStatus.OK if outcome.standing else HTTPStatus.BAD_REQUEST,
            text=self._pages.done(outcome.grant, outcome.standing, outcome.problem, home=self._home),
            headers={"Content-Type": "text/html; charset=utf-8"} | HEADERS,
        )
