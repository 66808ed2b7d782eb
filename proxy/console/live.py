"""Live updates: a stream of server-sent events for each open page, with those of its parts that have changed.

What a page gets is made anew each time it can take some, and compared with what it has: a browser that takes nothing
keeps nothing waiting but one message. Streams are few, and end with their session and with the console.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import web

from proxy.console.session import Session

MOST = 32  # streams at a time
MOST_EACH = 8  # of one browser
TICK = 2.0  # seconds between two looks
PING = 15.0  # seconds after which something is sent in any case
PATIENCE = 10.0  # seconds for a message to be taken
HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
AGAIN = 2000  # milliseconds until a browser comes back whose stream has broken off

Draw = Callable[[str], Awaitable[Mapping[str, str]]]


class Live:
    """All streams. `draw` makes the parts of a page of an address's query; `now` is the loop's clock."""

    def __init__(self, draw: Draw, now: Callable[[], float], headers: Mapping[str, str]) -> None:
        self._draw = draw
        self._now = now
        self._headers = {**headers, **HEADERS}
        self._open: list[tuple[web.BaseRequest, Session]] = []
        self._drawn: dict[str, tuple[float, Mapping[str, str]]] = {}
        self._drawing = asyncio.Lock()
        self._closing = False

    async def stream(self, request: web.BaseRequest, session: Session, query: str) -> web.StreamResponse:
        """Tell a page of changes until it closes, or its session ends."""
        if self._closing or len(self._open) >= MOST or session.streams >= MOST_EACH:
            busy = {"Retry-After": "10", "Content-Type": "text/plain; charset=utf-8"}
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text="Too many pages are open.\n", headers=busy)
        response = web.StreamResponse(headers=self._headers)
        response.force_close()
        self._open.append((request, session))
        session.streams += 1
        try:
            await response.prepare(request)
            await self._tell(response, session, query)
        except TimeoutError:
            _cut(request)
        finally:
            self._open = [each for each in self._open if each[0] is not request]
            session.streams -= 1
            session.used = session.heard = self._now()
            if not self._open:
                self._drawn.clear()
        return response

    async def _tell(self, response: web.StreamResponse, session: Session, query: str) -> None:
        async with asyncio.timeout(PATIENCE):
            await response.write(f"retry: {AGAIN}\n\n".encode())
        has: Mapping[str, str] = {}
        said = self._now()
        while not session.ended.is_set():
            found = await self._parts(query)
            news = {name: part for name, part in found.items() if has.get(name) != part}
            if news or self._now() - said >= PING:
                async with asyncio.timeout(PATIENCE):
                    await response.write(b"data: " + json.dumps(news).encode() + b"\n\n")
                has, said = found, self._now()
            session.heard = self._now()
            await _for(session.ended, TICK)

    async def _parts(self, query: str) -> Mapping[str, str]:
        """The parts of a page, made once for all who look at the same."""
        async with self._drawing:
            made, parts = self._drawn.get(query, (0.0, None))
            if parts is None or self._now() - made >= TICK / 2:
                parts = await self._draw(query)
                if query not in self._drawn and len(self._drawn) >= MOST:
                    self._drawn.clear()
                self._drawn[query] = (self._now(), parts)
            return parts

    def end(self, session: Session) -> None:
        """Its streams end now, also one that nobody takes anything from."""
        for request, whose in self._open:
            if whose is session:
                _cut(request)

    def close(self) -> None:
        """All streams end now, and none begins any more."""
        self._closing = True
        for request, session in self._open:
            session.ended.set()
            _cut(request)


async def _for(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _cut(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()
