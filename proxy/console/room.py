"""What somebody sees who is let in: the page, its forms, a new key, live updates, and the way out."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from proxy.console import acts, answers, charts, forms, snippets
from proxy.console.actions import LEAVE, Actions
from proxy.console.answers import ALL_HEADERS, PAGE_HEADERS, of_method
from proxy.console.charts import Chart
from proxy.console.forms import Malformed
from proxy.console.live import Live
from proxy.console.page import Pages, context
from proxy.console.recent import COUNT, Wanted
from proxy.console.session import COOKIE, Session, Sessions, same
from proxy.console.view import Asking, View
from proxy.history import Span

REFRESH = 30  # seconds between two looks of an open page that runs no script
CHARTS_LAST = 5.0  # seconds: what they are made of comes every ten
DO = "do/"  # before the name of an act
KEY = "key/"


class Room:
    """Everything below the path `home`, for a request that has a session."""

    def __init__(self, view: View, sessions: Sessions, pages: Pages, home: str) -> None:
        self._view = view
        self._sessions = sessions
        self._pages = pages
        self._home = home
        self._asking = Asking(view)
        self._actions = Actions(view, self._asking, pages, home)
        self._charts: dict[Span, tuple[float, list[Chart]]] = {}
        self._live = Live(self._drawn, self._now, PAGE_HEADERS | ALL_HEADERS)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def close(self) -> None:
        """End the streams, and let acts under way end."""
        self._live.close()
        await self._asking.close()

    async def serve(self, request: web.BaseRequest, session: Session, name: str, query: str) -> web.StreamResponse:
        """What lies under `name`. Whatever changes something is a POST, and everything else a GET."""
        if name.startswith(DO):
            return of_method(request, "POST") or await self._act(name.removeprefix(DO), session, request)
        if name in ("", "events", *acts.FORMS) or name.startswith(KEY):
            return of_method(request, "GET") or await self._show(name, session, request, query)
        return answers.none_here()

    async def _show(self, name: str, session: Session, request: web.BaseRequest, query: str) -> web.StreamResponse:
        if name == "":
            return await self._page(session, forms.query(query))
        if name == "events":
            return await self._live.stream(request, session, query)
        if name.startswith(KEY):
            return self._key(session, name.removeprefix(KEY))
        return await self._actions.form(name, session, forms.query(query))

    async def _page(self, session: Session, query: Mapping[str, str]) -> web.Response:
        paused = "paused" in query
        reloads = not (paused or session.runs_scripts(self._now()))
        notice = session.noted(query.get("done", ""))
        shown = await self._looked(query, paused=paused, reloads=reloads, notice=notice, csrf=session.csrf.reveal())
        response = answers.page(await asyncio.to_thread(self._pages.status, shown), forms=True)
        if reloads:
            response.headers["Refresh"] = f"{REFRESH};url={shown['link']()}"
        return response

    async def _looked(self, query: Mapping[str, str], **more: Any) -> dict[str, Any]:
        """All that the page shows."""
        wanted = Wanted.of(query)
        records = await self._view.recent(wanted, COUNT)
        status = self._view.status()
        span = charts.span_of(query.get("span", ""))
        drawn = await self._charted(span, status["now"])
        connect = snippets.of(status, query.get("language", ""), query.get("to", ""))
        return context(status, query, wanted=wanted, records=records, charts=drawn, span=span, connect=connect, **more)

    async def _drawn(self, query: str) -> dict[str, str]:
        # Many mounts take a while to write: calls must not wait for it.
        return await asyncio.to_thread(self._pages.parts, await self._looked(forms.query(query)))

    async def _charted(self, span: Span, now: float) -> list[Chart]:
        made, drawn = self._charts.get(span, (0.0, []))
        if not drawn or self._now() - made >= CHARTS_LAST:
            drawn = await asyncio.to_thread(charts.drawn, self._view.history().shown(span), now)
            self._charts[span] = (self._now(), drawn)
        return drawn

    def _key(self, session: Session, name: str) -> web.Response:
        standing = self._view.status()  # first: once it is taken, nothing may go wrong
        made = session.take_key(name)
        status = HTTPStatus.OK if made is not None else HTTPStatus.GONE
        return answers.page(self._pages.key(made, standing, session.csrf.reveal()), status)

    async def _act(self, name: str, session: Session, request: web.BaseRequest) -> web.Response:
        if name != LEAVE:
            return await self._actions.take(name, session, request)
        try:
            form = await forms.read(request)
        except Malformed as error:
            return self._actions.refused(str(error), HTTPStatus.BAD_REQUEST)
        if not same(form.get("csrf", ""), session.csrf):
            return self._actions.refused("It is not of this session.")
        self._sessions.end(session)
        self._live.end(session)
        response = answers.page(self._pages.closed(left=True))
        response.del_cookie(COOKIE, path=self._home)
        return response
