"""A broker with a WebSocket: real, over TLS with the tests' own CA, and it does what a test tells it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from proxy.audit.trailfile import name_of
from tests import lab

Socket = aiohttp.ClientWebSocketResponse[bool]
Behaviour = Callable[["EchoBroker", web.WebSocketResponse], Awaitable[None]]

ROWS = """\
  - {id: open, method: GET, path: /v1/socket, scope: read, websocket: true, idle: 30}
  - {id: quick, method: GET, path: /v1/quick, scope: read, websocket: true, idle: 1}
  - {id: trading, method: GET, path: /stream, scope: read, websocket: true, speaks: alpaca-trading}
  - {id: market, method: GET, path: /v1/markets/events, scope: read, websocket: true, speaks: tradier}
"""


async def echo(broker: "EchoBroker", socket: web.WebSocketResponse) -> None:
    """Say back what is said, and note it."""
    async for message in socket:
        broker.frames.append(message.data)
        if message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)


@dataclass
class EchoBroker:
    """What it saw, and what it does. `refusals`: status and body of the next handshakes, instead of a socket."""

    behaviour: Behaviour = echo
    options: dict[str, Any] = field(default_factory=dict)
    refusals: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[web.BaseRequest] = field(default_factory=list)
    frames: list[str | bytes] = field(default_factory=list)
    closes: list[int | None] = field(default_factory=list)
    open: int = 0
    port: int = 0
    headers: dict[str, str] = field(default_factory=lambda: {"X-Broker": "yes", "Set-Cookie": "a=b"})
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        if self.refusals:
            status, body = self.refusals.pop(0)
            return web.Response(status=status, body=body, headers=self.headers)
        socket = web.WebSocketResponse(**{"compress": False, "max_msg_size": 1 << 26, "timeout": 0.5} | self.options)
        await socket.prepare(request)
        self.open += 1
        try:
            await self.behaviour(self, socket)
        finally:
            self.open -= 1
            self.closes.append(socket.close_code)
            self.gone.set()
        return socket


@asynccontextmanager
async def broker(behaviour: Behaviour = echo, **options: Any) -> AsyncIterator[EchoBroker]:
    """One that is open within the block."""
    found = EchoBroker(behaviour, options)
    runner = web.ServerRunner(web.Server(found.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=lab.TRUST.tls)
    await site.start()
    found.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    try:
        yield found
    finally:
        await runner.cleanup()


HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def handshake(*parts: dict[str, str] | dict[str, str | None]) -> list[str]:
    """A handshake's headers, the later ones over the earlier ones; None takes one out."""
    headers: dict[str, str | None] = {name: value for part in (HANDSHAKE, *parts) for name, value in part.items()}
    return [f"{name}: {value}" for name, value in headers.items() if value is not None]


@dataclass
class Desk:
    """A lab with such a broker, and a client's own session."""

    lab: lab.Lab
    broker: EchoBroker
    client: aiohttp.ClientSession

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.lab.key}"}

    async def records(self) -> dict[str, dict[str, Any]]:
        """The last record of each kind in the audit trail."""
        await self.lab.trail.durable()
        data = self.lab.disk.content(self.lab.trail.directory / name_of(1))
        found = [json.loads(line) for line in data.splitlines() if line.startswith(b"{")]
        return {record["kind"]: record for record in found}

    def url(self, path: str = "/v1/socket") -> str:
        return f"http://{self.lab.host}/lab{path}"

    async def connect(self, path: str = "/v1/socket", **options: Any) -> "Socket":
        """A socket of a client with the key in its head, or with the `headers` given."""
        settings: dict[str, Any] = {"headers": self.auth, "max_msg_size": 0} | options
        socket: Socket = await self.client.ws_connect(self.url(path), **settings)
        return socket


@asynccontextmanager
async def desk(
    behaviour: Behaviour = echo, *, broker_options: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Desk]:
    """Client, gateway and broker, all with real sockets."""
    async with (
        broker(behaviour, **(broker_options or {})) as found,
        lab.running(broker=lab.definition(ROWS), at=found.port, **options) as place,
        aiohttp.ClientSession() as client,
    ):
        yield Desk(place, found, client)


async def until(holds: Callable[[], bool], seconds: float = 3.0) -> None:
    """Return when it holds; `TimeoutError` if it does not in time."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  what is waited for is in the hands of another task
            await asyncio.sleep(0.01)
