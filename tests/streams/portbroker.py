"""Questrade as its streams see it, scripted: calls that name ports, and at each a socket that wants the token first.

Which of two sockets of a kind ends the other, and when, is what a test chooses. Everything that was said is kept.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal
from urllib.parse import parse_qs

from aiohttp import web

from tests.wire import Visit

BAD_TOKEN = {"code": 1017, "message": "Access token is invalid"}


@dataclass(eq=False)
class Session:
    """A socket that has shown a token. `ids` are the symbols of its port."""

    kind: str
    ids: frozenset[int]
    token: str
    ws: web.WebSocketResponse
    said: list[str] = field(default_factory=list)  # what the client said after the token
    over: bool = False  # nothing is sent any more

    @property
    def open(self) -> bool:
        return not (self.over or self.ws.closed)


@dataclass
class PortBroker:
    """`token()` is the one that counts. `order`: of a second socket's greeting and the end of the first one.

    `snapshot`: a socket of quotes begins with one of each symbol. `refuses` is said to so many tokens to come.
    """

    tls: ssl.SSLContext
    token: Callable[[], str]
    order: Literal["greets-first", "ends-first", "feeds-both"] = "greets-first"
    snapshot: bool = False
    mood: str = ""  # instead of a greeting it `is silent`, `closes`, `answers 403` or `echoes` the token
    refuses: list[dict[str, object]] = field(default_factory=list)
    dead_port: int | None = None  # is named, and nobody listens there
    calls: list[str] = field(default_factory=list)  # raw targets of the API's calls
    tokens: list[str] = field(default_factory=list)  # first messages
    sessions: list[Session] = field(default_factory=list)  # all that there were
    paths: list[str] = field(default_factory=list)  # raw targets of handshakes
    heads: list[dict[str, str]] = field(default_factory=list)  # their headers
    _ports: dict[str, int] = field(default_factory=dict)
    _runners: list[web.ServerRunner] = field(default_factory=list)

    # -- the API ------------------------------------------------------------------------------------------------------

    async def answer(self, visit: Visit) -> None:
        """One call of the API."""
        target = visit.target.decode()
        self.calls.append(target)
        path, _, query = target.partition("?")
        if visit.bearer != self.token():
            await visit.json(BAD_TOKEN, 401)
        elif path in ("/v1/notifications", "/v1/markets/quotes"):
            port = self.dead_port or await self.port(target)
            document: dict[str, object] = {"streamPort": port}
            if path == "/v1/markets/quotes":
                document["quotes"] = [{"symbolId": number} for number in _ids(query)]
            await visit.json(document)
        else:
            await visit.json({"time": "2026-11-22T11:00:00.000000-05:00"})

    async def port(self, url: str) -> int:
        """The port of a URL: the same for the same one."""
        if url not in self._ports:
            runner = web.ServerRunner(web.Server(partial(self._socket, url)), shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self.tls)
            await site.start()
            self._runners.append(runner)
            self._ports[url] = runner.addresses[0][1]
        return self._ports[url]

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()

    # -- the sockets --------------------------------------------------------------------------------------------------

    async def _socket(self, url: str, request: web.BaseRequest) -> web.StreamResponse:
        if self.mood == "answers 403":
            return web.Response(status=403)
        ws = web.WebSocketResponse(timeout=0.2)
        await ws.prepare(request)
        self.paths.append(request.raw_path)
        self.heads.append(dict(request.headers))
        token = await ws.receive_str(timeout=5)
        self.tokens.append(token)
        if self.mood:
            if self.mood == "echoes":
                await ws.send_json({"success": True, "token": token})
            if self.mood != "is silent":
                await ws.close(code=4321, message=b"go away")
            await ws.receive()
            return ws
        if token != self.token() or self.refuses:
            await ws.send_json(self.refuses.pop(0) if self.refuses else BAD_TOKEN)
            await ws.close()
            return ws
        path, _, query = url.partition("?")
        session = Session("quotes" if "quotes" in path else "notifications", _ids(query), token, ws)
        before = self.live(session.kind)
        if self.order == "ends-first":
            await self._end(before)
            await asyncio.sleep(0.02)
        await ws.send_str('{"success": true}')
        self.sessions.append(session)
        if self.order == "greets-first":
            await self._end(before)
        if self.snapshot and session.ids:
            await ws.send_str(json.dumps({"quotes": [{"symbolId": number, "n": 0} for number in sorted(session.ids)]}))
        async for message in ws:
            session.said.append(message.data)
        return ws

    async def _end(self, sessions: list[Session]) -> None:
        for session in sessions:
            session.over = True
        if self.order == "greets-first":
            await asyncio.sleep(0.05)  # the other end sees things of two connections in any order
        await asyncio.gather(*(session.ws.close() for session in sessions))

    def live(self, kind: str | None = None) -> list[Session]:
        return [session for session in self.sessions if session.open and kind in (None, session.kind)]

    async def tell(self, text: str, kind: str = "notifications") -> None:
        """Send a message to whoever is connected."""
        for session in self.live(kind):
            with contextlib.suppress(ConnectionError):
                await session.ws.send_str(text)

    async def quote(self, *ids: int, price: str = "1.10") -> None:
        """One message with a quote of each symbol that a socket has asked for."""
        for session in self.live("quotes"):
            quotes = [f'{{"symbolId":{number},"bidPrice":{price}}}' for number in ids if number in session.ids]
            if quotes:
                await session.ws.send_str(f'{{"quotes":[{",".join(quotes)}]}}')

    async def drop(self, kind: str | None = None, code: int = 1000) -> None:
        """End what is connected, with a close frame."""
        await asyncio.gather(*(session.ws.close(code=code) for session in self.live(kind)))

    def numbers(self) -> list[int]:
        """The ports that there are."""
        return list(self._ports.values())

    def asked(self, path: str) -> list[str]:
        """The calls of one path."""
        return [target for target in self.calls if target.partition("?")[0] == path]


def _ids(query: str) -> frozenset[int]:
    return frozenset(int(number) for text in parse_qs(query).get("ids", []) for number in text.split(","))
