"""A data feed of Alpaca's that does what a test tells it to, over TLS, and clients of a hub in front of it."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgpack  # type: ignore[import-untyped]  # there are no stubs
from aiohttp import web

from proxy.brokers import Broker
from proxy.relay.frames import Message as Frame
from proxy.streams.alpaca.hubs import Hubs
from proxy.streams.alpaca.reopening import Pace
from proxy.streams.client import BUFFER, SocketEnded
from tests.lab import TRUST, Lab, access_token, definition, running

Message = dict[str, Any]
ROWS = """
  - {id: iex, method: GET, path: /v2/iex, scope: read, websocket: true, speaks: alpaca-data}
  - {id: sip, method: GET, path: /v2/sip, scope: read, websocket: true, speaks: alpaca-data}
"""
# Limits that a test waits for are short in that test alone: machines may be busy.
QUICK = Pace(
    introduction=5.0, opening=5.0, answer=5.0, first=5.0, again=5.0, slot=5.0, shortest=0.02, longest=0.05, steady=0.3,
    linger=0.4, cool=0.1,
)  # fmt: skip
CHANNELS = ("trades", "quotes", "bars", "news")


def trade(symbol: str = "AAPL", number: int = 1) -> Message:
    """The shortest one."""
    return {"T": "t", "S": symbol, "i": number}


@functools.cache
def _definition() -> Broker:
    """Read once: it takes longer than a test."""
    return definition(ROWS)


@dataclass
class Session:
    """One socket at the broker."""

    ws: web.WebSocketResponse
    request: web.BaseRequest
    broker: "DataBroker"
    asked: list[Message] = field(default_factory=list)
    subscribed: dict[str, dict[str, None]] = field(default_factory=lambda: {channel: {} for channel in CHANNELS})

    @property
    def bearer(self) -> str:
        return self.request.headers.get("Authorization", "").removeprefix("Bearer ")

    async def send(self, *messages: Message) -> None:
        """One frame."""
        await self.ws.send_bytes(msgpack.packb(list(messages)))

    async def error(self, code: int) -> None:
        await self.send({"T": "error", "code": code, "msg": f"said {code}"})

    async def confirm(self) -> None:
        sets = {channel: list(symbols) for channel, symbols in self.subscribed.items()}
        await self.send({"T": "subscription", **sets, "corrections": sets["trades"], "cancelErrors": sets["trades"]})

    def drop(self) -> None:
        transport = self.request.transport
        assert transport is not None
        transport.abort()

    async def serve(self) -> None:
        """Confirm what is asked, unless the broker's `refuses` says otherwise."""
        async for message in self.ws:
            if message.type is not aiohttp.WSMsgType.BINARY:
                self.broker.pongs.append(bytes(message.data))
                continue
            asked: Message = msgpack.unpackb(message.data)
            self.asked.append(asked)
            await self.broker.answer(self, asked)

    async def change(self, asked: Message) -> None:
        for channel, own in self.subscribed.items():
            for symbol in asked.get(channel, ()):
                if asked["action"] == "subscribe":
                    own[symbol] = None
                else:
                    own.pop(symbol, None)
        await self.confirm()


Opening = Callable[[Session], Awaitable[None]]


async def good(session: Session) -> None:
    """As the broker greets one whose credential came in the handshake."""
    await session.send({"T": "success", "msg": "connected"})
    await session.send({"T": "success", "msg": "authenticated"})
    await session.serve()


async def silent(session: Session) -> None:
    async for _ in session.ws:
        pass


async def dropped(session: Session) -> None:
    session.drop()


def says(*codes: int) -> Opening:
    """An opening that ends with these errors."""

    async def opening(session: Session) -> None:
        await session.send({"T": "success", "msg": "connected"})
        for code in codes:
            await session.error(code)
        await session.ws.close()

    return opening


@dataclass
class DataBroker:
    """`openings` are played one after the other, and then all are good. A number is the status of a refusal."""

    openings: list[Opening | int] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    refused: int = 0
    port: int = 0
    answer: Callable[[Session, Message], Awaitable[None]] = Session.change

    @property
    def open(self) -> list[Session]:
        return [session for session in self.sessions if not session.ws.closed]

    @property
    def last(self) -> Session:
        return self.sessions[-1]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        opening = self.openings.pop(0) if self.openings else good
        if isinstance(opening, int):
            self.refused += 1
            body = {"code": 1017} if opening == 401 else {"message": "no"}
            return web.json_response(body, status=opening)
        ws = web.WebSocketResponse(autoping=False)
        await ws.prepare(request)
        session = Session(ws, request, self)
        self.sessions.append(session)
        await opening(session)
        return ws

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["DataBroker"]:
        server = web.Server(self.handle)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=TRUST.tls)
        await site.start()
        assert runner.addresses
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()


@dataclass
class Reader:
    """A client of the hub. What it has read is kept."""

    ws: aiohttp.ClientWebSocketResponse[bool]
    binary: bool
    heard: list[Message] = field(default_factory=list)
    frames: int = 0

    async def frame(self, seconds: float = 5.0) -> list[Message]:
        """The messages of the next frame."""
        message = await self.ws.receive(seconds)
        if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            raise EOFError(self.ws.close_code)
        assert (message.type is aiohttp.WSMsgType.BINARY) == self.binary
        messages: list[Message] = msgpack.unpackb(message.data) if self.binary else json.loads(message.data)
        self.heard += messages
        self.frames += 1
        return messages

    async def one(self, seconds: float = 5.0) -> Message:
        """The next message, which is alone in its frame."""
        [message] = await self.frame(seconds)
        return message

    async def closed(self, seconds: float = 5.0) -> int:
        """Read to the end; the close code."""
        try:
            while True:
                await self.frame(seconds)
        except EOFError as end:
            return int(str(end))

    async def say(self, asked: Message, *, binary: bool | None = None) -> None:
        if self.binary if binary is None else binary:
            await self.ws.send_bytes(msgpack.packb(asked))
        else:
            await self.ws.send_str(json.dumps(asked))

    async def auth(self, secret: str, key: str = "local") -> None:
        await self.say({"action": "auth", "key": key, "secret": secret})

    async def subscribe(self, **channels: list[str]) -> Message:
        """Ask, and read until it is confirmed or refused."""
        await self.say({"action": "subscribe", **channels})
        return await self.until("subscription", "error")

    async def unsubscribe(self, **channels: list[str]) -> Message:
        await self.say({"action": "unsubscribe", **channels})
        return await self.until("subscription", "error")

    async def until(self, *kinds: str) -> Message:
        while (message := (await self.frame())[-1])["T"] not in kinds:
            pass
        return message

    @property
    def data(self) -> list[Message]:
        return [message for message in self.heard if message["T"] not in ("success", "subscription", "error")]

    @property
    def errors(self) -> list[Message]:
        return [message for message in self.heard if message["T"] == "error"]


@dataclass
class Line:
    """A client's socket that takes so many bytes, and keeps them."""

    room: int = BUFFER
    frames: list[bytes] = field(default_factory=list)
    ended: SocketEnded | None = None
    said: tuple[int, str] | None = None
    asked: list[Frame] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)

    def push(self, frame: bytes, most: int = BUFFER) -> bool:
        if self.ended is not None or len(frame) > self.room + most - BUFFER:
            return False
        self.room -= len(frame)
        self.frames.append(frame)
        return True

    def end(self, code: int, reason: str = "") -> None:
        self.ended, self.said = SocketEnded(code, reason), (code, reason)

    async def receive(self) -> Frame:
        if not self.asked or self.ended is not None:
            raise self.ended or SocketEnded()
        return self.asked.pop(0)

    async def pong(self, data: bytes) -> None:
        self.pongs.append(data)


@dataclass
class House:
    """A gateway with hubs, a broker behind it, and clients in front of it."""

    lab: Lab
    broker: DataBroker
    hubs: Hubs
    _session: aiohttp.ClientSession
    _held: AsyncExitStack

    async def connect(self, *, key: str | None = "", binary: bool = True, feed: str = "iex") -> Reader:
        """A socket, not yet read. `key`: that of the head; None: without, empty: the right one."""
        headers = {"Content-Type": "application/msgpack"} if binary else {}
        if key is not None:
            headers["Authorization"] = f"Bearer {key or self.lab.key}"
        url = f"ws://{self.lab.host}/lab/v2/{feed}"
        ws = await self._held.enter_async_context(self._session.ws_connect(url, headers=headers))
        return Reader(ws, binary)

    async def enter(self, *, binary: bool = True, feed: str = "iex", **channels: list[str]) -> Reader:
        """A client that is authenticated, and listens."""
        reader = await self.connect(binary=binary, feed=feed)
        assert [["connected"], ["authenticated"]] == [[m["msg"] for m in await reader.frame()] for _ in range(2)]
        if channels:
            assert "subscription" == (await reader.subscribe(**channels))["T"]
        return reader


@asynccontextmanager
async def house(*openings: Opening | int, pace: Pace = QUICK, **options: Any) -> AsyncIterator[House]:
    """A house whose broker begins with these openings. `options` are those of the lab."""
    async with AsyncExitStack() as held:
        data = await held.enter_async_context(DataBroker(list(openings)).listening())
        lab = await held.enter_async_context(running(broker=_definition(), at=data.port, **options))
        hubs = Hubs(pace)
        lab.gateway.entrance.speakers["alpaca-data"] = hubs.serve
        lab.gateway.entrance.late = frozenset({"alpaca-data"})
        group = await held.enter_async_context(asyncio.TaskGroup())
        task = group.create_task(hubs.run())
        held.callback(task.cancel)
        session = await held.enter_async_context(aiohttp.ClientSession())
        yield House(lab, data, hubs, session, held)


def token(generation: int) -> str:
    return access_token(generation)
