"""The frames of Alpaca's market-data sockets, in MessagePack and in JSON. Pure.

A frame of the broker is an array of messages (docs.alpaca.markets/docs/streaming-market-data, 2026-08-27). What it
holds is cut out of it and put into the frames of clients as it is: a message is never encoded again, except into JSON.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack  # type: ignore[import-untyped]  # there are no stubs

from proxy.streams.alpaca.transcript import as_json

Frame = str | bytes
Wanted = Mapping[str, Sequence[str]]  # channel → symbols, each once
Control = dict[str, Any]

# Which channels a message belongs to, by its `T`. Corrections and cancels come with `trades` and need no subscription
# (same page); `p`, prices of perpetuals in the Go SDK, has no documented channel. Of an unknown one see `Fan`.
CHANNELS: Mapping[str, tuple[str, ...]] = {
    "t": ("trades",),
    "q": ("quotes",),
    "b": ("bars",),
    "u": ("updatedBars",),
    "d": ("dailyBars",),
    "s": ("statuses",),
    "l": ("lulds",),
    "i": ("imbalances",),
    "c": ("corrections", "trades"),
    "x": ("cancelErrors", "trades"),
    "o": ("orderbooks",),
    "n": ("news",),
}
KNOWN = frozenset(channel for channels in CHANNELS.values() for channel in channels)
ATTACHED = ("corrections", "cancelErrors")  # to `trades`
CONTROL = frozenset(("success", "error", "subscription"))
EVERY = "*"

CONNECTED: Control = {"T": "success", "msg": "connected"}
AUTHENTICATED: Control = {"T": "success", "msg": "authenticated"}
SAYS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    500: "internal error",
}

MOST_CHANNELS = 32  # in one request; stocks, which have the most, have ten
LONGEST_NAME = 64  # characters of a channel or a symbol; an option contract has 21
LARGEST_FRAME = 16 * 1024 * 1024  # bytes of a broker's frame
FILL = 16 * 1024  # bytes of symbols in one request of ours: what Go's WebSocket library takes is 32 KiB


class Unreadable(Exception):
    """A frame is not what this socket speaks. Says nothing of what it held."""


class Faulty(Exception):
    """A client's request that the broker would refuse. `code` is the broker's."""

    def __init__(self, code: int) -> None:
        super().__init__(SAYS[code])
        self.code = code


@dataclass(frozen=True, slots=True)
class Auth:
    """A client's `auth`. The secret is what names it; in `key` there is an id, `oauth` or `access_token`."""

    key: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """A client's `subscribe` (`add`) or `unsubscribe`."""

    add: bool
    wanted: Wanted


def error(code: int, message: str | None = None) -> Control:
    """An error message of Alpaca's form, in its own words unless we have others."""
    return {"T": "error", "code": code, "msg": SAYS[code] if message is None else message}


def control(message: Mapping[str, object], *, binary: bool) -> Frame:
    """A frame of one message, as all control messages come."""
    frame: bytes = msgpack.packb([message])
    return frame if binary else as_json([message])


def packed(change: Change) -> bytes:
    """The request that asks the broker for it."""
    action = "subscribe" if change.add else "unsubscribe"
    frame: bytes = msgpack.packb(
        {"action": action, **{channel: list(names) for channel, names in change.wanted.items()}}
    )
    return frame


def parted(change: Change) -> list[Change]:
    """The same in changes that each fit into one request; at least one. Channels without symbols are left out."""
    parts: list[dict[str, list[str]]] = []
    room = 0
    for channel, symbols in change.wanted.items():
        for symbol in symbols:
            if room <= 0:
                parts.append({})
                room = FILL
            parts[-1].setdefault(channel, []).append(symbol)
            room -= len(symbol.encode()) + 5
    return [Change(change.add, part) for part in parts or [{}]]


def read_request(frame: Frame) -> Auth | Change:
    """What a client asks for, in JSON or in MessagePack, whatever its codec. Raises `Faulty`."""
    match _decoded(frame):
        case {"action": "auth", "key": str(key), "secret": str(secret)}:
            return Auth(key, secret)
        case {"action": "subscribe" | "unsubscribe" as action, **channels} if len(channels) <= MOST_CHANNELS:
            return Change(action == "subscribe", {_name(name): _symbols(value) for name, value in channels.items()})
        case _:
            raise Faulty(400)


def _decoded(frame: Frame) -> object:
    try:
        if isinstance(frame, str) or frame[:1] == b"{":  # in MessagePack a number, and no request
            return json.loads(frame)
        return msgpack.unpackb(frame)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        raise Faulty(400) from None


def _symbols(value: object) -> tuple[str, ...]:
    if value is None:  # Go's SDK sends every channel, those without symbols as nil
        return ()
    if not isinstance(value, list):
        raise Faulty(400)
    return tuple(dict.fromkeys(map(_name, value)))


def _name(value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable():
        return value
    raise Faulty(400)


@dataclass(slots=True)
class Piece:
    """One message of the broker: its kind (`T`), the symbols that it is about, and its bytes."""

    kind: str
    symbols: tuple[str, ...]
    packed: bytes
    _text: str | None = None

    @property
    def text(self) -> str:
        """The message in JSON."""
        if self._text is None:
            self._text = as_json(msgpack.unpackb(self.packed, strict_map_key=False, unicode_errors="replace"))
        return self._text


class Slicer:
    """Cuts the broker's MessagePack frames into messages."""

    def __init__(self) -> None:
        self._unpacker = _unpacker()

    def cut(self, frame: bytes) -> list[Piece | Control]:
        """The messages of a frame, in order; those that control the socket are unpacked. Raises `Unreadable`."""
        unpacker = self._unpacker
        try:
            began = unpacker.tell()
            unpacker.feed(frame)
            count = unpacker.read_array_header()
            at = unpacker.tell() - began
            found: list[Piece | Control] = []
            for _ in range(count):
                message = unpacker.unpack()
                end = unpacker.tell() - began
                found.append(_piece(message, frame[at:end]))
                at = end
            if at != len(frame):
                raise Unreadable("bytes after the array")  # noqa: TRY301 - all that goes wrong here ends the same way
        except (Unreadable, ValueError, TypeError, MemoryError, msgpack.UnpackException):
            self._unpacker = _unpacker()
            raise Unreadable("a frame of the broker is no array of messages") from None
        return found


def _unpacker() -> msgpack.Unpacker:
    # Times as numbers: nobody reads them here, and they are made faster.
    return msgpack.Unpacker(
        max_buffer_size=LARGEST_FRAME, read_size=1, strict_map_key=False, timestamp=2, unicode_errors="replace"
    )


def _piece(message: object, packed: bytes) -> Piece | Control:
    if not isinstance(message, dict):
        raise Unreadable("a message is no map")
    kind = message.get("T")
    if type(kind) is not str:
        kind = ""
    elif kind in CONTROL:
        return _plain(message)
    symbol = message.get("S")
    if type(symbol) is str:
        return Piece(kind, (symbol,), packed)
    symbols = message.get("symbols")
    named = [each for each in symbols if isinstance(each, str)] if isinstance(symbols, list) else []
    return Piece(kind, tuple(dict.fromkeys(named)), packed)


def _plain(message: Mapping[object, object]) -> Control:
    """What a message about the socket says in words, numbers and lists of symbols: it is encoded again."""
    return {
        name: [each for each in value if isinstance(each, str)] if isinstance(value, list) else value
        for name, value in message.items()
        if isinstance(name, str) and isinstance(value, str | int | float | list | None)
    }


def joined(pieces: Sequence[Piece], *, binary: bool) -> Frame:
    """A frame of these messages, in order."""
    if not binary:
        return f"[{','.join([piece.text for piece in pieces])}]"
    return _array_of(len(pieces)) + b"".join([piece.packed for piece in pieces])


def _array_of(count: int) -> bytes:
    if count < 16:  # noqa: PLR2004 - the three headers of an array (msgpack's specification, "array format family")
        return bytes((0x90 | count,))
    return b"\xdc" + count.to_bytes(2, "big") if count < 1 << 16 else b"\xdd" + count.to_bytes(4, "big")


def symbols_of(message: Control) -> dict[str, frozenset[str]]:
    """What a `subscription` message says: channel → symbols."""
    return {
        channel: frozenset(each for each in symbols if isinstance(each, str))
        for channel, symbols in message.items()
        if isinstance(symbols, list)
    }


class Form:
    """How the broker writes its confirmations on this socket, learnt from those that came.

    They hold the socket's channels in an order of their own. The documentation shows those without symbols as empty
    lists; a recording of 2026 has none of them. Both are followed.
    """

    def __init__(self) -> None:
        self.known = False
        self._channels: list[str] = []
        self._empty = False

    def learn(self, confirmed: Mapping[str, frozenset[str]]) -> None:
        """Take note of what came."""
        self.known = True
        if [channel for channel in confirmed if channel not in self._channels]:
            # The newest order first: it holds all that the socket has now.
            self._channels = list(dict.fromkeys([*confirmed, *self._channels]))
        self._empty = self._empty or not all(confirmed.values())

    def confirmation(self, own: Mapping[str, Iterable[str]], confirmed: Mapping[str, frozenset[str]]) -> Control:
        """One client's whole set, as the broker would write it. Of what the broker did not confirm nothing is said."""
        message: Control = {"T": "subscription"}
        for channel in self._channels:
            asked = [*own.get(channel, ()), *(own.get("trades", ()) if channel in ATTACHED else ())]
            there = confirmed.get(channel, frozenset())
            symbols = [symbol for symbol in dict.fromkeys(asked) if symbol in there or EVERY in there]
            if symbols or self._empty:
                message[channel] = symbols
        return message
