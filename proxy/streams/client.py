"""The client's end of a socket: taken in, held to its limits, written to without ever waiting longer than it may."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

import aiohttp
from aiohttp import web

from proxy.audit.record import Record, Traffic
from proxy.flow import WAITING
from proxy.relay.frames import BEAT, BREATH, Frame, Message, Patience, SocketLimits, beat, closing, encoded
from proxy.sockets import cut_off, untaken
from proxy.streams import codes

GOODBYE = 1.0  # seconds for a client to say goodbye too
LATE = 0.5  # a part of a beat: by so much a timer may be late and still say something about the client
MISSED = 3  # beats without a word: two pings unanswered
BUFFER = 256 * 1024  # bytes that may wait of what is pushed
CALM = 100.0  # pings and pongs that a client may send at once
CALM_RATE = 10.0  # and then in a second
FIRST_BYTES = 8192  # of the first frame of one who has not said yet who it is
_SLOW = "the client takes nothing"
_LAST = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.ERROR)

# Its one warning quotes what a client has sent.
logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)


class SocketEnded(Exception):
    """The client's socket is over. `code` and `reason` are those of its close frame, or `ours`; None: it just left."""

    def __init__(self, code: int | None = None, reason: str = "", *, ours: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason
        self.ours = ours


class SlowClient(SocketEnded):
    """It took nothing for 20 s, and was cut off."""


class ClientSocket:
    """An open socket of a client. One task receives, one sends, anybody may `push` and `end`."""

    __slots__ = (
        "_beat", "_calm", "_calm_at", "_cut", "_ended", "_first", "_given", "_heard", "_heard_last", "_line", "_loop",
        "_patience", "_row", "_said", "_taken", "_timer", "_waits", "_ws", "traffic",
    )  # fmt: skip

    def __init__(
        self, ws: web.WebSocketResponse, line: asyncio.Transport, limits: SocketLimits, traffic: Traffic
    ) -> None:
        self.traffic = traffic
        self._ws, self._line = ws, line
        self._beat, self._patience, self._first = limits.beat, limits.patience, limits.first
        self._loop = asyncio.get_running_loop()
        self._heard = self._calm_at = self._loop.time()
        self._waits = False  # somebody receives: what is not read can't be missed
        self._given = self._taken = 0  # bytes of messages that were written, and how many of them had gone at a look
        self._calm = CALM
        self._row = 0
        self._ended: SocketEnded | None = None
        self._said = self._heard_last = False  # the close frames of both sides
        self._cut: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(self._beat, self._look)

    @classmethod
    async def accept(
        cls, request: web.BaseRequest, *, limits: SocketLimits, record: Record, subprotocol: str | None = None
    ) -> Self:
        """Answer 101. The handshake must have passed `handshake.check`. `ConnectionError`: the client has gone."""
        ws = web.WebSocketResponse(
            autoclose=False,
            autoping=False,
            timeout=GOODBYE,
            compress=limits.compression,
            max_msg_size=limits.message_bytes + 1,  # the library refuses what reaches it
            protocols=() if subprotocol is None else (subprotocol,),
        )
        ws.headers.update({"Server": "bearerd", "Via": "1.1 bearerd", "X-Request-Id": record.request_id})
        await ws.prepare(request)
        line = request.transport
        if line is None:
            raise ConnectionResetError("the client has gone")
        record.traffic = Traffic()
        return cls(ws, line, limits, record.traffic)

    @property
    def response(self) -> web.WebSocketResponse:
        """What the handler of the request returns in the end."""
        return self._ws

    @property
    def ended(self) -> SocketEnded | None:
        """Why it is over, if it is."""
        return self._ended

    # -- what comes ---------------------------------------------------------------------------------------------------

    async def first(self, most: int = FIRST_BYTES) -> Frame:
        """The first frame of one who has not said yet who it is. `SocketEnded` if it does not come, or is too large."""
        try:
            async with asyncio.timeout(self._first):
                while (found := await self.receive()).kind not in ("text", "binary"):
                    if found.kind == "ping":
                        await self.pong(found.payload)
        except TimeoutError:
            self.end(codes.LIMIT, f"the first frame did not come within {self._first:g} s")
        else:
            if len(found.data) <= most:
                return found.data
            self.end(codes.TOO_LARGE, "the first frame is too large for one that says who you are")
        raise self._ended or SocketEnded()

    async def receive(self) -> Message:
        """The next message, ping or pong; answering pings is the caller's. `SocketEnded`: there is none any more."""
        while True:
            self._row += 1
            if not self._row % BREATH:
                await asyncio.sleep(0)
            if self._ended is not None:
                raise self._ended
            self._heard, self._waits = max(self._heard, self._loop.time()), True
            try:
                found = await self._ws.receive()
            finally:
                self._waits = False
            self._heard = self._loop.time()
            match found.type:
                case aiohttp.WSMsgType.TEXT:
                    self._count(len(found.data))
                    return Message("text", found.data)
                case aiohttp.WSMsgType.BINARY:
                    self._count(len(found.data))
                    return Message("binary", found.data)
                case aiohttp.WSMsgType.PONG if found.data == BEAT:
                    continue
                case aiohttp.WSMsgType.PING | aiohttp.WSMsgType.PONG:
                    self._keep_calm()
                    return Message("ping" if found.type is aiohttp.WSMsgType.PING else "pong", bytes(found.data))
                case aiohttp.WSMsgType.CLOSE:
                    self._heard_last = True
                    self._over(SocketEnded(found.data or None, found.extra or ""))
                    self._say(codes.answered(found.data or None), "")
                case _:
                    self._heard_last = self._said = True  # the library has said and heard what there was
                    self._over(SocketEnded(self._faulted()))

    def _count(self, size: int) -> None:
        self.traffic.up += 1
        self.traffic.up_bytes += size

    def _faulted(self) -> int | None:
        """The code that the library has closed with: a frame broke the protocol, or a message was too large."""
        code = self._ws.close_code
        return None if code in (None, aiohttp.WSCloseCode.ABNORMAL_CLOSURE, aiohttp.WSCloseCode.OK) else code

    def _keep_calm(self) -> None:
        """Pings cost the client nothing, and a broker counts them as ours."""
        now = self._loop.time()
        self._calm = min(CALM, self._calm + CALM_RATE * (now - self._calm_at)) - 1
        self._calm_at = now
        if self._calm < 0:
            self.end(codes.LIMIT, "too many pings")

    # -- what goes ----------------------------------------------------------------------------------------------------

    async def send(self, frame: Frame) -> None:
        """Send one message; waits while the client does not take. `SlowClient` after 20 s; `SocketEnded`."""
        data, kind = (
            (frame.encode(), aiohttp.WSMsgType.TEXT) if isinstance(frame, str) else (frame, aiohttp.WSMsgType.BINARY)
        )
        await self._write(data, kind)
        self.traffic.down += 1
        self.traffic.down_bytes += len(data)

    async def ping(self, data: bytes) -> None:
        await self._write(data, aiohttp.WSMsgType.PING)

    async def pong(self, data: bytes) -> None:
        await self._write(data, aiohttp.WSMsgType.PONG)

    async def _write(self, data: bytes, kind: aiohttp.WSMsgType) -> None:
        if self._ended is not None:
            raise self._ended
        self._given += len(data)
        try:
            if self._line.get_write_buffer_size() + len(data) <= WAITING:
                await self._ws.send_frame(data, kind)
            else:
                with Patience(self._line, self._patience, self._give_up):
                    await self._ws.send_frame(data, kind)
        except (ConnectionError, aiohttp.ClientError):
            self._over(SocketEnded())
        if self._ended is not None:
            raise self._ended

    def push(self, frame: bytes, most: int = BUFFER) -> bool:
        """Write what `encoded` made, for many at once; never waits.

        False: more than `most` bytes wait for this client already, or it is over. Who pushes must not `send` as well: a
        large message that is compressed there would be overtaken.
        """
        if self._ended is not None or self._line.is_closing():
            return False
        if self._line.get_write_buffer_size() > most:
            return False
        self._line.write(frame)
        self._given += len(frame)
        self.traffic.down += 1
        self.traffic.down_bytes += len(frame)
        return True

    @staticmethod
    def encoded(frame: Frame) -> bytes:
        """Header and payload, unmasked, not compressed."""
        return encoded(frame)

    # -- how it ends --------------------------------------------------------------------------------------------------

    def end(self, code: int, reason: str = "") -> None:
        """Close without waiting: a close frame, a second for the answer, and the connection is cut.

        Whoever receives or sends hears of it by `SocketEnded`.
        """
        self._over(SocketEnded(code, reason, ours=True))
        self._say(code, reason)
        self._cut_later()

    async def close(self, code: int = codes.NORMAL, reason: str = "") -> None:
        """Say goodbye, wait a second for the client to do so, and be gone. Harmless twice; never raises."""
        self.end(code, reason)
        with suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(GOODBYE):
                while not self._heard_last:
                    await asyncio.sleep(0)  # whatever it still has to say: everybody else comes first
                    self._heard_last = (await self._ws.receive()).type in _LAST
        if not self._line.is_closing():
            self._line.close()
        if not self._line.get_write_buffer_size():
            self.forget()

    @contextmanager
    def served(self) -> Iterator[None]:
        """For as long as it is served: a fault of ours within the block is said by a code, and no timer outlives it."""
        try:
            yield
        except Exception:
            self.end(codes.FAULT, "a fault of bearerd")
            raise
        finally:
            self.forget()

    def forget(self) -> None:
        """Nothing is to be done any more, but to cut off who has not taken what it was given before it ended."""
        if self._timer is not None:
            self._timer.cancel()
        if self._cut is not None and untaken(self._line) <= WAITING:
            self._cut.cancel()
        self._timer = self._cut = None

    def _say(self, code: int | None, reason: str) -> None:
        if not self._said and not self._line.is_closing():
            self._said = True
            self._line.write(closing(code, codes.short(reason)))

    def _over(self, ended: SocketEnded) -> None:
        if self._ended is None:
            self._ended = ended
            self.traffic.code = ended.code

    def _give_up(self) -> None:
        """It takes nothing. A last word, for the case that it wakes up, and it is cut off."""
        self._over(SlowClient(codes.LIMIT, _SLOW, ours=True))
        self._say(codes.LIMIT, _SLOW)
        self._cut_later()

    def _cut_later(self) -> None:
        if self._cut is None:
            self._cut = self._loop.call_later(GOODBYE, cut_off, self._line)

    def _look(self) -> None:
        """Once in a while: is it still there?"""
        due, now = self._timer.when() if self._timer is not None else 0.0, self._loop.time()
        self._timer = None
        if now - due > LATE * self._beat:
            self._heard = now  # we did not run, and what has come meanwhile is still to be read
        if self._line.is_closing():
            return
        waiting = untaken(self._line)
        before, self._taken = self._taken, self._given - waiting
        if waiting > WAITING and self._taken > before:
            self._heard = now  # it is behind, and works through it: a ping would come after all that
        silent = now - self._heard if self._waits else 0.0
        if silent >= MISSED * self._beat:
            self._over(SocketEnded())
            cut_off(self._line)
            return
        if silent >= self._beat and self._line.get_write_buffer_size() <= WAITING:
            self._line.write(beat(masked=False))
        self._timer = self._loop.call_later(self._beat, self._look)
