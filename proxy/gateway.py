"""The path of one request, top to bottom. Start reading here.

Deciding is pure and synchronous; only the body, the token and the exchange await.
"""

import asyncio
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from time import perf_counter

from aiohttp import HttpVersion11, web

from proxy import emulation
from proxy.audit import record as audit
from proxy.audit.calls import Calls
from proxy.brokers import Broker
from proxy.certificates import shown_names
from proxy.clock import Clock
from proxy.errors import Refusal, render
from proxy.gate import bodies, browser, fill, guards, target
from proxy.gate.clients import Client, Keyring, allowed, check_holder, grant_for
from proxy.gate.guards import NO_GUARDS, Book
from proxy.gate.orders import Written
from proxy.gate.rows import Row
from proxy.gate.scopes import Denied, Match, ScopeTable
from proxy.halts import Halts
from proxy.intake import PATIENCE, body_of
from proxy.metrics import Metrics
from proxy.pacing import Pacing, Turn
from proxy.relay import headers as header_rules
from proxy.relay.headers import Raw
from proxy.relay.http import Exchange, Outgoing, Relay, deliver
from proxy.relay.upstream import Body
from proxy.secret import Secret


@dataclass(frozen=True, slots=True)
class Mount:
    """A first path segment, ready to serve: the rows of one API, what of them is allowed here, and the way there.

    `also` are request headers that pass besides the usual ones, in lower case. `apps` are OAuth applications whose
    secrets are kept with the grant: client id → secret.
    """

    name: str
    broker: Broker
    api: str
    table: ScopeTable
    scopes: frozenset[str]
    relay: Relay
    user_agent: str
    also: frozenset[bytes] = frozenset()
    apps: Mapping[str, Secret] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Policy:
    """All that decides, as one value: a reload swaps it whole, and a request keeps the one that it began with.

    `patience`: seconds between two pieces of a request's body. `holders`: the certificate of a connection must hold the
    name of the client whose key is sent.
    """

    mounts: Mapping[str, Mount]
    keyring: Keyring
    body_limit: int
    in_flight_per_client: int
    halts: Halts
    guards: Book = NO_GUARDS
    patience: float = PATIENCE
    holders: bool = False


@dataclass(slots=True)
class Door:
    """The listener that a request came through. `mount` is set where one mount is served at the root.

    `hosts` is None on a unix socket: no browser gets there.
    """

    hosts: browser.Hosts | None
    mount: str | None = None


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
        browser.check(method, headers, door.hosts)
        wanted = _read_target(request.raw_path, door)
        mount = None if isinstance(wanted, Refusal) else policy.mounts.get(wanted.mount)
        if mount is not None and isinstance(wanted, target.Target) and emulation.concerns(mount.broker, method, wanted):
            return await self._emulate(policy, door, request, wanted, record)
        client = policy.keyring.identify(headers, self._clock.now().wall)
        record.client = client.name
        _check_holder(policy, door, request, client)
        header_rules.check(headers)
        if isinstance(wanted, Refusal):
            raise wanted
        if mount is None:
            raise _unknown_mount(policy, client)
        record.mount = mount.name
        match = _match(mount, method, wanted)
        row = match.row
        audit.matched(record, row, match.captures)
        _permit(mount, client, row)
        browser.check_typed(headers, mutating=row.mutating)
        policy.halts.check(mount.name, client.name, row)
        record.grant = grant_for(client, mount.relay.grant)
        header_rules.check_upgrade(headers, websocket=row.websocket)
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
                return await self._carry(mount, outgoing, door, request, record=record, turn=turn)

    def _guard(
        self, asked: tuple[guards.Guards, ...], match: Match, wanted: target.Target, body: Body, headers: Raw
    ) -> None:
        """What the operator's guards say of this call."""
        if asked:
            now = self._clock.now()
            written = Written(match.captures, wanted.query, body if isinstance(body, bytes) else b"", headers)
            guards.check(asked, guards.Call(match.row, written), self._tempo, wall=now.wall, boot=now.boot)

    async def _carry(
        self,
        mount: Mount,
        outgoing: Outgoing,
        door: Door,
        request: web.BaseRequest,
        *,
        record: audit.Record,
        turn: Turn,
    ) -> web.StreamResponse:
        """There and back, with the token of the grant on record. `turn` lasts until the answer begins."""
        if outgoing.mutating:
            await self._calls.intend(record, outgoing.target, outgoing.body)
        exchange = await mount.relay.fetch(outgoing, record.grant)
        try:
            turn.answered(exchange.answer.status, exchange.answer.headers, calls=1 + exchange.replayed)
            self._answered(mount, exchange, record)
            kept = header_rules.to_client(
                exchange.answer.headers,
                origin=exchange.origin,
                mount_url=base_url(door, request, mount.name),
                request_id=record.request_id,
                prefixes=_prefixes(mount, exchange.answer.headers),
                last=header_rules.ends_connection(request.method, request.raw_headers),
            )
            await self._calls.settle(record, "broker")
            response = await deliver(request, exchange, kept)
            record.outcome = "broker"
            return response
        finally:
            mount.relay.finish(exchange)

    async def _emulate(
        self, policy: Policy, door: Door, request: web.BaseRequest, wanted: target.Target, record: audit.Record
    ) -> web.StreamResponse:
        """The broker's token endpoint as a client knows it: the client key is all that it ever gets."""
        header_rules.check(request.raw_headers)
        header_rules.check_upgrade(request.raw_headers, websocket=False)
        key = await emulation.key_of(request, wanted, patience=policy.patience)
        client = policy.keyring.identify_key(key, self._clock.now().wall)
        _check_holder(policy, door, request, client)
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
            seconds=record.seconds,
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


def _check_holder(policy: Policy, door: Door, request: web.BaseRequest, client: Client) -> None:
    """On a Unix socket there are no certificates; who may call there is known otherwise."""
    if policy.holders and door.hosts is not None:
        check_holder(client, shown_names(request.transport))


def _read_target(raw_path: str, door: Door) -> target.Target | Refusal:
    """A refusal is kept for later: who is asking comes before what for."""
    try:
        # aiohttp decodes the request line with surrogates for bytes beyond ASCII; this gives the very bytes back.
        return target.parse(raw_path.encode("utf-8", "surrogateescape"), mount=door.mount)
    except Refusal as refusal:
        return refusal


def _unknown_mount(policy: Policy, client: Client) -> Refusal:
    reachable = [name for name in policy.mounts if client.rights is None or name in client.rights]
    known = ", ".join(f"/{name}" for name in sorted(reachable)) or "nothing"
    return Refusal("unknown-mount", f"The path must start with a mount. For this client there is: {known}.")


def _match(mount: Mount, method: str, wanted: target.Target) -> Match:
    """The one row that matches, with what its captures took."""
    match = mount.table.match(method, wanted)
    if not isinstance(match, Denied):
        return match
    if match.ambiguous:
        raise Refusal("ambiguous-target", f"The request target was refused: {match.reason}.")
    fix = f"see what {mount.broker.title} offers here: bearerd scopes list {mount.name}"
    raise Refusal("scope-denied", f"No row of {mount.broker.title}'s table covers this call: {match.reason}.", fix=fix)


def _permit(mount: Mount, client: Client, row: Row) -> None:
    """Raise unless the row's scope is allowed both here and to this client."""
    if row.deny:
        detail = f"{mount.broker.title} documents no scope for {row.method} {row.path}, so nothing opens it here."
        raise Refusal("scope-denied", detail, fix=f"see what is offered here: bearerd scopes list {mount.name}")
    scope = row.scope
    lacking = allowed(client, mount.name, mount.scopes, scope)
    if lacking is None:
        return
    places = [] if scope in mount.scopes else [f"mounts.{mount.name}.scopes"]
    if client.rights is not None and scope not in client.rights.get(mount.name, ()):
        places.append(f"clients.{client.name}.{mount.name}")
    detail = f"{row.method} {row.path} needs the scope {scope}. {lacking}"
    raise Refusal("scope-denied", detail, fix=f"add {scope} to {' and to '.join(places)}")


def _outgoing(
    mount: Mount, row: Row, wanted: target.Target, body: Body, *, request: web.BaseRequest, request_id: str
) -> Outgoing:
    """What goes to the broker. Fills the body where the row says so."""
    headers = request.raw_headers
    sent = header_rules.to_broker(headers, also=mount.also, user_agent=mount.user_agent, request_id=request_id)
    held: tuple[Secret, ...] = ()
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
        streaming=row.streaming,
        holds=held,
    )


def _prefixes(mount: Mount, headers: header_rules.Raw) -> set[tuple[str, str]]:
    """The starts of paths that a `Location` of the broker must get back, if there is one."""
    if not any(name.lower() == b"location" for name, _ in headers):
        return set()
    return {row.sent_prefix for row in mount.table.rows if row.sent_prefix}


def base_url(door: Door, request: web.BaseRequest, mount: str) -> str:
    """The address under which this client reached the mount, without a slash at the end."""
    host = next((value.decode("ascii") for name, value in request.raw_headers if name.lower() == b"host"), "localhost")
    scheme = "https" if request.transport and request.transport.get_extra_info("sslcontext") else "http"
    return f"{scheme}://{host}" + ("" if door.mount else f"/{mount}")


def refuse(refusal: Refusal, record: audit.Record) -> web.Response:
    """A refusal as the client gets it."""
    rendered = render(refusal, request_id=record.request_id, mount=record.mount, client=record.client)
    record.status = rendered.status
    response = web.Response(status=rendered.status, body=rendered.body)
    response.headers.update(rendered.headers)
    if refusal.close:
        response.force_close()
    return response
