"""One client of a market-data hub: greeted, asked who it is, answered in its codec, and given what it listens to."""

import asyncio
from typing import Protocol

from proxy.errors import Refusal
from proxy.gate.clients import KEY_PREFIX, digest
from proxy.relay.frames import Message, encoded
from proxy.streams import codes
from proxy.streams.alpaca.messages import (
    AUTHENTICATED,
    CONNECTED,
    Auth,
    Change,
    Control,
    Faulty,
    Frame,
    control,
    error,
    read_request,
)
from proxy.streams.client import BUFFER, FIRST_BYTES, SocketEnded

TRIES = 8  # frames that may come before it
OUTSTANDING = 100  # changes of one client that wait for their answer
OWED = 16  # errors that are held back meanwhile; more are said at once
_ANY = 1 << 30  # bytes that may wait before a last word: there is only one

# What the broker would say where we refuse a client. SDKs know these words: alpaca-py gives up at a 409.
_SAID = {
    codes.UNKNOWN_CLIENT: error(402),
    codes.NOT_ALLOWED: error(409, "insufficient subscription"),
    codes.LIMIT: error(406),
}


class Socket(Protocol):
    """What a guest needs of its client's socket; a `ClientSocket` is such a thing."""

    @property
    def ended(self) -> SocketEnded | None: ...
    def push(self, frame: bytes, most: int = BUFFER) -> bool: ...
    def end(self, code: int, reason: str = "") -> None: ...
    async def receive(self) -> Message: ...
    async def pong(self, data: bytes) -> None: ...


class Host(Protocol):
    """What a guest asks of its hub."""

    def ask(self, guest: "Guest", change: Change) -> None:
        """Have its subscriptions changed; the answer goes to the guest."""
        ...


class Guest:
    """A client's end, as a seat of the fan. `binary`: it reads MessagePack.

    `welcome`: it has been told that it is authenticated. `outstanding`: how many of its changes wait for an answer.
    `owed`: what it must be told once none waits any more, in order.
    """

    __slots__ = ("_named", "_socket", "binary", "outstanding", "owed", "push", "welcome")

    def __init__(self, socket: Socket, *, binary: bool) -> None:
        self.binary = binary
        self.welcome = False
        self.outstanding = 0
        self.owed: list[Control] = []
        self.push = socket.push
        self._socket = socket
        self._named = False  # its auth frame has come

    @property
    def over(self) -> bool:
        return self._socket.ended is not None

    def full(self) -> None:
        """What was pushed was not taken: it reads too slowly, or has gone."""
        if not self.over:
            self.refuse(error(407), codes.LIMIT, "slow client")

    def say(self, message: Control) -> None:
        """A control message, in its codec."""
        if not self.push(encoded(control(message, binary=self.binary))):
            self.full()

    def refuse(self, message: Control | None, code: int, reason: str) -> None:
        """A last word, if there is one, and the end."""
        if not self.over:
            if message is not None:
                self._socket.push(encoded(control(message, binary=self.binary)), _ANY)
            self._socket.end(code, reason)

    def answered(self, message: Control) -> None:
        """The answer to one of its changes; what was held back for it follows."""
        self.outstanding -= 1
        self.say(message)
        if self.owed and not self.outstanding:
            owed, self.owed = self.owed, []
            for each in owed:
                self.say(each)

    def interrupt(self, message: Control) -> None:
        """An error that is no answer. SDKs take any error for the answer to a change that waits for one: then later."""
        if self.outstanding and len(self.owed) < OWED:
            self.owed.append(message)
        else:
            self.say(message)

    def greet(self) -> None:
        self.say(CONNECTED)

    def welcomed(self) -> None:
        """The broker is there."""
        if not self.welcome:
            self.welcome = True
            self.say(AUTHENTICATED)

    async def introduction(self, seconds: float) -> str:
        """What its auth frame says; all else is refused as the broker does. Raises `SocketEnded` if none comes."""
        try:
            async with asyncio.timeout(seconds):
                for _ in range(TRIES):
                    frame = await self._next()
                    if len(frame) > FIRST_BYTES:
                        self.refuse(error(400), codes.TOO_LARGE, "a frame is too large for one that says who you are")
                    elif (secret := self._secret(frame)) is not None:
                        return secret
        except TimeoutError:
            self.refuse(error(404), codes.UNKNOWN_CLIENT, "no auth frame came in time")
        self.refuse(error(401), codes.UNKNOWN_CLIENT, "nothing that came was an auth frame")
        raise SocketEnded

    def _secret(self, frame: Frame) -> str | None:
        try:
            asked = read_request(frame)
        except Faulty as faulty:
            self.say(error(faulty.code))
            return None
        if isinstance(asked, Change):
            self.say(error(401))
            return None
        self._named = True
        return _key(asked)

    def turn_away(self, refusal: Refusal) -> None:
        """The gate, or a limit, says no."""
        code = codes.of_refusal(refusal.kind)
        self.refuse(_SAID.get(code, error(500, f"bearerd: {refusal.detail}")), code, refusal.detail)

    async def attend(self, host: Host, key: str | None) -> None:
        """Read what it sends, to its end. `key`: the digest of the key that it came with, None if it needs none.

        It need not wait to be welcome: the broker, too, takes a subscription that follows the credential at once.
        Raises `SocketEnded`.
        """
        while True:
            frame = await self._next()
            try:
                asked = read_request(frame)
            except Faulty as faulty:
                self.say(error(faulty.code))
                continue
            if isinstance(asked, Auth):
                self._auth(asked, key)
            elif self.outstanding >= OUTSTANDING:
                self.refuse(error(407), codes.LIMIT, "too many subscriptions at a time")
            else:
                self.outstanding += 1
                host.ask(self, asked)

    def _auth(self, asked: Auth, key: str | None) -> None:
        """An auth frame of one whom we know by now.

        Who came with a key in the head may still send one, with the key or a dummy: SDKs do. The `authenticated` that
        it gets anyway is the answer to it.
        """
        shown = _key(asked)
        if key is not None and shown.startswith(KEY_PREFIX) and digest(shown) != key:
            self.refuse(error(402), codes.UNKNOWN_CLIENT, "the frame's key is not the one of the handshake")
        elif self._named:
            self.say(error(403))
        self._named = True

    async def _next(self) -> Frame:
        while True:
            message: Message = await self._socket.receive()
            if message.kind == "ping":
                await self._socket.pong(message.payload)
            elif message.kind != "pong":
                return message.data
            if self._socket.ended is not None:
                raise SocketEnded


def _key(asked: Auth) -> str:
    """The client key of an auth frame: the secret, unless only the id looks like a key. Two that differ are none."""
    if not asked.key.startswith(KEY_PREFIX):
        return asked.secret
    return asked.key if asked.secret == asked.key or not asked.secret.startswith(KEY_PREFIX) else ""
