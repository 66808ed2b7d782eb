"""One open socket at Questrade: the call for its port, the connection to that port, the token as the first message.

DOC/streaming: the answer of a call with `mode=WebSocket` names a `streamPort` on the host of the API server. There the
client first sends the bare access token, and gets `{"success": true}`, or for a bad one `{"code":1017,"message":"Access
token is invalid"}` (seen: vivekp9991's Questrade-Portfolio-Manager). The path is ignored (seen: tantock/QuestradeAPI).
A second connection of the same kind ends the first.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from proxy.brokers import Origin
from proxy.errors import Refusal
from proxy.gate.rows import Row
from proxy.outbound import Lost
from proxy.pacing import Pacing
from proxy.relay import headers as header_rules
from proxy.relay.dialling import Handshake, HandshakeRefused
from proxy.relay.http import Outgoing, Relay
from proxy.relay.websocket import BrokerSocket, Echoed
from proxy.relay.wholebody import whole_body
from proxy.streams import codes
from proxy.streams.questrade.messages import query_for
from proxy.streams.questrade.rawjson import Unreadable
from proxy.streams.questrade.streamport import find

OWN = "bearerd"  # who calls, where nobody else does
FRESH = 60.0  # seconds for which a port is taken as told; they change from day to day
ANSWER = 10.0  # seconds for the broker to answer the token
IDLE = 3600.0  # seconds: where nothing is traded, nothing is said
TRIES = 3
_REFUSED = 1017
_LONGEST_WORDS = 4096  # bytes of an answer that is passed on in a frame

_HEADERS: header_rules.Raw = ((b"Accept", b"application/json"), (b"Accept-Encoding", b"identity"))


@dataclass(frozen=True, slots=True)
class Source:
    """Where a stream comes from: whose grant, the way there, and the row of the call that names its port.

    `pulse` is the row of a call that does nothing but show that somebody is there.
    """

    mount: str
    relay: Relay
    grant: str
    row: Row
    user_agent: str
    pulse: Row | None = None

    @property
    def of_quotes(self) -> bool:
        """Whether it is of quotes: then the call names symbols."""
        return "ids" in self.row.query


@dataclass(frozen=True, slots=True)
class Told:
    """A port that the broker has named, on which host, and when (the loop's clock)."""

    port: int
    origin: Origin
    at: float


class Failed(Exception):
    """The broker's socket could not be opened. `code` is what clients are told, after `words` of the broker's."""

    def __init__(self, code: int, reason: str, words: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.words = words


class _Moved(Exception):
    """The API is at another host now, and its ports with it."""


@dataclass(eq=False, slots=True)
class Line:
    """A socket at the broker that has taken the token. `greeting` is what it said to that; `ids` are its symbols.

    `ended`: since when it is over (the loop's clock); `whole`: with a goodbye, so that everything has come.
    `followed`: another has taken its place, and `since` then counts what still comes. `doubled` are messages that came
    on the one before, and may come here again.
    """

    socket: BrokerSocket
    ids: frozenset[int]
    greeting: str
    over: asyncio.Event = field(default_factory=asyncio.Event)
    ended: float | None = None
    whole: bool = False
    followed: bool = False
    since: Counter[str] = field(default_factory=Counter)
    doubled: Counter[str] = field(default_factory=Counter)

    def heard_before(self, text: str) -> bool:
        """Whether a message came on the line before already. Told of each that comes."""
        if self.followed:
            self.since[text] += 1
        if not self.doubled:
            return False
        if self.doubled[text] > 0:
            self.doubled[text] -= 1
            return True
        self.doubled.clear()
        return False


class Pulse:
    """When somebody last called with a grant (the loop's clock)."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.beat()

    def beat(self) -> None:
        self.last = asyncio.get_running_loop().time()


class Opener:
    """Opens sockets of one kind for one person. `patience`: seconds for the broker to say what it thinks of a token."""

    def __init__(self, pacing: Pacing, pulse: Pulse, *, patience: float = ANSWER) -> None:
        self.pulse = pulse
        self._patience = patience
        self._pacing = pacing
        self._told: dict[frozenset[int], Told] = {}

    def learn(self, ids: frozenset[int], port: int, origin: Origin) -> None:
        """A client's own call was told a port."""
        now = asyncio.get_running_loop().time()
        self._told = {known: told for known, told in self._told.items() if now - told.at < FRESH}
        self._told[ids] = Told(port, origin, now)
        self.pulse.beat()

    async def open(self, source: Source, ids: frozenset[int]) -> Line:
        """A socket with these symbols, or `Failed`. If the broker refuses the token, it is renewed once."""
        told, renewed = self._fresh(ids), False
        for _ in range(TRIES):
            heard, told = told, None  # what another call was told may have changed: next time it is asked for
            try:
                socket, words = await self._try(source, heard or await self._ask(source, ids))
            except _Moved:
                continue
            except Failed:
                if heard is None:
                    raise
                continue
            if _read(words).get("success") is True:
                return Line(socket, ids, words)
            await socket.close()
            if not refuses_token(words) or renewed:
                raise Failed(codes.UNREACHABLE, "the broker did not take the token", words)
            await self._renew(source, socket)
            renewed = True
        raise Failed(codes.UNREACHABLE, "the broker's socket could not be opened")

    async def _try(self, source: Source, told: Told) -> tuple[BrokerSocket, str]:
        """A socket at this port, and what the broker says to the token."""
        try:
            socket = await source.relay.open_socket(self._handshake(source, told), source.grant)
        except Refusal as refusal:
            raise _failed(refusal) from None
        except HandshakeRefused as refused:
            raise Failed(codes.UNREACHABLE, f"the broker answered {refused.status} to the handshake") from None
        if socket.origin.host != told.origin.host:
            socket.drop()
            raise _Moved
        return socket, await _greeting(socket, self._patience)

    def _fresh(self, ids: frozenset[int]) -> Told | None:
        told = self._told.pop(ids, None)
        return told if told is not None and asyncio.get_running_loop().time() - told.at < FRESH else None

    def _handshake(self, source: Source, told: Told) -> Handshake:
        headers = header_rules.to_broker((), also=frozenset(), user_agent=source.user_agent, request_id=OWN)
        return Handshake(b"/", headers, credential=False, port=told.port, idle=IDLE)

    async def _ask(self, source: Source, ids: frozenset[int]) -> Told:
        """A call of our own for a port."""
        query = query_for(ids) if source.of_quotes else b"mode=WebSocket"
        status, body, origin = await self._call(source, source.row, b"?" + query)
        try:
            found = find(body) if status == HTTPStatus.OK else None
        except Unreadable as error:
            raise Failed(codes.UNREACHABLE, f"the broker's answer is unusable: {error}") from None
        if found is None:
            words = body.decode("utf-8", "replace") if len(body) <= _LONGEST_WORDS and _read(body) else None
            raise Failed(codes.UNREACHABLE, f"the broker answered {status} to the call for a port", words)
        return Told(found.port, origin, asyncio.get_running_loop().time())

    async def show_up(self, source: Source) -> None:
        """A call that shows that somebody is there. `Failed`."""
        if source.pulse is not None:
            await self._call(source, source.pulse, b"")

    async def _call(self, source: Source, row: Row, query: bytes) -> tuple[int, bytes, Origin]:
        self.pulse.beat()
        headers = header_rules.to_broker(_HEADERS, also=frozenset(), user_agent=source.user_agent, request_id=OWN)
        target = row.sent(row.path.encode()) + query
        outgoing = Outgoing(row.method, target, headers, None, mutating=False, streaming=False)
        try:
            with await self._pacing.turn(OWN, row, source.grant) as turn:
                exchange = await source.relay.fetch(outgoing, source.grant)
                try:
                    turn.answered(exchange.answer.status, exchange.answer.headers, calls=1 + exchange.replayed)
                    body = await whole_body(exchange)
                finally:
                    source.relay.finish(exchange)
        except Refusal as refusal:
            raise _failed(refusal) from None
        return exchange.answer.status, body, exchange.origin

    async def _renew(self, source: Source, socket: BrokerSocket) -> None:
        try:
            await source.relay.renewed(socket, source.grant)
        except Refusal as refusal:
            raise _failed(refusal) from None


async def _greeting(socket: BrokerSocket, patience: float) -> str:
    """Send the token, and wait for what the broker says to it. `Failed`; the socket is closed then."""
    try:
        async with asyncio.timeout(patience):
            await socket.send(socket.pair.access_token.reveal())
            message = await socket.receive()
            while message.kind not in ("text", "close"):
                if message.kind == "ping":
                    await socket.pong(message.payload)
                message = await socket.receive()
    except BaseException as error:
        socket.drop()
        if isinstance(error, TimeoutError):
            raise Failed(codes.UNREACHABLE, f"the broker said nothing to the token within {patience:g} s") from None
        if isinstance(error, Lost):
            raise Failed(codes.UNREACHABLE, str(error)) from None
        if isinstance(error, Echoed):
            raise Failed(codes.FAULT, "the broker's answer held our credential and was withheld") from None
        raise
    if message.kind == "close":
        await socket.close()
        raise Failed(codes.passed_on(message.code), message.reason)
    return str(message.data)


def refuses_token(words: str) -> bool:
    """Whether the broker says that the token is not good, or not any more."""
    return str(_REFUSED) in words and len(words) <= _LONGEST_WORDS and _read(words).get("code") == _REFUSED


def _read(text: str | bytes) -> dict[str, Any]:
    """An object of JSON; empty for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _failed(refusal: Refusal) -> Failed:
    return Failed(codes.of_refusal(refusal.kind), refusal.detail)
