"""The path of one request, top to bottom. Start reading here.

Deciding is pure and synchronous; only the body, the token and the exchange await.
"""

import secrets
from collections.abc import Awaitable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from http import HTTPStatus

from aiohttp import HttpVersion11, web

from proxy import emulation
from proxy.admission import (
    Called,
    Door,
    Mount,
    Policy,
    Sent,
    Visit,
    base_url,
    hold_to_certificate,
    matched,
    permit,
    read_target,
    scheme_of,
    unknown_mount,
)
from proxy.audit import record as audit
from proxy.audit.calls import Calls
from proxy.clock import Clock
from proxy.errors import Refusal
from proxy.gate import bodies, browser, fill, guards, target
from proxy.gate.clients import Client, grant_for
from proxy.gate.localport import StreamPort
from proxy.gate.orders import Written
from proxy.gate.scopes import Match
from proxy.gate.tracecontext import pairs, parent_of, without
from proxy.intake import body_of
from proxy.metrics import Metrics
from proxy.pacing import Pacing, Turn
from proxy.pressure import Pressure
from proxy.relay import answerhead
from proxy.relay import headers as header_rules
from proxy.relay.delivery import deliver
from proxy.relay.headers import Raw
from proxy.relay.http import Outgoing, UnderWay
from proxy.relay.upstream import Body
from proxy.relay.wholebody import whole_body
from proxy.secret import Secret
from proxy.serving import Serving, refused
from proxy.streams.entrance import Entrance, digest_of
from proxy.streams.handover import Handed, Handover
from proxy.streams.questrade.door import PortDoor
from proxy.streams.register import Streams
from proxy.tokens.grant import TokenPair
from proxy.tracing import Tracing


class Gateway:
    """Answers every request of the data listeners."""

    def __init__(self, policy: Policy, metrics: Metrics, clock: Clock, calls: Calls) -> None:
        self.policy = policy
        self.serving = Serving(metrics, calls)
        self.clock = clock
        self._calls = calls
        self._tempo = guards.Tempo()
        self.pacing = Pacing(clock, metrics.paced)
        self.pressure = Pressure()
        self.streams = Streams(clock, lambda: self.policy, metrics)
        self.entrance = Entrance(self.streams, calls, clock)
        self.tracing: Tracing | None = None
        self.handovers: dict[str | None, Handover] = {}
        self.port_door: PortDoor | None = None

    async def handle(self, door: Door, request: web.BaseRequest) -> web.StreamResponse:
        """From the parsed head to the answer's last byte. `_pass` decides; refusals are rendered; all is recorded."""
        record = self.serving.begin(request.method, header_rules.request_id(request.raw_headers, secrets.token_hex(8)))
        if (parent := parent_of(request.raw_headers)) is not None:
            record.trace_id = parent.trace_id
        if self.tracing is not None:
            self.tracing.follow(record, parent, self.clock.now().wall)
        return await self._recorded(request, record, self._pass(door, request, record))

    async def go_on(self, request: web.BaseRequest, sent: Sent) -> web.StreamResponse:
        """The same for a call that the express lane has sent, and whose answer is not for it to pass on."""
        return await self._recorded(request, sent.record, self._arrive(request, sent))

    async def _recorded(
        self, request: web.BaseRequest, record: audit.Record, passing: Awaitable[web.StreamResponse]
    ) -> web.StreamResponse:
        try:
            response = await passing
            record.status = response.status
        except Refusal as refusal:
            response = refuse(refusal, record)
            await self._calls.settle(record)
            # A refused body is not read, or not to its end: no next request can be told from it.
            if request.body_exists:
                response.force_close()
        except ConnectionError:
            raise
        except Exception:
            record.outcome, record.status = "internal", 500
            await self._calls.settle(record, audit.UNKNOWN if record.passed else None)
            raise
        finally:
            self.serving.end(record, self.clock.now().wall)
        # A head that has gone without saying so is not the last: the client may go on at once.
        leaving = self.serving.leaving and not response.prepared
        if leaving or header_rules.ends_connection(request.method, request.raw_headers):
            response.force_close()
        return response

    async def _pass(self, door: Door, request: web.BaseRequest, record: audit.Record) -> web.StreamResponse:
        policy, method, headers = self.policy, request.method, request.raw_headers
        if request.version != HttpVersion11:
            raise Refusal("http-version", "Only HTTP/1.1 is spoken here.", close=True)
        scheme = None if policy.keyring.open_to_all else scheme_of(request.transport)
        browser.check(method, headers, door.hosts, scheme=scheme)
        visit = Visit(policy, door, request, record, self.clock.now().wall)
        if door.stream is not None:
            return await self._at_port(visit, door.stream)
        wanted = read_target(request.raw_path, door)
        mount = None if isinstance(wanted, Refusal) else policy.mounts.get(wanted.mount)
        if mount is not None and isinstance(wanted, target.Target) and emulation.concerns(mount.broker, method, wanted):
            return await self._emulate(policy, door, request, wanted, record)
        if (late := self.entrance.latecomer(visit, mount, wanted)) is not None:
            return await self.entrance.open(visit, late, None)
        client = policy.keyring.identify(headers, visit.now)
        record.client = client.name
        hold_to_certificate(policy, door, request.transport, client)
        header_rules.check(headers)
        if isinstance(wanted, Refusal):
            raise wanted
        if mount is None:
            raise unknown_mount(policy, client)
        record.mount = mount.name
        match = matched(mount, method, wanted)
        row = match.row
        audit.matched(record, row, match.captures)
        permit(mount, client, row)
        browser.check_typed(headers, mutating=row.mutating)
        policy.halts.check(mount.name, client.name, row)
        record.grant = grant_for(client, mount.relay.grant)
        called = Called(mount, wanted, match)
        if row.websocket:
            return await self.entrance.open(visit, called, client)
        header_rules.check_upgrade(headers)
        if mount.relay.placement.kind == "query":
            bodies.query_must_not_name(wanted.query, mount.relay.placement.names[0])
        await self.pressure.place(row, client.name)
        self.serving.enter(client.name, policy.in_flight_per_client)
        try:
            body = await body_of(request, row, policy.body_limit, patience=policy.patience)
            self.guard(policy.guards.of(mount.name, client.name), match, wanted, body, headers)
            outgoing = self._outgoing(called, body, request, record)
            if row.mutating:  # all that is still to be waited for may take a while
                look = partial(policy.halts.check, mount.name, client.name, row)
                outgoing = replace(outgoing, last_look=look)
            with await self.pacing.turn(client.name, row, record.grant) as turn:
                return await self._carry(visit, called, client, outgoing, turn)
        finally:
            self.serving.leave(client.name)

    async def _arrive(self, request: web.BaseRequest, sent: Sent) -> web.StreamResponse:
        """What is left to do of a call that is under way."""
        called, client = sent.called, sent.client
        visit = Visit(sent.policy, sent.door, request, sent.record, sent.now)
        outgoing = self._outgoing(called, None, request, sent.record)
        try:
            with sent.turn as turn:
                return await self._carry(visit, called, client, outgoing, turn, under_way=sent.under_way)
        finally:
            self.serving.leave(client.name)

    async def _at_port(self, visit: Visit, port: StreamPort) -> web.StreamResponse:
        if self.port_door is None:
            raise AssertionError("a port for streams is open where nobody serves them")
        return await self.port_door.enter(visit, port)

    def guard(
        self, asked: tuple[guards.Guards, ...], match: Match, wanted: target.Target, body: Body, headers: Raw
    ) -> None:
        """What the operator's guards say of this call."""
        if asked:
            now = self.clock.now()
            written = Written(match.captures, wanted.query, body if isinstance(body, bytes) else b"", headers)
            guards.check(asked, guards.Call(match.row, written), self._tempo, wall=now.wall, boot=now.boot)

    async def _carry(
        self,
        visit: Visit,
        called: Called,
        client: Client,
        outgoing: Outgoing,
        turn: Turn,
        *,
        under_way: UnderWay | None = None,
    ) -> web.StreamResponse:
        """There and back, with the token of the grant on record. `turn` lasts until the answer begins."""
        request, record, mount, row = visit.request, visit.record, called.mount, called.match.row
        handed = self._handed(visit, called, client) if row.rewrites in self.handovers else None
        if outgoing.mutating:
            await self._calls.intend(record, outgoing.target, outgoing.body)
        if record.trace is not None and under_way is None:
            record.trace.sets_off()
        exchange = await mount.relay.fetch(outgoing, record.grant, under_way)
        try:
            turn.answered(exchange.answer.status, exchange.answer.headers, calls=1 + exchange.replayed)
            record.replayed = exchange.replayed
            self.answered(called, record, exchange.answer.status, exchange.pair, exchange.seconds)
            if handed is not None and exchange.answer.status == HTTPStatus.OK:
                body = await whole_body(exchange)
                exchange.start = await self.handovers[row.rewrites].rewritten(handed, body, exchange.origin)
            kept = answerhead.to_client(
                exchange.answer.headers,
                origin=exchange.origin,
                mount_url=base_url(visit.door, request.transport, request.raw_headers, mount.name),
                request_id=record.request_id,
                prefixes=partial(prefixes, mount),
                last=header_rules.ends_connection(request.method, request.raw_headers),
            )
            await self._calls.settle(record, "broker")
            with self.entrance.streaming(visit, called, client, exchange) if row.streaming else nullcontext():
                response = await deliver(request, exchange, kept, last=self.serving.leaving)
            record.outcome = "broker"
            return response
        finally:
            mount.relay.finish(exchange)

    def _handed(self, visit: Visit, called: Called, client: Client) -> Handed:
        """A call whose answer will name an address. Raises `Refusal` before anything is sent if none can be given."""
        handed = Handed(called.mount, called.match.row, called.wanted, client, digest_of(visit), visit)
        self.handovers[handed.row.rewrites].prepare(handed)
        return handed

    async def _emulate(
        self, policy: Policy, door: Door, request: web.BaseRequest, wanted: target.Target, record: audit.Record
    ) -> web.StreamResponse:
        """The broker's token endpoint as a client knows it: the client key is all that it ever gets."""
        header_rules.check(request.raw_headers)
        header_rules.check_upgrade(request.raw_headers)
        key = await emulation.key_of(request, wanted, patience=policy.patience)
        client = policy.keyring.identify_key(key, self.clock.now().wall)
        hold_to_certificate(policy, door, request.transport, client)
        record.client, record.mount, record.row, record.outcome = client.name, wanted.mount, emulation.ROW, "here"
        shown = emulation.DUMMY if policy.keyring.open_to_all or key is None else key
        url = base_url(door, request.transport, request.raw_headers, wanted.mount)
        return emulation.answer(shown, url, record.request_id)

    def answered(self, called: Called, record: audit.Record, status: int, pair: TokenPair, seconds: float) -> None:
        """The head of the broker's answer is there, `seconds` after the first byte was sent."""
        mount = called.mount
        record.status, record.generation = status, pair.generation
        if record.trace is not None:
            record.trace.answered(status, seconds)
        self.serving.metrics.upstream(mount.name, status, seconds)
        if record.replayed or status == HTTPStatus.UNAUTHORIZED:
            self.serving.metrics.upstream_unauthorized(mount.name)
        if self.port_door is not None:
            self.port_door.called(record.grant or mount.grant)

    def _outgoing(self, called: Called, body: Body, request: web.BaseRequest, record: audit.Record) -> Outgoing:
        sent = header_rules.to_broker(
            request.raw_headers,
            also=called.mount.also,
            user_agent=called.mount.user_agent,
            request_id=record.request_id,
        )
        if record.trace is not None:
            sent = record.trace.headers(sent)
        elif self.tracing is not None:  # what is malformed ends here
            parent = parent_of(request.raw_headers)
            sent = without(sent) + (pairs(parent) if parent is not None else [])
        return _outgoing(called, body, request, sent)


def _outgoing(called: Called, body: Body, request: web.BaseRequest, sent: header_rules.Text) -> Outgoing:
    """What goes to the broker. Fills the body where the row says so."""
    mount, row, wanted, headers = called.mount, called.match.row, called.wanted, request.raw_headers
    held: tuple[Secret, ...] = ()
    if row.rewrites is not None or row.streaming:  # read here, or searched to its end
        sent = header_rules.unpacked(sent)
    if isinstance(body, bytes):
        bodies.body_must_not_override(body, headers)
        bodies.body_must_not_hold(body, row.body_without, headers)
    if row.fills:
        whole = body if isinstance(body, bytes) else b""
        body, secret = fill.filled(whole, row.fills, mount.apps, grant=mount.relay.grant, headers=headers)
        held, sent = (secret,), header_rules.as_json(sent)
    return Outgoing(
        method=request.method,
        target=wanted.sent_as(row.sent(wanted.path)),
        headers=sent,
        body=body,
        mutating=row.mutating,
        streaming=row.streaming and row.rewrites is None,
        holds=held,
        idle=row.idle,
    )


def prefixes(mount: Mount) -> set[tuple[str, str]]:
    """The starts of paths that a `Location` of the broker must get back."""
    return {row.sent_prefix for row in mount.table.rows if row.sent_prefix}


def refuse(refusal: Refusal, record: audit.Record) -> web.Response:
    """A refusal as a response."""
    rendered = refused(refusal, record)
    response = web.Response(status=rendered.status, body=rendered.body)
    response.headers.update(rendered.headers)
    if refusal.close:
        response.force_close()
    return response
