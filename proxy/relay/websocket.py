"""A WebSocket at a broker, open: every frame that comes is searched for the grant's credentials.

Where it is opened, and with what, `dialling.py` decides; what goes into a frame is written by who knows the dialect.
"""

import asyncio
import secrets
from contextlib import suppress

import aiohttp

from proxy.brokers import Origin
from proxy.flow import WAITING
from proxy.outbound import Lost
from proxy.relay.credential import Watch
from proxy.relay.echo import Echoed
from proxy.relay.frames import BEAT, BREATH, Frame, Message, Patience, beat, broker_line, closing, release, stalled
from proxy.sockets import cut_off
from proxy.tokens.grant import TokenPair

__all__ = ["BrokerSocket", "Echoed", "Frame", "Message"]

PATIENCE = 20.0  # seconds in which a broker has to take some of what we send
GOODBYE = 2.0  # seconds for a broker to say goodbye too
LATE = 0.1  # a part of `idle`: by so much a timer may be late and still say something about the broker
MISSED = 3  # beats without a word: it has gone, if it has ever answered one


class BrokerSocket:
    """An open socket at a broker. One task receives at a time; anybody may send. It is closed by who opened it.

    `pair` is the one that it was opened with; `subprotocol` is what the broker chose.
    """

    __slots__ = (
        "_answers", "_beat", "_heard", "_idle", "_leaving", "_loop", "_over", "_row", "_said", "_timer", "_waits",
        "_watch", "_ws", "origin", "pair",
    )  # fmt: skip

    def __init__(
        self,
        ws: "aiohttp.ClientWebSocketResponse[bool]",
        pair: TokenPair,
        watch: Watch,
        *,
        origin: Origin,
        idle: float,
        beat: float,
        leaving: "set[BrokerSocket]",
    ) -> None:
        self.pair, self.origin = pair, origin
        self._leaving = leaving  # those that wait for a last word: somebody has to remember them
        self._said = False
        self._ws, self._watch = ws, watch
        self._idle, self._beat = idle, beat
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._waits = False  # somebody receives: what is not read can't be missed
        self._row = 0
        self._answers = False  # it has answered a ping of ours
        self._over: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look_again(self._idle)

    @property
    def subprotocol(self) -> str | None:
        return self._ws.protocol

    async def send(self, frame: Frame) -> None:
        """Send one message; waits while the broker does not take. `Lost`: it is closed, or takes nothing for 20 s."""
        if isinstance(frame, str):
            await self._write(frame.encode(), aiohttp.WSMsgType.TEXT)
        else:
            await self._write(frame, aiohttp.WSMsgType.BINARY)

    async def ping(self, data: bytes) -> None:
        await self._write(data, aiohttp.WSMsgType.PING)

    async def pong(self, data: bytes) -> None:
        await self._write(data, aiohttp.WSMsgType.PONG)

    async def _write(self, data: bytes, kind: aiohttp.WSMsgType) -> None:
        line = broker_line(self._ws)
        if self._over is not None or line is None:
            raise self._lost()
        try:
            if line.get_write_buffer_size() + len(data) <= WAITING:
                await self._ws.send_frame(data, kind)
            else:
                with Patience(line, PATIENCE, lambda: self._end("the broker takes nothing")):
                    await self._ws.send_frame(data, kind)
        except (ConnectionError, aiohttp.ClientError):
            raise self._lost() from None
        self._check()

    def _lost(self) -> Lost:
        return Lost(self._over or "the broker's socket was lost")

    def _check(self) -> None:
        """Raise if it is over."""
        if self._over is not None:
            raise Lost(self._over)

    async def receive(self) -> Message:
        """The next message or control frame; answering pings is the caller's. A `close` is the last one.

        Raises `Lost` if the socket ended without one, was silent for too long or broke the protocol, and `Echoed` if
        our credential was in a frame: it goes nowhere, and the socket must be closed.
        """
        while True:
            self._row += 1
            if not self._row % BREATH:
                await asyncio.sleep(0)
            self._check()
            self._heard, self._waits = max(self._heard, self._loop.time()), True
            try:
                found = await self._ws.receive()
            finally:
                self._waits = False
            self._heard = self._loop.time()
            match found.type:
                case aiohttp.WSMsgType.TEXT:
                    self._search(found.data.encode())
                    return Message("text", found.data)
                case aiohttp.WSMsgType.BINARY:
                    self._search(found.data)
                    return Message("binary", found.data)
                case aiohttp.WSMsgType.PONG if found.data == BEAT:
                    self._answers = True
                case aiohttp.WSMsgType.PING | aiohttp.WSMsgType.PONG:
                    self._search(found.data)
                    return Message("ping" if found.type is aiohttp.WSMsgType.PING else "pong", bytes(found.data))
                case aiohttp.WSMsgType.CLOSE:
                    self._search((found.extra or "").encode())
                    self._say(found.data or None, "")
                    return Message("close", code=found.data or None, reason=found.extra or "")
                case _:
                    self._fail()

    def _fail(self) -> None:
        broke = isinstance(self._ws.exception(), aiohttp.WebSocketError)
        self._end(self._over or ("the broker broke the protocol" if broke else "the broker's socket was lost"))

    def _search(self, data: bytes) -> None:
        if self._watch.within(data):
            raise Echoed

    def withhold(self, *texts: str) -> None:
        """Look for these as well from here on: what was put into a frame must not come back either."""
        self._watch.withhold(*texts)

    def _look(self) -> None:
        """Once in a while: is it still there?"""
        due, now = self._timer.when() if self._timer is not None else 0.0, self._loop.time()
        self._timer = None
        if now - due > LATE * self._idle:
            self._heard = now  # we did not run, and what has come meanwhile is still to be read
        silent = now - self._heard if self._waits else 0.0
        if silent >= (min(self._idle, MISSED * self._beat) if self._answers else self._idle):
            self._end(f"the broker was silent for {silent:.0f} s")
            return
        line = broker_line(self._ws)
        if line is None or line.is_closing():
            return
        if silent >= self._beat and line.get_write_buffer_size() <= WAITING:
            line.write(beat(masked=True))
        self._look_again(self._idle - silent)

    def _look_again(self, left: float) -> None:
        self._timer = self._loop.call_later(min(self._beat, max(left, 0.01)), self._look)

    def _quiet(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, why: str) -> None:
        """It is over, whatever the broker thinks."""
        self._over = self._over or why
        line = broker_line(self._ws)
        if line is not None:
            cut_off(line)
        self.forget()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye, and wait 2 s for the broker to do so. Harmless twice; never raises."""
        self.drop(code, reason)
        with suppress(TimeoutError, RuntimeError):
            async with asyncio.timeout(GOODBYE):
                # Whatever it still has to say: everybody else comes first.
                while self in self._leaving and (await self._ws.receive()).type not in _LAST:  # noqa: ASYNC110
                    await asyncio.sleep(0)
        self.forget()

    def drop(self, code: int = 1001, reason: str = "") -> None:
        """The same without waiting: the connection ends when the broker has said goodbye too, or in 2 s."""
        self._say(code, reason)
        self._over = self._over or "the socket was closed here"
        line = broker_line(self._ws)
        if line is None or line.is_closing() or line.get_write_buffer_size() or stalled(self._ws):
            self._end(self._over)
        elif self not in self._leaving:
            self._leaving.add(self)
            self._quiet()
            self._timer = self._loop.call_later(GOODBYE, self.forget)

    def _say(self, code: int | None, reason: str) -> None:
        line = broker_line(self._ws)
        if not self._said and self._over is None and line is not None and not line.is_closing():
            self._said = True
            line.write(closing(code, reason, mask=secrets.token_bytes(4)))

    def forget(self) -> None:
        """Let go of the connection, whatever was said."""
        self._quiet()
        self._leaving.discard(self)
        release(self._ws)


_LAST = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.ERROR)
