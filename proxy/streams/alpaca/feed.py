"""One socket to a market-data feed of Alpaca: opened, understood message by message, changed one request at a time."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from proxy.outbound import Lost
from proxy.relay.dialling import Handshake
from proxy.relay.http import Relay
from proxy.relay.websocket import BrokerSocket
from proxy.streams.alpaca.messages import (
    AUTHENTICATED,
    Change,
    Control,
    Form,
    Frame,
    Piece,
    Slicer,
    Unreadable,
    Wanted,
    packed,
    parted,
    symbols_of,
)

_AUTHENTICATED_ALREADY = 403


class Rejected(Exception):
    """The broker said no, in an error message of its own. `socket` is the one on which it said it."""

    def __init__(self, message: Control, socket: BrokerSocket) -> None:
        super().__init__(f"the broker said {message.get('code')}")
        self.message = message
        self.socket = socket

    @property
    def code(self) -> object:
        return self.message.get("code")


@dataclass(slots=True)
class _Asked:
    """A request that the broker is still to answer. With the confirmation of a change's `last` one `done` is called."""

    answer: "asyncio.Future[Control | None]"
    last: bool
    done: Callable[[], None]


@dataclass(slots=True)
class Feed:
    """An authenticated socket. `asked` is all that it is subscribed to, `confirmed` what the broker last said of that.

    `heard` is when something came that was no last word, in the loop's time.
    """

    socket: BrokerSocket
    form: Form
    patience: float  # seconds for the broker to answer a change
    heard: float
    asked: dict[str, dict[str, None]] = field(default_factory=dict)
    confirmed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    _slicer: Slicer = field(default_factory=Slicer)
    _waiting: _Asked | None = None

    @classmethod
    async def open(
        cls, relay: Relay, handshake: Handshake, grant: str, form: Form, *, opening: float, answer: float
    ) -> Self:
        """Shake hands and wait `opening` seconds for `authenticated`; `answer` is for each change later on.

        Raises `Refusal`, `HandshakeRefused`, `Rejected`, `Lost` or `Echoed`.
        """
        socket = await relay.open_socket(handshake, grant)
        feed = cls(socket, form, answer, asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(opening):
                await feed._authenticated()
        except TimeoutError:
            socket.drop()
            raise Lost("the broker did not authenticate in time", "timeout") from None
        except BaseException:
            socket.drop()
            raise
        return feed

    async def _authenticated(self) -> None:
        while True:
            for message in await self.receive():
                if isinstance(message, Piece):
                    continue
                if message.get("T") == "error":
                    if message.get("code") == _AUTHENTICATED_ALREADY:
                        return
                    raise Rejected(message, self.socket)
                if message == AUTHENTICATED:
                    return

    async def receive(self) -> list[Piece | Control]:
        """The messages of the next frame. Raises `Lost`, also when the broker closes or makes no sense; `Echoed`."""
        while True:
            message = await self.socket.receive()
            match message.kind:
                case "binary":
                    try:
                        found = self._slicer.cut(_bytes(message.data))
                    except Unreadable as error:
                        raise Lost(str(error), "malformed") from None
                    self._hear(found)
                    return found
                case "text":
                    raise Lost("a frame of the broker is text where MessagePack was agreed on", "malformed")
                case "ping":
                    self._hear()
                    await self.socket.pong(_bytes(message.data))
                case "pong":
                    self._hear()
                case "close":
                    raise Lost(f"the broker closed its socket ({message.code or 'without a code'})")

    def _hear(self, found: Sequence[Piece | Control] = ()) -> None:
        """Up to now nothing is missing. An error or a close may come long after what should have come before it."""
        alone = found[0] if len(found) == 1 else None
        if not (isinstance(alone, dict) and alone.get("T") == "error"):
            self.heard = asyncio.get_running_loop().time()

    def lacks(self, wanted: Wanted) -> Wanted:
        """What of this it is not subscribed to."""
        return _without(wanted, self.asked)

    def surplus(self, wanted: Wanted) -> Wanted:
        """What it is subscribed to beyond this."""
        return _without(self.asked, {channel: dict.fromkeys(symbols) for channel, symbols in wanted.items()})

    async def change(self, change: Change, done: Callable[[], None]) -> Control | None:
        """Have the broker do it; its error message if it does not. Raises `Lost`.

        `done` is called while the broker's confirmation is read, before anything that came after it. What is larger
        than one request goes in several, and a refusal of a later one leaves the earlier ones in `asked`.
        """
        parts = parted(change)
        for part in parts:
            self._waiting = asked = _Asked(asyncio.get_running_loop().create_future(), part is parts[-1], done)
            try:
                await self.socket.send(packed(part))
                async with asyncio.timeout(self.patience):
                    refused = await asked.answer
            except TimeoutError:
                raise Lost("the broker did not answer a subscription", "timeout") from None
            finally:
                self._waiting = None
            if refused is not None:
                return refused
            self._note(part)
        return None

    def _note(self, change: Change) -> None:
        for channel, symbols in change.wanted.items():
            own = self.asked.setdefault(channel, {})
            for symbol in symbols:
                if change.add:
                    own[symbol] = None
                else:
                    own.pop(symbol, None)

    def confirm(self, message: Control) -> None:
        """The broker's `subscription` message has come."""
        self.confirmed = symbols_of(message)
        self.form.learn(self.confirmed)
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.answer.done():
            if waiting.last:
                waiting.done()
            waiting.answer.set_result(None)

    def refuse(self, message: Control) -> bool:
        """An error message has come. Whether it was the answer to a change."""
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting.answer.done():
            return False
        waiting.answer.set_result(message)
        return True


def _without(these: Mapping[str, Iterable[str]], those: Mapping[str, Mapping[str, None]]) -> Wanted:
    left = {
        channel: [symbol for symbol in symbols if symbol not in those.get(channel, {})]
        for channel, symbols in these.items()
    }
    return {channel: symbols for channel, symbols in left.items() if symbols}


def _bytes(frame: Frame) -> bytes:
    return frame.encode() if isinstance(frame, str) else bytes(frame)
