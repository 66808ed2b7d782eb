"""One exchange: send with a lent token pair, renew once if the broker refuses it, get the answer.

What may be repeated is decided here and only here; see "Replay" in `docs/custody.md`.
"""

import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from time import perf_counter

from proxy import logs
from proxy.brokers import AnswerRule, Broker, Origin
from proxy.brokers.definition import Placement
from proxy.errors import Refusal
from proxy.gate.clients import grant_of
from proxy.outbound import Lost, NotSent, Spoilt
from proxy.relay import credential as credential_rules
from proxy.relay import headers as header_rules
from proxy.relay.dialling import Dialler, Handshake, open_socket
from proxy.relay.echo import Sieve
from proxy.relay.failures import lost, unreachable
from proxy.relay.pool.answer import PooledAnswer
from proxy.relay.pool.connection import Connection
from proxy.relay.upstream import Answer, Body, Call, Place, Upload, Upstream
from proxy.relay.websocket import BrokerSocket
from proxy.secret import Secret
from proxy.tokens.grant import TokenPair
from proxy.tokens.lender import Lender, found_by

SMALL = 64 * 1024  # bytes of an answer that are read before its head is passed on
SEARCHED = 64 * 1024  # bytes of a body in which our credential is looked for; streams are searched to their end
MEMBERS_KEPT = 1024  # of a grant, whose connections are told apart
SAFE = frozenset(("GET", "HEAD"))
# What a gateway says that has passed a call on and heard nothing (RFC 9110, sections 15.6.3 and 15.6.5): no answer of
# the broker's. Passed on, it would make SDKs send an order again that may have been executed.
GATEWAY = frozenset((HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT))
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32

log = logs.get("relay")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A call that the gate has let through. A `body` that is no `Upload` is whole and may be sent again.

    `holds` are secrets that were put into the body here: an answer must not repeat them either. `idle` and `last_look`
    are those of `Call`.
    """

    method: str
    target: bytes = field(repr=False)
    headers: header_rules.Text = field(repr=False)
    body: Body = field(repr=False)
    mutating: bool
    streaming: bool
    holds: tuple[Secret, ...] = ()
    idle: float | None = None
    last_look: Callable[[], None] | None = field(default=None, repr=False)

    def with_pair(self, pair: TokenPair) -> Call:
        return Call(
            method=self.method,
            target=self.target,
            headers=self.headers,
            pair=pair,
            mutating=self.mutating,
            streaming=self.streaming,
            body=self.body,
            idle=self.idle,
            last_look=self.last_look,
        )

    @property
    def whole(self) -> bool:
        return not isinstance(self.body, Upload)

    @property
    def safe(self) -> bool:
        """Whether a repeat can do no harm. The row knows that better than the method."""
        return self.method in SAFE and not self.mutating

    @property
    def fault(self) -> Refusal | None:
        """Why the client's upload ended early, if it did."""
        return self.body.fault if isinstance(self.body, Upload) else None


@dataclass(slots=True)
class Exchange:
    """A broker's answer, on its way. `start` was read ahead; `whole` says that it is the whole body.

    `origin` is where it came from. `seconds` passed between the first byte sent and the answer's head. `lent`: the pair
    is still to be given back, to `keeper`. `passed`: bytes of the body that a stream's client was given.
    """

    answer: Answer
    keeper: Lender
    pair: TokenPair
    origin: Origin
    start: bytes = b""
    whole: bool = False
    seconds: float = 0.0
    replayed: bool = False
    lent: bool = True
    streaming: bool = False
    passed: int = 0
    sieve: Sieve | None = None  # what the rest of the body has to go through


@dataclass(slots=True)
class UnderWay:
    """A call that was sent already: with a lent pair, and what came of it, `seconds` later."""

    keeper: Lender
    pair: TokenPair
    outcome: PooledAnswer | Lost | None = None
    seconds: float = 0.0

    def arrived(self) -> PooledAnswer:
        """The answer. Raises `Lost`."""
        if isinstance(self.outcome, PooledAnswer):
            return self.outcome
        raise self.outcome or AssertionError("nothing has come of a call yet")


class Relay:
    """Carries the calls of one mount. `close()` of the upstream is the app's.

    `keeper` is that of the mount's grant; `keeper_of` gives those of the grant's members, for calls that are theirs.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        place: Place,
        keeper: Lender,
        upstream: Upstream,
        keeper_of: Callable[[str], Awaitable[Lender]] | None = None,
        keeper_at_hand: Callable[[str], Lender | None] = lambda _grant: None,
        dialler: Dialler | None = None,
    ) -> None:
        self._keeper_at_hand = keeper_at_hand
        self._places: dict[str, Place] = {}
        self._dialler = dialler
        self._broker = broker
        self._place = place
        self._keeper = keeper
        self._keeper_of = keeper_of
        self._upstream = upstream

    @property
    def grant(self) -> str:
        """Whose credential goes along, unless a call is a member's."""
        return self._place.grant

    @property
    def placement(self) -> Placement:
        """Where it goes."""
        return self._place.placement

    @property
    def place(self) -> Place:
        """Where the calls go, as a value: two relays with equal ones reach the same."""
        return self._place

    async def fetch(self, outgoing: Outgoing, grant: str | None = None, under_way: UnderWay | None = None) -> Exchange:
        """Get the broker's answer; give the pair back with `finish()`. Raises `Refusal`.

        `grant` is the mount's own or a member of it, and one keeper serves the whole exchange. `under_way`: it was sent
        already, and this goes on from there.
        """
        keeper = under_way.keeper if under_way is not None else await self._keeper_for(grant)
        pair = under_way.pair if under_way is not None else await keeper.take()
        exchange = await self._once(outgoing, keeper, pair, under_way=under_way)
        if exchange.answer.status == HTTPStatus.UNAUTHORIZED:
            try:
                exchange = await self._refused(outgoing, exchange)
            except Refusal as refusal:
                if outgoing.mutating:  # it has left once
                    refusal.retry_after = None
                raise
        elif HTTPStatus.OK <= exchange.answer.status < HTTPStatus.MULTIPLE_CHOICES:
            keeper.accepted(pair.generation)
        if outgoing.streaming:
            exchange.streaming = True
            self._give_back(exchange)  # a redeem does not wait for streams
        return exchange

    async def open_socket(self, handshake: Handshake, grant: str | None = None) -> BrokerSocket:
        """A WebSocket at the broker. Raises `Refusal`, or `HandshakeRefused` with the broker's own answer."""
        if self._dialler is None:
            raise AssertionError("a socket was asked for where there is no way out for sockets")
        keeper = await self._keeper_for(grant)
        return await open_socket(
            handshake, keeper=keeper, place=self._place, broker=self._broker, dialler=self._dialler
        )

    async def renewed(self, socket: BrokerSocket, grant: str | None = None) -> bool:
        """The broker refused a socket's token in a frame: have it renewed, once, whoever says so. `Refusal`.

        True: the next socket is opened with a newer one.
        """
        keeper = await self._keeper_for(grant)
        newer = await keeper.renew(socket.pair.generation)
        if newer is not None:
            keeper.give_back()
        return newer is not None

    async def generation(self, grant: str | None = None) -> int:
        """Which token pair of the grant is the newest here. `Refusal`."""
        return (await self._keeper_for(grant)).grant.generation

    async def _keeper_for(self, grant: str | None) -> Lender:
        if grant is None or grant == self._place.grant:
            return self._keeper
        if self._keeper_of is None or grant_of(grant) != self._place.grant:
            raise LookupError(f"{grant} is no member of the grant {self._place.grant}")
        return await found_by(self._keeper_of, grant)

    # -- for plain reads, at once ----------------------------------------------------------------------------------

    def keeper_at_hand(self, grant: str) -> Lender | None:
        """Who keeps the token of a call, if that is known without waiting."""
        if grant == self._place.grant:
            return self._keeper
        return self._keeper_at_hand(grant) if grant_of(grant) == self._place.grant else None

    def at_hand(self, pair: TokenPair, grant: str | None = None) -> Connection | None:
        """A connection that is open and idle, taken for one call with this pair; None if there is none."""
        return self._upstream.at_hand(self._place_for(grant), pair)

    def _place_for(self, grant: str | None) -> Place:
        """Where calls of the grant or of a member of it go: the same place, over connections of its own."""
        if grant is None or grant == self._place.grant:
            return self._place
        if grant not in self._places:
            if len(self._places) >= MEMBERS_KEPT:
                self._places.clear()
            self._places[grant] = replace(self._place, grant=grant)
        return self._places[grant]

    def finish(self, exchange: Exchange) -> None:
        """The answer has been passed on, or given up."""
        exchange.answer.close()
        self._give_back(exchange)

    def _give_back(self, exchange: Exchange) -> None:
        if exchange.lent:
            exchange.lent = False
            exchange.keeper.give_back()

    async def _refused(self, outgoing: Outgoing, exchange: Exchange) -> Exchange:
        """A 401: if it speaks of the token, renew, and send once more if nothing can have been executed."""
        if _says(exchange, self._broker.header_missing):
            log.error("the broker saw no Authorization header, though one was sent", grant=self._place.grant)
        if not exchange.whole or not _says(exchange, self._broker.token_refused):
            return exchange
        repeats = self._may_repeat(outgoing)
        # Give the pair back first: a redeem waits for those that still use the old token.
        self._give_back(exchange)
        try:
            newer = await exchange.keeper.renew(exchange.pair.generation)
        except Refusal:
            if not repeats:  # the broker's own answer stands, and no Retry-After asks for the call once more
                return exchange
            exchange.answer.close()
            raise
        except BaseException:
            exchange.answer.close()
            raise
        if newer is None:
            return exchange
        if not repeats:
            exchange.keeper.give_back()
            return exchange
        exchange.answer.close()
        again = await self._once(outgoing, exchange.keeper, newer, again=True)
        again.replayed = True
        return again

    def _may_repeat(self, outgoing: Outgoing) -> bool:
        if outgoing.safe:
            return True
        return outgoing.whole and self._broker.refusal_proves_nonexecution

    async def _once(
        self,
        outgoing: Outgoing,
        keeper: Lender,
        pair: TokenPair,
        *,
        again: bool = False,
        under_way: UnderWay | None = None,
    ) -> Exchange:
        """One sending, with a lent pair: it is the exchange's from here on, or has been given back when this raises."""
        try:
            exchange = await self._send(outgoing.with_pair(pair), keeper, under_way)
            try:
                await self._read_ahead(exchange, outgoing)
            except BaseException:
                exchange.answer.close()
                raise
        except NotSent as error:
            keeper.give_back()
            raise unreachable(error, safe=outgoing.safe, again=again) from None
        except Lost as error:
            keeper.give_back()
            raise (outgoing.fault or lost(str(error), error.kind, safe=outgoing.safe)) from None
        except BaseException:
            keeper.give_back()
            raise
        return exchange

    async def _send(self, call: Call, keeper: Lender, under_way: UnderWay | None = None) -> Exchange:
        started = perf_counter() - (under_way.seconds if under_way is not None else 0.0)
        place = self._place_for(keeper.name)
        try:
            answer = await self._upstream.send(call, place) if under_way is None else under_way.arrived()
        except Spoilt:
            answer = await self._upstream.send(call, place)
        except Lost as error:
            # A kept-alive connection that the broker was just closing: a read can do no harm twice.
            if not (error.reused and error.kind == "reset" and call.method in SAFE and not call.mutating):
                raise
            # Others that were kept may be closed at the same moment: by a broker that starts anew, all of them are.
            answer = await self._upstream.send(replace(call, fresh=True), place)
        return Exchange(answer, keeper, call.pair, place.origin_for(call.pair), seconds=perf_counter() - started)

    async def _read_ahead(self, exchange: Exchange, outgoing: Outgoing) -> None:
        """Read what is better known before the head goes on.

        Small answers of known length: one write to the client, and a late failure is still a clean one. Of calls that
        change something, whatever the length: half an answer to an order is no answer. Of a 401: it says what to do.
        """
        answer = exchange.answer
        if outgoing.mutating and answer.status in GATEWAY:
            raise lost(
                f"a gateway before the broker has lost the answer ({answer.status:d})", "reset", safe=outgoing.safe
            )
        length = header_rules.content_length(answer.headers)
        small = length is not None and length <= SMALL and not outgoing.streaming
        if not has_body(outgoing.method, answer.status):
            exchange.whole = True
        elif small or outgoing.mutating or answer.status == HTTPStatus.UNAUTHORIZED:
            exchange.start, exchange.whole = await answer.start(SMALL)
        self._look_for_echoes(exchange, outgoing)

    def _look_for_echoes(self, exchange: Exchange, outgoing: Outgoing) -> None:
        """Withhold an answer that gives a secret of ours back; what is still to come of it goes through a sieve."""
        needles = credential_rules.needles(self._place.placement, exchange.pair.access_token, *outgoing.holds)
        head = b"\n".join(part for pair in exchange.answer.headers for part in pair)
        if needles.within(head) or needles.within(exchange.start):
            log.error("an answer held a credential and was withheld", grant=self._place.grant)
            raise lost("the broker's answer held our credential and was withheld", "malformed", safe=outgoing.safe)
        if not exchange.whole:
            exchange.sieve = Sieve(needles, None if outgoing.streaming else SEARCHED)


def has_body(method: str, status: int) -> bool:
    """Whether an answer has one at all (RFC 9110, section 6.4.1)."""
    return method != "HEAD" and status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


def _says(exchange: Exchange, rules: Iterable[AnswerRule]) -> bool:
    status, kind, text = exchange.answer.status, _header(exchange.answer.headers, b"content-type"), _unpacked(exchange)
    return any(rule.matches(status, kind, text) for rule in rules)


def _unpacked(exchange: Exchange) -> bytes:
    """What was read ahead, for us to read; the client gets it as it came. Empty if it makes no sense."""
    if _header(exchange.answer.headers, b"content-encoding").strip().lower() in ("", "identity"):
        return exchange.start
    try:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(exchange.start, SMALL)
    except zlib.error:
        return b""


def _header(headers: header_rules.Raw, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in headers if key.lower() == name), "")
