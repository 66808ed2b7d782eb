"""WebSocket frames that are written here, and the few places where aiohttp's own attributes are needed for it.

Reading is the library's alone. What is written here: a frame that goes to many at once, and frames from timers, which
cannot wait.
"""

import asyncio
import secrets
from asyncio import Transport
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import aiohttp

from proxy.sockets import untaken

Frame = str | bytes  # one whole message: text, or binary

BEAT = secrets.token_bytes(8)  # what our own pings hold: their pongs go no further
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
TAKEN_WITHIN = 19.0  # seconds in which a client has to take some of what waits; the listener cuts off after 20
BREATH = 16  # messages of one socket in a row: those that are here already come without a pause, and others wait
_FIN, _MASKED = 0x80, 0x80
_SMALL, _MEDIUM = 126, 1 << 16


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """`message_bytes` of one message; `compression`: permessage-deflate, where the other end wants it too; `beat`:
    seconds of silence, and then a ping; `patience`: seconds in which a client has to take something;
    `first`: seconds for the first frame of one who has not said yet who it is.
    """

    message_bytes: int = 1024 * 1024
    compression: bool = False
    beat: float = 20.0
    patience: float = TAKEN_WITHIN
    first: float = 10.0


USUAL = SocketLimits()


class Message(NamedTuple):
    """What came: one whole message, or a control frame. `code` (None: it had none) and `reason` are a close's."""

    kind: Literal["text", "binary", "ping", "pong", "close"]
    data: Frame = b""
    code: int | None = None
    reason: str = ""

    @property
    def payload(self) -> bytes:
        """What a ping or a pong holds."""
        return self.data if isinstance(self.data, bytes) else self.data.encode()


def encoded(frame: Frame) -> bytes:
    """A whole message as a server writes it: one frame, unmasked, not compressed."""
    if isinstance(frame, str):
        return whole(TEXT, frame.encode())
    return whole(BINARY, frame)


def whole(opcode: int, payload: bytes, *, mask: bytes | None = None) -> bytes:
    """One frame. `mask` (4 bytes) is what clients need."""
    size, bit = len(payload), _MASKED if mask else 0
    if size < _SMALL:
        head = bytes((_FIN | opcode, bit | size))
    elif size < _MEDIUM:
        head = bytes((_FIN | opcode, bit | _SMALL)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, bit | _SMALL + 1)) + size.to_bytes(8, "big")
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[at & 3] for at, byte in enumerate(payload))


def closing(code: int | None, reason: str = "", *, mask: bytes | None = None) -> bytes:
    """A close frame; the reason must be short enough already, and goes only with a code."""
    return whole(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode(), mask=mask)


def beat(*, masked: bool) -> bytes:
    """A ping of our own."""
    return whole(PING, BEAT, mask=secrets.token_bytes(4) if masked else None)


def broker_line(socket: "aiohttp.ClientWebSocketResponse[bool]") -> Transport | None:
    """The connection under a socket to a broker; None when it has gone."""
    connection = socket._response.connection  # noqa: SLF001
    return connection.transport if connection is not None else None


def stalled(socket: "aiohttp.ClientWebSocketResponse[bool]") -> bool:
    """Whether so much has come from a broker that nobody has taken, that no more is read: not even a goodbye."""
    connection = socket._response.connection  # noqa: SLF001
    protocol = connection.protocol if connection is not None else None
    return protocol is not None and protocol._reading_paused  # noqa: SLF001


def release(socket: "aiohttp.ClientWebSocketResponse[bool]") -> None:
    """Let go of the connection under a socket to a broker, without another word."""
    socket._response.close()  # noqa: SLF001


class Patience:
    """Within the block the other end must take some of what waits for it in every `seconds`; else `give_up` is called.

    Nobody's waiting is cancelled: the library would not survive that. `give_up` has to end the connection.
    """

    __slots__ = ("_before", "_give_up", "_line", "_seconds", "_timer")

    def __init__(self, line: Transport, seconds: float, give_up: Callable[[], None]) -> None:
        self._line, self._seconds, self._give_up = line, seconds, give_up
        self._before = 0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._arm()

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        self._before = untaken(self._line)
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)

    def _look(self) -> None:
        if untaken(self._line) < self._before:
            self._arm()
        else:
            self._give_up()
