"""One call on the express lane: let in by the gate, sent by a callback, answered by another. See `express.py`."""

from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial

from aiohttp import web

from proxy.admission import Called, Door, Mount, Policy, Sent, hold_to_certificate, permit
from proxy.audit import record as audit
from proxy.clock import Now
from proxy.connection import ExpressHandler
from proxy.gate.browser import Hosts
from proxy.gate.clients import Client, grant_for
from proxy.gate.guards import Guards
from proxy.gate.rows import Row
from proxy.gate.tracecontext import NO_LINES, Lines, Parent, lines, without
from proxy.gateway import Gateway, prefixes
from proxy.identifiers import identifiers
from proxy.outbound import Lost
from proxy.pacing import Turn
from proxy.plainhead import Plain
from proxy.relay import credential, wirehead
from proxy.relay import headers as header_rules
from proxy.relay.answerhead import whole_head
from proxy.relay.echo import Needles
from proxy.relay.http import UnderWay
from proxy.relay.pool.answer import PooledAnswer
from proxy.relay.pool.connection import Connection
from proxy.serving import refused
from proxy.tokens.grant import TokenPair
from proxy.tokens.lender import Lender

_UNAUTHORIZED = 401


@dataclass(slots=True, eq=False)
class Known:
    """What the gate finds in a block of headers, by one policy and at one door.

    `fingerprint` is that of the client's key, `parent` the span that its calls belong to, `url` how the client reached
    the door, `sent` what goes on to the broker, by mount.
    """

    policy: Policy
    hosts: Hosts | None
    passes: bool = False
    fingerprint: str | None = None
    request_id: str | None = None
    parent: Parent | None = None
    url: str = ""
    sent: dict[str, wirehead.Block] = field(default_factory=dict, repr=False)

    def block(self, mount: Mount, headers: header_rules.Raw, *, tracing: bool) -> wirehead.Block:
        """What of the client's headers goes to this mount's broker; the call's identifier is still to be added.

        With `tracing` so is the parent.
        """
        if (block := self.sent.get(mount.name)) is None:
            pairs = header_rules.to_broker(headers, also=mount.also, user_agent=mount.user_agent, request_id="")
            kept = [pair for pair in pairs if pair[0] != "X-Request-Id"]
            kept = without(kept) if tracing else kept
            block = self.sent[mount.name] = wirehead.block_of(kept, mount.relay.placement)
        return block


@dataclass(slots=True, eq=False)
class Way:
    """Where a target leads, by one policy; and what was found for the client and the token that went there last.

    `target` is what the broker gets.
    """

    called: Called
    target: bytes
    mount: Mount = field(init=False)
    row: Row = field(init=False)
    client: Client | None = None
    grant: str = ""
    guards: tuple[Guards, ...] = ()
    pair: TokenPair | None = None
    first: wirehead.First = field(init=False)
    lines: credential.Lines = field(init=False, repr=False)
    needles: Needles = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.mount, self.row = self.called.mount, self.called.match.row

    def permit(self, client: Client, policy: Policy) -> None:
        """Raise `Refusal` unless this client may go there."""
        permit(self.mount, client, self.row)
        self.grant = grant_for(client, self.mount.relay.grant)
        self.guards = policy.guards.of(self.mount.name, client.name)
        self.client = client

    def lead(self, method: str, pair: TokenPair) -> None:
        """Have ready what every call there with this token is written with, and what no answer may hold."""
        place = self.mount.relay.place
        lines = credential.lines(place.placement, pair.access_token)
        if lines is None:
            raise AssertionError("this broker's credential is no header")
        self.first = wirehead.first_of(method.encode("ascii"), self.target, str(place.origin_for(pair)).encode("ascii"))
        self.needles = credential.needles(place.placement, pair.access_token)
        self.lines, self.pair = lines, pair


class Trip:
    """`let_in()` and `set_off()`; then the broker's connection tells of the answer, or the client's that it has gone.

    `head` are the bytes of the request, and `plain` what they say.
    """

    __slots__ = (
        "client", "connection", "door", "gateway", "head", "keeper", "known", "line", "needles", "now", "outcome",
        "pair", "plain", "record", "seconds", "turn", "way",
    )  # fmt: skip

    client: Client
    connection: Connection
    keeper: Lender
    needles: Needles  # those of this pair: the way's may be another's when the answer comes
    pair: TokenPair
    record: audit.Record
    turn: Turn

    def __init__(  # noqa: PLR0917  it is made for each call
        self, gateway: Gateway, door: Door, line: ExpressHandler, head: bytes, plain: Plain, known: Known, way: Way,
        now: Now,
    ) -> None:  # fmt: skip
        self.gateway, self.door, self.line, self.head, self.plain = gateway, door, line, head, plain
        self.known, self.way, self.now = known, way, now
        self.outcome: PooledAnswer | Lost | None = None
        self.seconds = 0.0

    # -- out -----------------------------------------------------------------------------------------------------------

    def let_in(self) -> None:
        """Ask what may be otherwise for the next call of the same bytes. Raises `Refusal`."""
        known, way = self.known, self.way
        policy = known.policy
        self.client = client = policy.keyring.holder(known.fingerprint, self.now.wall)
        if policy.holders:
            hold_to_certificate(policy, self.door, self.line.line, client)
        if client is not way.client:
            way.permit(client, policy)
        policy.halts.check(way.mount.name, client.name, way.row)
        if way.guards:
            self.gateway.guard(way.guards, way.called.match, way.called.wanted, None, self.plain.block.headers)

    def set_off_or_shed(self) -> bool:
        """There is too much to do: a part of the reads is refused, here, where that costs least. The others set off."""
        if not self.gateway.pressure.sheds():
            if self.set_off():
                return True
            self.gateway.pressure.ask_again()
            return False
        record = self._begin()
        record.grant = self.way.grant
        rendered = refused(self.gateway.pressure.refusal(), record)
        self.gateway.serving.end(record, self.now.wall)
        last = self.plain.block.last or self.gateway.serving.leaving
        more = (("Connection", "close"),) if last else ()
        self.line.answer(rendered.spelled(("Date", formatdate(self.now.wall, usegmt=True)), *more), last=last)
        return True

    def set_off(self) -> bool:
        """Send, if all that is needed is at hand. `Refusal`, or False: nothing has happened."""
        known, way, client, serving = self.known, self.way, self.client, self.gateway.serving
        serving.enter(client.name, known.policy.in_flight_per_client)
        if not self._all_at_hand():
            serving.leave(client.name)
            return False
        known.policy.keyring.used(known.fingerprint, client, self.now.wall)
        record = self.record = self._begin()
        record.grant = way.grant
        block = known.sent[way.mount.name]
        parent = NO_LINES if self.gateway.tracing is None else self._parent()
        head = wirehead.plain_head(way.first, block, record.request_id, way.lines, parent)
        self.line.carry(self, last=self.plain.block.last)
        place = way.mount.relay.place
        idle = place.idle if way.row.idle is None else way.row.idle
        self.connection.send(head, self, method=self.plain.method, total=place.total, idle=idle)
        return True

    def _all_at_hand(self) -> bool:
        """The pieces of the head, a token, a connection, and a place in the budget."""
        way, relay = self.way, self.way.mount.relay
        keeper = relay.keeper_at_hand(way.grant)
        pair = keeper.take_now(self.now) if keeper is not None else None
        if keeper is None or pair is None:
            return False
        connection = self._connection_for(pair)
        if connection is not None:
            turn = self.gateway.pacing.turn_now(self.client.name, way.row, way.grant, self.now)
            if turn is not None:
                self.keeper, self.pair, self.connection, self.turn = keeper, pair, connection, turn
                self.needles = way.needles
                return True
            connection.put_back()
        keeper.give_back()
        return False

    def _connection_for(self, pair: TokenPair) -> Connection | None:
        """One that is open, and the pieces of the head are ready. None also if that failed: others will say why."""
        known, way, mount = self.known, self.way, self.way.mount
        try:
            if pair is not way.pair:
                way.lead(self.plain.method, pair)
            if mount.name not in known.sent:
                known.block(mount, self.plain.block.headers, tracing=self.gateway.tracing is not None)
            return mount.relay.at_hand(pair, way.grant)
        except Exception:  # noqa: BLE001  a fault of ours
            return None

    def _begin(self) -> audit.Record:
        """From here on it is one of the calls that are served."""
        way = self.way
        record = self.gateway.serving.begin(self.plain.method, self.known.request_id or identifiers.next())
        record.client, record.mount = self.client.name, way.mount.name
        audit.matched(record, way.row, way.called.match.captures)
        if (parent := self.known.parent) is not None:
            record.trace_id = parent.trace_id
        if (tracing := self.gateway.tracing) is not None:
            tracing.follow(record, parent, self.now.wall)
        return record

    def _parent(self) -> Lines:
        """What the broker is told of the trace that the call is a part of, as it sets off."""
        if (trace := self.record.trace) is not None:
            trace.sets_off()
            return trace.lines()
        parent = self.known.parent
        return lines(parent) if parent is not None else NO_LINES

    # -- back: what the broker's connection tells ----------------------------------------------------------------------

    def answered(self, answer: PooledAnswer) -> None:
        """The head of the answer is there, and all of the body if it is small."""
        body, now = answer.whole, self.gateway.clock.now()
        self.outcome, self.seconds = answer, now.boot - self.now.boot
        needles = self.needles
        if body is None or answer.status == _UNAUTHORIZED or needles.within_answer(answer.headers, body, answer.raw):
            self.line.pass_on(self.head)
            return
        data = b""
        try:
            data = self._passed(answer, body, now)
            self.record.outcome = "broker"
        except Exception as error:  # noqa: BLE001  the broker's connection must not end by it
            self.line.log_exception(exc_info=error)
            self.record.outcome, self.record.status = "internal", 500
            self.turn.__exit__(None, None, None)
        try:
            self._over(now.wall)
        finally:  # whatever fails: a client that hears nothing waits for ever
            if data:
                self.line.deliver(data)
            else:
                self.line.break_off()

    def failed(self, error: Lost) -> None:
        """There is no answer, or not all of it."""
        self.outcome, self.seconds = error, self.gateway.clock.now().boot - self.now.boot
        self.line.pass_on(self.head)

    def _passed(self, answer: PooledAnswer, body: bytes, now: Now) -> bytes:
        """The answer as the client gets it."""
        status, headers, record, mount = answer.status, answer.headers, self.record, self.way.mount
        self.turn.answered(status, headers, now=now)
        if 200 <= status < 300:  # noqa: PLR2004
            self.keeper.accepted(self.pair.generation)
        self.gateway.answered(self.way.called, record, status, self.pair, self.seconds)
        last = self.plain.block.last or self.gateway.serving.leaving
        if last:
            self.line.close()  # behind this answer
        head = whole_head(
            record.method,
            status,
            headers,
            header_rules.content_length(headers) if record.method == "HEAD" else len(body),
            wall=now.wall,
            origin=mount.relay.place.origin or self.pair.origin,
            mount_url=self.known.url if self.door.mount else f"{self.known.url}/{mount.name}",
            request_id=record.request_id,
            prefixes=partial(prefixes, mount),
            last=last,
        )
        return head + body

    # -- back: what the client's connection tells ----------------------------------------------------------------------

    def abandon(self) -> None:
        """The client has gone."""
        if self.outcome is None:
            self.connection.abort()
        elif not isinstance(self.outcome, Lost):
            self.outcome.close()
        self.turn.__exit__(None, None, None)
        self._over(self.gateway.clock.now().wall)

    async def go_on(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer is not for us."""
        under_way = UnderWay(self.keeper, self.pair, self.outcome, self.seconds)
        policy, called, wall = self.known.policy, self.way.called, self.now.wall
        sent = Sent(policy, self.door, called, self.client, self.record, wall, self.turn, under_way)
        return await self.gateway.go_on(request, sent)

    def _over(self, wall: float) -> None:
        self.keeper.give_back()
        self.gateway.serving.leave(self.client.name)
        self.gateway.serving.end(self.record, wall)
