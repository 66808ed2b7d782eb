"""One socket of a client, one at the broker, and what goes between them: as it comes, in its order, one by one.

Each side has its own fragments, its own compression and its own heartbeats. Whoever is slow slows the other side down;
nothing piles up here. When one side ends, the other one does.
"""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field

from aiohttp import web

from proxy import logs
from proxy.errors import Refusal
from proxy.gate.clients import KEY_PREFIX, digest
from proxy.outbound import Lost
from proxy.relay.dialling import HandshakeRefused
from proxy.relay.frames import Frame, Message
from proxy.relay.websocket import BrokerSocket, Echoed
from proxy.streams import codes, dialects
from proxy.streams.client import ClientSocket, SocketEnded
from proxy.streams.handover import Sessions
from proxy.streams.opening import OTHERS, Opening

AUTHORIZED_WITHIN = 10.0  # seconds for a broker to say what it thinks of our first frame
_EARLY = 16  # frames of a broker before that

log = logs.get("streams")


@dataclass(slots=True)
class Link:
    """A socket at the broker that is ready: `answer` is what the broker said of our first frame, if it had one; `early`
    is what came before that.
    """

    broker: BrokerSocket
    answer: Frame | None = None
    early: list[Message] = field(default_factory=list)


class Relayed:
    """Serves the sockets of every dialect in which one client has one socket at the broker."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def serve(self, opening: Opening) -> web.StreamResponse:
        """From the handshake to the end. Raises `Refusal` or `HandshakeRefused` as long as there was no 101."""
        if opening.client is None:
            return await self._serve_late(opening)
        with opening.entered():
            link = await _open(opening)
            try:
                client = await opening.accept(link.broker.subprotocol)
                with client.served(), ExitStack() as held:
                    await self._carry(opening, client, link, held)
                return client.response
            finally:
                link.broker.drop()

    async def _serve_late(self, opening: Opening) -> web.StreamResponse:
        """The first frame says who it is: 101 first, and refusals are close codes."""
        with ExitStack() as waiting:
            stranger = waiting.enter_context(opening.streams.stranger())
            client = await opening.accept()
            stranger.end = client.end
            with client.served():
                try:
                    first = await client.first()
                    self._admit(opening, first)
                    waiting.close()
                    with opening.entered(client):
                        opening.began()
                        await self._serve_known(opening, client, first)
                except Refusal as refusal:
                    await _turn_down(opening, client, refusal)
                except SocketEnded:
                    opening.missed()
                    await client.close()
        return client.response

    async def _serve_known(self, opening: Opening, client: ClientSocket, first: Frame) -> None:
        try:
            link = await _open(opening, binary=isinstance(first, bytes))
        except HandshakeRefused as refused:
            detail = f"The broker refused the handshake with status {refused.status}."
            raise Refusal("broker-unreachable", detail, status=502) from None
        try:
            with ExitStack() as held:
                await self._carry(opening, client, link, held, first=first)
        finally:
            link.broker.drop()

    def _admit(self, opening: Opening, first: Frame) -> None:
        """Who it is, by its first frame. `Refusal`."""
        try:
            found = dialects.shown(opening.row.speaks, first)
        except ValueError:
            raise _unclear() from None
        if found.session is None:
            opening.admit(found.key)
            return
        session = self._sessions.find(found.session)
        if session is None:
            detail = "The session was not handed out here, or too long ago, and the socket carries no client key."
            raise Refusal("unknown-client", detail, fix="ask for a session through bearerd, with a client key")
        opening.admit_as(session.digest, session.grant)

    async def _carry(
        self, opening: Opening, client: ClientSocket, link: Link, held: ExitStack, *, first: Frame | None = None
    ) -> None:
        """Both ways, until one of the two is over. Then the other one is closed."""
        broker = link.broker
        end = client.end

        def both(code: int, reason: str) -> None:
            end(code, reason)
            broker.drop()

        if opening.stream is not None:
            opening.stream.end = both
            if opening.stream.over is not None:
                both(*opening.stream.over)
        way = Way(opening, link, self._sessions, held)
        async with asyncio.TaskGroup() as group:
            down = group.create_task(_down(opening, client, link))
            await _up(client, broker, way, first)
            down.cancel()
        await client.close()


@dataclass(slots=True)
class Way:
    """What becomes of a client's frames. `held` is where a session that is used is held."""

    opening: Opening
    link: Link
    sessions: Sessions
    held: ExitStack
    using: set[str] = field(default_factory=set)

    async def take(self, client: ClientSocket, frame: Frame) -> Frame | None:
        """The frame as it goes on; None if it goes no further. `Refusal`: the client is not who it was."""
        dialect = self.opening.row.speaks
        if dialect == dialects.PLAIN:
            return dialects.keyless(frame)
        try:
            found = dialects.shown(dialect, frame)
        except ValueError:
            raise _unclear() from None
        if found.asks:
            self._agree(found.key)
            if self.link.answer is not None:
                await client.send(self.link.answer)
            return None
        if found.session is not None and found.session not in self.using:
            self._use(found.session)
        return dialects.keyless(frame)

    def _agree(self, key: str | None) -> None:
        """A client key in a frame is the one that the socket was opened with; anything else says nothing."""
        ours = key is not None and key.startswith(KEY_PREFIX) and self.opening.digest is not None
        if ours and digest(key or "") != self.opening.digest:
            raise Refusal("unknown-client", "The first frame holds another client key than the call.")

    def _use(self, text: str) -> None:
        session = self.sessions.find(text)
        if session is None:  # a client's own business, whoever it got it from
            return
        if self.opening.client is not None and session.client.name != self.opening.client.name:
            raise Refusal("unknown-client", "The session was handed out to another client.")
        if session.grant != self.opening.grant:
            raise Refusal("unknown-client", OTHERS)
        self.held.enter_context(self.sessions.used(text))
        self.using.add(text)


async def _up(client: ClientSocket, broker: BrokerSocket, way: Way, first: Frame | None) -> None:
    """From the client to the broker, until the client is over."""
    try:
        if first is not None and (frame := await way.take(client, first)) is not None:
            await broker.send(frame)
        while True:
            kind, data, *_ = message = await client.receive()
            if kind == "ping":
                await broker.ping(dialects.keyless(message.payload))
            elif kind == "pong":
                await broker.pong(dialects.keyless(message.payload))
            elif (frame := await way.take(client, data)) is not None:
                await broker.send(frame)
    except SocketEnded as ended:
        # Before anything is waited for: with the client's connection our own task is cancelled.
        broker.drop(codes.STOPPING if ended.ours else codes.returned(ended.code), _reason(ended))
    except Refusal as refusal:
        if (words := dialects.refusal(way.opening.row.speaks, refusal.kind, refusal.detail)) is not None:
            await _last(client, words)
        client.end(codes.of_refusal(refusal.kind), refusal.detail)
    except Lost as lost:
        client.end(codes.AGAIN, str(lost))


def _reason(ended: SocketEnded) -> str:
    """What a broker is told of it: the client's own words."""
    return "" if ended.ours or KEY_PREFIX in ended.reason else ended.reason


async def _down(opening: Opening, client: ClientSocket, link: Link) -> None:
    """From the broker to the client, until the broker is over; the client then is told so."""
    broker = link.broker
    try:
        for message in link.early:
            await client.send(message.data)
        link.early.clear()
        while True:
            kind, data, code, reason = message = await broker.receive()
            if kind in ("text", "binary"):
                await client.send(data)
            elif kind == "ping":
                await client.ping(message.payload)
            elif kind == "pong":
                await client.pong(message.payload)
            else:
                client.end(codes.passed_on(code), reason)
                return
    except SocketEnded:
        return
    except Lost as lost:
        client.end(codes.AGAIN, str(lost))
    except Echoed:
        log.error("a frame held a credential and was withheld", mount=opening.mount, grant=opening.grant)
        client.end(codes.FAULT, "the broker's frame held a credential and was withheld")


async def _open(opening: Opening, *, binary: bool = False) -> Link:
    """The broker's socket, ready for what the client has to say."""
    if opening.row.speaks != dialects.ALPACA_TRADING:
        return Link(await opening.open_broker(credential=opening.row.speaks == dialects.PLAIN))
    link = await _authenticated(opening, binary=binary)
    if link.answer is not None and dialects.authorized(link.answer) is False:
        # The token may have ended a moment ago: once more with a newer one, if there is one.
        try:
            newer = await opening.relay.renewed(link.broker, opening.record.grant)
        except BaseException:
            link.broker.drop()
            raise
        if newer:
            link.broker.drop()
            link = await _authenticated(opening, binary=binary)
    return link


async def _authenticated(opening: Opening, *, binary: bool) -> Link:
    """A socket at Alpaca's trading API, with what it said of our first frame."""
    # JSON both ways: a client that asks for MessagePack here gets it nowhere, and its key must not pass unread.
    opening.headers = [pair for pair in opening.headers if pair[0].lower() != "content-type"]
    broker = await opening.open_broker(credential=False)
    link = Link(broker)
    try:
        await broker.send(dialects.authentication(opening.relay.placement, broker.pair.access_token, binary=binary))
        async with asyncio.timeout(AUTHORIZED_WITHIN):
            await _await_answer(link)
    except BaseException as error:  # noqa: BLE001  whatever it is, it is raised again
        broker.drop()
        if isinstance(error, Echoed):
            log.error("a frame held a credential and was withheld", mount=opening.mount, grant=opening.grant)
        raise _as_refusal(error) from None
    return link


def _as_refusal(error: BaseException) -> BaseException:
    """What went wrong before the broker has let us in."""
    match error:
        case TimeoutError():
            return Refusal("broker-timeout", "The broker did not say whether it lets us in.")
        case Lost():
            return Refusal("broker-unreachable", f"The broker's socket ended at once: {error}.", status=502)
        case Echoed():
            return Refusal("bad-answer", "The broker's first frame held our credential.")
        case _:
            return error


async def _await_answer(link: Link) -> None:
    """Until the broker has said what it thinks of our first frame."""
    while link.answer is None:
        message = await link.broker.receive()
        if message.kind == "close" or len(link.early) >= _EARLY:
            raise Refusal("bad-answer", "The broker closed its socket before it let us in.")
        if message.kind == "ping":
            await link.broker.pong(message.payload)
        elif message.kind in ("text", "binary"):
            if dialects.authorized(message.data) is None:
                link.early.append(message)
            else:
                link.answer = message.data


async def _turn_down(opening: Opening, client: ClientSocket, refusal: Refusal) -> None:
    """Tell a client why not, in its broker's words and by a close code."""
    opening.refused(refusal)
    words = dialects.refusal(opening.row.speaks, refusal.kind, refusal.detail)
    if words is not None:
        await _last(client, words)
    await client.close(codes.of_refusal(refusal.kind), refusal.detail)


async def _last(client: ClientSocket, words: str) -> None:
    try:
        await client.send(words)
    except SocketEnded:
        return


def _unclear() -> Refusal:
    return Refusal("unknown-client", "The frame could be read in more than one way.")
