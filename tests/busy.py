"""A server that is called all the time, in every way: what its callers see while it reloads, and when it stops."""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from proxy.admin import call
from proxy.store.keys import Source
from tests import lab
from tests.callers import Wire, ask
from tests.product import Program

PAUSE = 0.004  # seconds between two calls of a caller
SLOW = 0.3  # seconds that the broker takes for a long poll
MOUNT = {"broker": "own", "environment": "here", "scopes": ["read", "trade"]}
ROWS = [
    {"id": "calls", "method": "GET", "path": "/v1/calls", "scope": "read"},
    {"id": "poll", "method": "GET", "path": "/v1/poll", "scope": "read"},
    {"id": "feed", "method": "GET", "path": "/v1/feed", "scope": "read", "streaming": True},
    {"id": "socket", "method": "GET", "path": "/v1/socket", "scope": "read", "websocket": True},
    {"id": "order", "method": "POST", "path": "/v1/orders", "scope": "trade", "mutating": True},
]


async def _broker(seen: Counter[str], request: web.BaseRequest) -> web.StreamResponse:
    """Answers, late answers, a stream of events, a socket that says back what is said."""
    seen[request.path] += 1
    match request.path:
        case "/v1/socket":
            socket = web.WebSocketResponse(compress=False, timeout=0.5)
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data)
            return socket
        case "/v1/feed":
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):
                while True:
                    await response.write(b"data: 1\n\n")
                    await asyncio.sleep(0.02)
            return response
        case "/v1/poll":
            await asyncio.sleep(SLOW)
        case _:
            await request.read()
    return web.json_response({"path": request.path})


@asynccontextmanager
async def _upstream(seen: Counter[str]) -> AsyncIterator[int]:
    runner = web.ServerRunner(web.Server(partial(_broker, seen), access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=lab.TRUST.tls)
    await site.start()
    try:
        yield site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    finally:
        await runner.cleanup()


@dataclass
class Seen:
    """What callers saw, by kind of caller: answers, all else that came, and close codes of sockets."""

    good: Counter[str] = field(default_factory=Counter)
    others: list[str] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)
    refused: int = 0  # connections, by a server that had gone

    def __str__(self) -> str:
        return f"{dict(self.good)}, {len(self.others)} failed, {self.refused} refused, closed with {dict(self.codes)}"


@dataclass
class Busy:
    """The server. `over` is set when callers shall call no more; who has a socket or a stream keeps it for longer if
    `patient`.
    """

    home: Path
    server: Program
    config: dict[str, Any]
    url: str = ""
    console: str = ""
    key: str = field(default="", repr=False)
    seen: Seen = field(default_factory=Seen)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    patient: bool = False
    broker: Counter[str] = field(default_factory=Counter)  # calls that it has seen, by path

    @property
    def _stays(self) -> bool:
        return self.patient or not self.over.is_set()

    async def command(self, name: str, /, **params: Any) -> dict[str, Any]:
        return await call(self.home / "state/admin.sock", name, params, timeout=60)

    def write(self, changes: Mapping[str, Any]) -> None:
        """The configuration with these keys instead."""
        (self.home / "config.yaml").write_text(json.dumps(self.config | dict(changes)))

    # -- callers ------------------------------------------------------------------------------------------------------

    def callers(self) -> list[Coroutine[Any, Any, None]]:
        """One of each kind, and more of those who call often."""
        plain = [self._kept("kept", "GET", "/own/v1/calls") for _ in range(4)]
        fresh = [self._new() for _ in range(2)]
        slow = [self._kept("polls", "GET", "/own/v1/poll") for _ in range(2)]
        return [*plain, *fresh, *slow, self._kept("orders", "POST", "/own/v1/orders"), self._socket(), self._feed()]

    async def _kept(self, kind: str, method: str, target: str) -> None:
        """Over a connection that is kept for as long as the server keeps it."""
        wire, body = Wire(self.url), b"{}" if method == "POST" else None
        while not self.over.is_set():
            if not await self._once(kind, wire, method, target, body):
                return
        await wire.close()

    async def _new(self) -> None:
        """Each call on a connection of its own."""
        while not self.over.is_set():
            wire = Wire(self.url)
            if not await self._once("new", wire, "GET", "/own/v1/calls", None):
                return
            await wire.close()

    async def _once(self, kind: str, wire: Wire, method: str, target: str, body: bytes | None) -> bool:
        """Whether the server is still there."""
        try:
            reply = await wire.call(method, target, self.key, body)
        except ConnectionRefusedError:
            self.seen.refused += 1
            return False
        except (OSError, EOFError) as error:
            self.seen.others.append(f"{kind}: {type(error).__name__}")
            await wire.close()
            return True
        if reply is not None and reply.status == 200:
            self.seen.good[kind] += 1
        else:
            self.seen.others.append(f"{kind}: {reply and (reply.status, reply.ours)}")
        await asyncio.sleep(PAUSE)
        return True

    async def _socket(self) -> None:
        """One socket for as long as the server keeps it."""
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(f"{self.url}/own/v1/socket", headers=self._headers)
            while self._stays:
                await socket.send_str("here")
                message = await socket.receive(timeout=10)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                self.seen.good["socket"] += 1
                await asyncio.sleep(PAUSE)
            if socket.close_code is not None:
                self.seen.codes[socket.close_code] += 1
            await socket.close()

    async def _feed(self) -> None:
        """A stream of events, read to its end."""
        async with aiohttp.ClientSession() as session:
            answer = await session.get(f"{self.url}/own/v1/feed", headers=self._headers)
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async for _ in answer.content:
                    self.seen.good["feed"] += 1
                    if not self._stays:
                        break
            answer.close()

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def not_ready(self) -> None:
        """Return when `/readyz` says that a balancer is to look elsewhere."""
        while (await ask(self.console, "GET", "/readyz")).status == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def busy(
    directory: Path, workers: int = 1, *, environ: Mapping[str, str] | None = None, drain_delay: float = 0.0
) -> AsyncIterator[Busy]:
    """The server, logged in; nobody calls yet."""
    seen: Counter[str] = Counter()
    async with _upstream(seen) as port:
        own = {
            "title": "Own",
            "scopes": {"read": "Reading", "trade": "Placing orders"},
            "params": {},
            "logins": {"token": {"kind": "secret", "title": "A token"}},
            "environments": {"here": {"api_server": f"https://127.0.0.1:{port}", "ca_file": lab.CA_FILE}},
            "rows": ROWS,
        }
        config = {
            "listen": "127.0.0.1:0", "console": "127.0.0.1:0", "store": "sqlite:state/store.db",
            "key": "file:master.key", "workers": workers, "mounts": {"own": MOUNT},
            "clients": {"bot": {"own": ["read", "trade"]}, "other": {"own": ["read"]}}, "brokers": {"own": own},
            "shutdown": {"drain_delay": drain_delay, "grace": 10},
        }  # fmt: skip
        await asyncio.to_thread(Source("file:master.key", directory).create)
        (directory / "config.yaml").write_text(json.dumps(config))
        server = Program(directory, "serve", "-c", "config.yaml", "--log-format", "json", environ=environ)
        found = Busy(directory, server, config, broker=seen)
        try:
            await asyncio.to_thread(server.until, "To do: ")
            found.url = re.findall(r"serves (http://[0-9.:]+)", server.output)[0]
            found.console = re.findall(r"Console: (http://[0-9.:]+)/", server.output)[0]
            await found.command("login", mount="own", token="a-plain-token-of-this-broker")
            found.key = (await found.command("clients-add", name="bot"))["key"]
            yield found
        finally:
            if server.code is None:
                await asyncio.to_thread(server.kill)


@asynccontextmanager
async def called(place: Busy) -> AsyncIterator[Seen]:
    """All callers call within the block, and end with it."""
    async with asyncio.TaskGroup() as group:
        for caller in place.callers():
            group.create_task(caller)
        try:
            await asyncio.sleep(0.2)
            yield place.seen
        finally:
            place.over.set()
