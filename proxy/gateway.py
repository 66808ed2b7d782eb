"""The path of one request, top to bottom. Start reading here.

Deciding is pure and synchronous; only the body, the token and the exchange await.
"""

import asyncio
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from time import perf_counter

from aiohttp import HttpVersion11, web

from proxy import emulation
from proxy.admission import (
    Called,
    Door,
    Mount,
    Policy,
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
from proxy.errors import Refusal, render
from proxy.gate import bodies, browser, fill, guards, target
from proxy.gate.clients import Client, grant_for
from proxy.gate.localport import StreamPort
from proxy.gate.orders import Written
from proxy.gate.rows import Row
from proxy.gate.scopes import Match
from proxy.intake import body_of
from proxy.metrics import Metrics
from proxy.pacing import Pacing, Turn
from proxy.relay import headers as header_rules
from proxy.relay.headers import Raw
from proxy.relay.http import Exchange, Outgoing, deliver
from proxy.relay.upstream import Body
from proxy.relay.wholebody import whole_body
from proxy.secret import Secret
from proxy.streams.entrance import Entrance, digest_of
from proxy.streams.handover import Handed, Handover
from proxy.streams.questrade.door import PortDoor
from proxy.streams.register import Streams


@dataclass(slots=True)
class Tally:
    """What `status` tells of a mount since the start. `last` is Unix time."""

    calls: int = 0
    denied: int = 0
    last: float | None = None

    def count(self, record: audit.Record, now: float) -> None:
        self.calls += 1
        self.denied += record.refused
        self.last = now


class Gateway:
    """Answers every request of the data listeners."""

    def __init__(self, policy: Policy, metrics: Metrics, clock: Clock, calls: Calls) -> None:
        self.policy = policy
        self.draining = False
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self._metrics = metrics
        self._clock = clock
        self._calls = calls
        self._in_flight: Counter[str] = Counter()
        self._tempo = guards.Tempo()
        self._empty = asyncio.Event()
        self.pacing = Pacing(clock, metrics.paced)
        self.streams = Streams(clock, lambda: self.policy, metrics)
        self.entrance = Entrance(self.streams, calls, clock)
        self.handovers: dict[str | None, Handover] = {}
        self.port_door: PortDoor | None = None

    async def handle(self, door: Door, request: web.BaseRequest) -> web.StreamResponse:
        """From the parsed head to the answer's last byte. `_pass` decides; refusals are rendered; all is recorded."""
        request_id = header_rules.request_id(request.raw_headers, secrets.token_hex(8))
        record = audit.Record(request_id, request.method, began=perf_counter())
        self._metrics.began()
        try:
            response = await self._pass(door, request, record)
            record.status = response.status
        except Refusal as refusal:
            record.outcome, record.rule = refusal.kind.name, refusal.rule or record.rule
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
            self._calls.ended(record)
            self._account(record)
        if header_rules.ends_connection(request.method, request.raw_headers):
            response.force_close()
        return response

    async def _pass(self, door: Door, request: web.BaseRequest, record: audit.Record) -> web.StreamResponse:
        policy, method, headers = self.policy, request.method, request.raw_headers
        if request.version != HttpVersion11:
            raise Refusal("http-version", "Only HTTP/1.1 is spoken here.", close=True)
        scheme = None if policy.keyring.open_to_all else scheme_of(request)
        browser.check(method, headers, door.hosts, scheme=scheme)
        visit = Visit(policy, door, request, record, self._clock.now().wall)
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
        hold_to_certificate(policy, door, request, client)
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
        with self._counted(client, policy):
            body = await body_of(request, row, policy.body_limit, patience=policy.patience)
            self._guard(policy.guards.of(mount.name, client.name), match, wanted, body, headers)
            outgoing = _outgoing(mount, row, wanted, body, request=request, request_id=record.request_id)
            if row.mutating:  # all that is still to be waited for may take a while
                look = partial(policy.halts.check, mount.name, client.name, row)
                outgoing = replace(outgoing, last_look=look)
            with await self.pacing.turn(client.name, row, record.grant) as turn:
                return await self._carry(visit, called, client, outgoing, turn)

    async def _at_port(self, visit: Visit, port: StreamPort) -> web.StreamResponse:
        if self.port_door is None:
            raise AssertionError("a port for streams is open where nobody serves them")
        return await self.port_door.enter(visit, port)

    def _guard(
        self, asked: tuple[guards.Guards, ...], match: Match, wanted: target.Target, body: Body, headers: Raw
    ) -> None:
        """What the operator's guards say of this call."""
        if asked:
            now = self._clock.now()
            written = Written(match.captures, wanted.query, body if isinstance(body, bytes) else b"", headers)
            guards.check(asked, guards.Call(match.row, written), self._tempo, wall=now.wall, boot=now.boot)

    async def _carry(
        self, visit: Visit, called: Called, client: Client, outgoing: Outgoing, turn: Turn
    ) -> web.StreamResponse:
        """There and back, with the token of the grant on record. `turn` lasts until the answer begins."""
        request, record, mount, row = visit.request, visit.record, called.mount, called.match.row
        handed = self._handed(visit, called, client) if row.rewrites in self.handovers else None
        if outgoing.mutating:
            await self._calls.intend(record, outgoing.target, outgoing.body)
        exchange = await mount.relay.fetch(outgoing, record.grant)
        try:
            turn.answered(exchange.answer.status, exchange.answer.headers, calls=1 + exchange.replayed)
            self._answered(mount, exchange, record)
            if self.port_door is not None:
                self.port_door.called(record.grant or mount.grant)
            if handed is not None and exchange.answer.status == HTTPStatus.OK:
                body = await whole_body(exchange)
                exchange.start = await self.handovers[row.rewrites].rewritten(handed, body, exchange.origin)
            kept = header_rules.to_client(
                exchange.answer.headers,
                origin=exchange.origin,
                mount_url=base_url(visit.door, request, mount.name),
                request_id=record.request_id,
                prefixes=_prefixes(mount, exchange.answer.headers),
                last=header_rules.ends_connection(request.method, request.raw_headers),
            )
            await self._calls.settle(record, "broker")
            with self.entrance.streaming(visit, called, client, exchange) if row.streaming else nullcontext():
                response = await deliver(request, exchange, kept)
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
        client = policy.keyring.identify_key(key, self._clock.now().wall)
        hold_to_certificate(policy, door, request, client)
        record.client, record.mount, record.row, record.outcome = client.name, wanted.mount, emulation.ROW, "here"
        shown = emulation.DUMMY if policy.keyring.open_to_all or key is None else key
        return emulation.answer(shown, base_url(door, request, wanted.mount), record.request_id)

    @contextmanager
    def _counted(self, client: Client, policy: Policy) -> Iterator[None]:
        if self.draining:
            raise Refusal("draining", "bearerd is shutting down.", retry_after=1, close=True)
        if self._in_flight[client.name] >= policy.in_flight_per_client:
            raise Refusal("paced", f"The client {client.name} has too many calls in flight.", retry_after=1)
        self._in_flight[client.name] += 1
        try:
            yield
        finally:
            self._in_flight[client.name] -= 1
            if self.draining and not self.in_flight:
                self._empty.set()

    def _answered(self, mount: Mount, exchange: Exchange, record: audit.Record) -> None:
        record.status = exchange.answer.status
        record.generation, record.replayed = exchange.pair.generation, exchange.replayed
        self._metrics.upstream(mount.name, exchange.seconds)
        if exchange.replayed or record.status == HTTPStatus.UNAUTHORIZED:
            self._metrics.upstream_unauthorized(mount.name)

    def _account(self, record: audit.Record) -> None:
        self._metrics.ended()
        if record.refused:
            self._metrics.denied(record.outcome)
        if record.mount is not None:
            self.tallies[record.mount].count(record, self._clock.now().wall)
        self._metrics.answered(
            mount=record.mount,
            template=record.row,
            method=record.method,
            status=record.status,
            client=record.client,
            seconds=record.seconds if record.traffic is None else record.traffic.opened,
        )

    async def drained(self, grace: float) -> None:
        """After `draining` was set: return when the last call has ended, or after `grace` seconds."""
        if self.in_flight:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._empty.wait()

    @property
    def in_flight(self) -> int:
        """Calls being served right now."""
        return self._in_flight.total()


def _outgoing(
    mount: Mount, row: Row, wanted: target.Target, body: Body, *, request: web.BaseRequest, request_id: str
) -> Outgoing:
    """What goes to the broker. Fills the body where the row says so."""
    headers = request.raw_headers
    sent = header_rules.to_broker(headers, also=mount.also, user_agent=mount.user_agent, request_id=request_id)
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


def _prefixes(mount: Mount, headers: header_rules.Raw) -> set[tuple[str, str]]:
    """The starts of paths that a `Location` of the broker must get back, if there is one."""
    if not any(name.lower() == b"location" for name, _ in headers):
        return set()
    return {row.sent_prefix for row in mount.table.rows if row.sent_prefix}


def refuse(refusal: Refusal, record: audit.Record) -> web.Response:
    """A refusal as the client gets it."""
    rendered = render(refusal, request_id=record.request_id, mount=record.mount, client=record.client)
    record.status = rendered.status
    response = web.Response(status=rendered.status, body=rendered.body)
    response.headers.update(rendered.headers)
    if refusal.close:
        response.force_close()
    return response
