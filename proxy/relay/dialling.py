"""Opening a WebSocket at a broker, with the credential of a lent pair, after one last look at where it goes.

The credential stands in the handshake, or nowhere: what goes into a frame is written by who knows the dialect.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from proxy import logs
from proxy.brokers import Broker, Origin
from proxy.brokers.origin import pinned
from proxy.errors import Refusal
from proxy.filestamp import Stamp
from proxy.outbound import Lost, NotSent, NotSwitched, own_errors, session, tls_context
from proxy.relay import credential
from proxy.relay.echo import Echoed, Needles
from proxy.relay.headers import Raw, Text
from proxy.relay.upstream import LARGEST_HEAD, Place
from proxy.relay.websocket import GOODBYE, BrokerSocket
from proxy.secret import Secret
from proxy.tokens.grant import TokenPair
from proxy.tokens.lender import Lender

FIRST_PORT, LAST_PORT = 1024, 65535  # of a port that a broker's answer names
BEAT_EVERY = 20.0  # seconds of silence, and then a ping
_REFUSAL = 64 * 1024  # bytes of the answer to a handshake that was not taken
_READING = 10.0  # seconds for them
_UNAUTHORIZED, _FIRST_REFUSAL, _LAST_REFUSAL = 401, 300, 599

log = logs.get("relay")


@dataclass(frozen=True, slots=True)
class Handshake:
    """A socket that is to be opened. `target` is path and query, byte for byte; `headers` have passed `to_broker`.

    `credential`: it goes into the handshake, in its place; else into a frame, or nowhere. `origin`: another one than
    the mount's. `port`: another port of the same host, which a broker's answer named. `idle`: seconds for which the
    broker may be silent. `beat`: seconds of silence, and then we ping it. `compress`: offer permessage-deflate. `most`:
    bytes of a message.
    """

    target: bytes = field(repr=False)
    headers: Text = field(repr=False)
    credential: bool = True
    origin: Origin | None = None
    port: int | None = None
    subprotocols: tuple[str, ...] = ()
    idle: float = 60.0
    beat: float = BEAT_EVERY
    compress: bool = False
    most: int = 1024 * 1024


class HandshakeRefused(Exception):
    """The broker's own answer to a handshake, if that is not a socket. Nothing of ours is in it."""

    def __init__(self, status: int, headers: Raw, body: bytes, origin: Origin) -> None:
        super().__init__(f"the broker answered {status}")
        self.status = status
        self.headers = headers
        self.body = body
        self.origin = origin


class Dialler:
    """Opens sockets at brokers. A connection is one socket's, and never used again."""

    def __init__(self) -> None:
        self._sessions: dict[_Trust, aiohttp.ClientSession] = {}
        self._leaving: set[BrokerSocket] = set()
        self._making = asyncio.Lock()

    async def dial(
        self,
        handshake: Handshake,
        pair: TokenPair,
        place: Place,
        newest: Callable[[], Secret | None] = lambda: None,
    ) -> BrokerSocket:
        """Shake hands once. `newest`: the grant's credential by then, which the socket may not tell either.

        Raises `NotSent`, `Lost`, `Echoed` or `HandshakeRefused`.
        """
        origin = _origin(handshake, pair, place)
        target, headers = handshake.target, list(handshake.headers)
        if handshake.credential:
            written = credential.write(place.placement, pair.access_token, target, headers)
            target, headers = written.target, written.headers
        else:
            credential.check_none(place.placement, headers)
        needles = credential.needles(place.placement, pair.access_token)
        client = await self._session(place)
        url = URL.build(scheme="https", host=origin.host, port=origin.port, path=target.decode("ascii"), encoded=True)
        try:
            with own_errors():
                async with asyncio.timeout(place.total):
                    ws = await client.ws_connect(
                        url,
                        headers=headers,
                        protocols=handshake.subprotocols,
                        compress=15 if handshake.compress else 0,
                        autoclose=False,
                        autoping=False,
                        max_msg_size=handshake.most + 1,  # the library refuses what reaches it
                        timeout=aiohttp.ClientWSTimeout(ws_close=GOODBYE),
                    )
        except NotSwitched as refused:
            raise await _refusal(refused.answer, needles, origin) from None
        watch = credential.Watch(place.placement, pair.access_token, newest)
        return BrokerSocket(
            ws, pair, watch, origin=origin, idle=handshake.idle, beat=handshake.beat, leaving=self._leaving
        )

    async def _session(self, place: Place) -> aiohttp.ClientSession:
        trust = (place.ca_file, place.trust, place.private_hosts, place.egress)
        async with self._making:
            if trust not in self._sessions:
                tls = await tls_context(place.ca_file)
                self._sessions[trust] = session(
                    tls, keep_alive=None, private_hosts=place.private_hosts, egress=place.egress, sockets=True
                )
        return self._sessions[trust]

    async def close(self) -> None:
        """Nobody waits for last words any more."""
        for socket in tuple(self._leaving):
            socket.forget()
        while self._sessions:
            _, client = self._sessions.popitem()
            await client.close()


_Trust = tuple[str | None, Stamp | None, frozenset[str], str | None]


def _origin(handshake: Handshake, pair: TokenPair, place: Place) -> Origin:
    """Where it goes: never outside of the pin, and another port only on the pinned host."""
    origin = handshake.origin or place.origin_for(pair)
    if not pinned(origin, place.api_hosts):
        raise AssertionError("a credential was about to leave for an origin outside the pin")
    if handshake.port is None:
        return origin
    if not FIRST_PORT <= handshake.port <= LAST_PORT:
        raise Lost(f"the broker named the port {handshake.port}, which no stream has", "malformed")
    return Origin(origin.host, handshake.port)


async def _refusal(answer: aiohttp.ClientResponse, needles: Needles, origin: Origin) -> Exception:
    """What a broker said instead of opening a socket."""
    body = bytearray()
    try:
        with own_errors():
            async with asyncio.timeout(_READING):
                while len(body) < _REFUSAL and (piece := await answer.content.read(_REFUSAL - len(body))):
                    body += piece
    except Lost as lost:
        return lost
    finally:
        answer.close()
    headers: Raw = answer.raw_headers
    head = b"\n".join(part for pair in headers for part in pair)
    if needles.within(head) or needles.within(bytes(body)):
        return Echoed()
    packed = any(n.lower() == b"content-encoding" and v.strip().lower() != b"identity" for n, v in headers)
    if packed and body:  # it was asked for as it is, and could not be searched
        return Lost("the broker's answer to a handshake is packed", "malformed")
    sound = _FIRST_REFUSAL <= answer.status <= _LAST_REFUSAL and len(head) <= LARGEST_HEAD
    return (
        HandshakeRefused(answer.status, headers, bytes(body), origin)
        if sound
        else Lost("the broker's answer to a handshake is no refusal and no socket", "malformed")
    )


async def open_socket(
    handshake: Handshake, *, keeper: Lender, place: Place, broker: Broker, dialler: Dialler
) -> BrokerSocket:
    """Open a socket with the keeper's pair; if the broker refuses the token, renew it once and dial once more.

    The pair is given back once the handshake is done: a redeem never waits for sockets. Raises `Refusal`, or
    `HandshakeRefused` with the broker's own answer.
    """
    pair = await keeper.take()
    try:
        return await _dialled(handshake, pair, keeper, place, dialler)
    except HandshakeRefused as refused:
        if not _of_the_token(refused, broker):
            raise
        newer = await keeper.renew(pair.generation)
        if newer is None:
            raise
    return await _dialled(handshake, newer, keeper, place, dialler)


async def _dialled(
    handshake: Handshake, pair: TokenPair, keeper: Lender, place: Place, dialler: Dialler
) -> BrokerSocket:
    """One handshake with a lent pair, which is given back here."""
    try:
        found = await dialler.dial(handshake, pair, place, lambda: keeper.access_token)
    except NotSent as error:
        detail = f"The broker could not be reached: {error}. Nothing was sent."
        raise Refusal("broker-unreachable", detail, status=502) from None
    except Lost as error:
        kind = {"timeout": "broker-timeout", "malformed": "bad-answer"}.get(error.kind, "broker-unreachable")
        status = 502 if kind == "broker-unreachable" else None
        raise Refusal(kind, f"The broker's socket could not be opened: {error}.", status=status) from None
    except Echoed:
        log.error("the answer to a handshake held a credential and was withheld", grant=place.grant)
        raise Refusal("bad-answer", "The broker's answer held our credential and was withheld.") from None
    finally:
        keeper.give_back()
    if handshake.credential:
        keeper.accepted(pair.generation)
    return found


def _of_the_token(refused: HandshakeRefused, broker: Broker) -> bool:
    kinds: Sequence[str] = [v.decode("latin-1") for n, v in refused.headers if n.lower() == b"content-type"]
    kind = kinds[0] if kinds else ""
    rules = broker.token_refused
    return refused.status == _UNAUTHORIZED and any(rule.matches(refused.status, kind, refused.body) for rule in rules)
