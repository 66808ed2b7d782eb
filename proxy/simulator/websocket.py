"""A client's WebSocket at a simulated broker."""

import asyncio
import struct
from abc import abstractmethod

from aiohttp import WSCloseCode, WSMsgType, web

from proxy.simulator.streams import Stream, Streams

Message = str | bytes
_TEXT, _BINARY = 0x81, 0x82
_BYTE, _TWO_BYTES = 125, 0xFFFF
_LARGEST = 1024 * 1024  # bytes of a client's message
_FAREWELL = 2.0  # seconds for a client to answer a close


def wanted(request: web.BaseRequest) -> bool:
    """Whether this is the handshake of a WebSocket."""
    return request.method == "GET" and request.headers.get("Upgrade", "").lower() == "websocket"


def framed(payload: bytes, *, text: bool) -> bytes:
    """A whole message in one frame, as servers write it: not masked."""
    kind, length = _TEXT if text else _BINARY, len(payload)
    if length <= _BYTE:
        return struct.pack("!BB", kind, length) + payload
    if length <= _TWO_BYTES:
        return struct.pack("!BBH", kind, 126, length) + payload
    return struct.pack("!BBQ", kind, 127, length) + payload


class Socket(Stream):
    """A WebSocket. What a broker's own does is in `greet` and `hear`; both may raise `Over`."""

    text: bool = True  # what it sends are text frames

    def __init__(self, request: web.BaseRequest, streams: Streams) -> None:
        super().__init__(request)
        self.streams = streams
        self._socket = web.WebSocketResponse(max_msg_size=_LARGEST, timeout=_FAREWELL)

    @abstractmethod
    async def greet(self) -> None:
        """What comes first: who it is. It joins `streams` itself when it is ready to hear."""

    @abstractmethod
    async def hear(self, message: Message) -> None:
        """One message of the client's, after the greeting."""

    async def serve(self) -> web.StreamResponse:
        """From the handshake to the end of the connection."""
        await self._socket.prepare(self.request)
        try:
            async with asyncio.TaskGroup() as group:
                ender = group.create_task(self._end_when_told())
                try:
                    await self._converse()
                finally:
                    ender.cancel()
        finally:
            self.over()
        return self._socket

    def over(self) -> None:
        """The connection has ended, whoever ended it."""
        self.streams.leave(self)

    async def say(self, payload: bytes) -> None:
        """One message, by itself."""
        self.write(framed(payload, text=self.text))

    async def next(self, seconds: float | None = None) -> Message:
        """The client's next message. Raises `Over` when there is none, TimeoutError when it takes too long."""
        message = await self._socket.receive(seconds)
        if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
            data: Message = message.data
            return data
        lost = message.type is WSMsgType.ERROR or self._socket.close_code == WSCloseCode.ABNORMAL_CLOSURE
        self.broken = self.broken or (lost and not self.spoilt)
        raise Over

    async def close(self, code: int = 1000) -> None:
        """Say goodbye, and wait a little for the client to do so too."""
        if not self._socket.closed:
            await self._socket.close(code=code)

    def framed(self, payload: bytes) -> bytes:
        return framed(payload, text=self.text)

    @property
    def nonsense(self) -> tuple[bytes, bytes]:
        wrong = b'[{"T":"t","S":' if self.text else b"\xc1\xff"
        return framed(wrong, text=self.text), b"\xbf\x7e\x00"  # reserved bits, a reserved kind, half a length

    async def _converse(self) -> None:
        try:
            await self.greet()
            while True:
                await self.hear(await self.next())
        except Over as over:
            if over.code is not None:
                await self.close(over.code)

    async def _end_when_told(self) -> None:
        code = await self.ended()
        if code is not None:
            await self.close(code)


class Over(Exception):
    """No more messages. `code`: the broker closes with it; None: the connection is gone."""

    def __init__(self, code: int | None = None) -> None:
        super().__init__(code)
        self.code = code
