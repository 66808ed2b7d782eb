"""A worker: accepts clients, answers plain reads with what custody has told it, and gives all else to custody.

It begins to accept once it knows everything, and ends when the supervisor's link does. It reads no configuration and no
store; files it reads are the certificates of our own listeners, which every process that speaks TLS needs.
"""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

from proxy import logs
from proxy.admission import Door, Policy
from proxy.assembly import mount_of, policy_of, upstream_of
from proxy.audit.calls import Calls
from proxy.audit.trail import Trail
from proxy.clientkeys import ClientKeys
from proxy.clock import SystemClock
from proxy.config import Address, Config, ConfigInvalid
from proxy.connection import ExpressHandler
from proxy.doors import Doors
from proxy.errors import Refusal
from proxy.express import Express
from proxy.gate.clients import Keyring, Uses
from proxy.gate.rows import Row
from proxy.gateway import Gateway
from proxy.halts import Halts
from proxy.listener import Entry, Given
from proxy.metrics import Metrics
from proxy.parser import check_parser
from proxy.rates import rates_of
from proxy.relay.pool.pooled import PooledUpstream
from proxy.relay.upstream import Place, Upstream
from proxy.settings import Settings
from proxy.tokens.grant import TokenPair
from proxy.tracing import Spans, Tracing, spans_of
from proxy.workers.departures import Departures
from proxy.workers.front import FrontHandler, Threshold
from proxy.workers.ledger import Counted, Tallies, Told, uses_taken
from proxy.workers.lending import Lending
from proxy.workers.line import Line
from proxy.workers.link import Link, Message
from proxy.workers.parcels import settings_of
from proxy.workers.permits import Permits
from proxy.workers.pulse import Pulse

REPORT = 0.05  # seconds between two reports
SPANS = 256  # traced calls that are told at a time
ENDING = 2.0  # seconds for calls inside when the supervisor has gone

log = logs.get("workers")


@dataclass(slots=True)
class Keys:
    """Client keys as custody has told of them; what `policy_of` needs of `ClientKeys`."""

    digests: dict[str, str] = field(default_factory=dict)
    bindings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    expiries: dict[str, float] = field(default_factory=dict)
    uses: Uses = field(default_factory=Uses)
    fresh: set[str] | None = None  # what another custody has told so far

    @property
    def last_use(self) -> "Keys":
        return self

    def told(self, found: dict[str, list[Any]]) -> None:
        """These keys count like this now, or no longer."""
        for digest, (client, grants, expires) in found.items():
            if client is None:
                self.digests.pop(digest, None)
            if client is None or grants is None:
                self.bindings.pop(digest, None)
            else:
                self.bindings[digest] = tuple(grants)
            if client is None or expires is None:
                self.expiries.pop(digest, None)
            else:
                self.expiries[digest] = expires
            if client is not None:
                self.digests[digest] = client  # last: before it counts, all that limits it is known
        if self.fresh is not None:
            self.fresh |= found.keys()

    def whole(self) -> None:
        """Another custody has told all: what it does not know does not count."""
        if self.fresh is not None:
            self.told({digest: [None, None, None] for digest in self.digests.keys() - self.fresh})
            self.fresh = None


class OrdersElsewhere:
    """In the place of halts: nothing that changes something may ever be sent from here. Custody knows the halts."""

    def check(self, _mount: str, _client: str, row: Row) -> None:
        if row.mutating:
            raise Refusal("internal", "A worker was about to send what only custody may send.", close=True)


class Worker:
    """`run()` until the supervisor's link ends."""

    def __init__(self, supervisor: socket.socket) -> None:
        self._clock = SystemClock()
        self._control = Link(supervisor, self._introduced, self._end)
        self._pulse = Pulse(self._control)
        self._line = Line()
        self._lending = Lending(self._line, self._clock)
        self._departures = Departures(self._line)
        self._keys = Keys()
        self._trail = Told()
        self._metrics = Metrics()
        self._halts = cast("Halts", OrdersElsewhere())
        self._gateway = Gateway(
            Policy({}, Keyring({}, {}), 0, 0, self._halts),
            self._metrics,
            self._clock,
            Calls(cast("Trail", self._trail)),  # of which it needs only what `Told` has, for reads
        )
        self._permits = Permits(self._clock, self._line, self._metrics.paced)
        self._gateway.pacing = self._permits
        self._counted = Counted(self._metrics)
        self._spans = Spans(partial(self._metrics.spans, "dropped"))
        self._tallies = Tallies(self._gateway.serving.tallies)
        self._doors = Doors(
            self._clock,
            self._gateway.handle,
            self._metrics.handshake_failed,
            self._lane_at,
            sockets=self._socket_for,
            handler=FrontHandler,
        )
        self._sockets: dict[str, socket.socket] = {}
        self._settings: Settings | None = None
        self._upstream: Upstream | None = None
        self._ended = asyncio.Event()
        self._work: list[asyncio.Task[None]] = []
        self._hears: dict[str, Callable[[Any], None]] = {
            "pair": self._lending.told,
            "keys": self._keys.told,
            "reply": self._line.replied,
            "taken": self._departures.taken,
            "spare": self._permits.hear_spare,
        }
        self._told: asyncio.Queue[Message] = asyncio.Queue()  # what takes time, in its order

    # -- life ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until the end."""
        check_parser()
        self._control.open()
        async with asyncio.TaskGroup() as group:
            self._work += [group.create_task(self._obey(group)), group.create_task(self._report_on())]
            await self._ended.wait()
            for each in self._work:
                each.cancel()
        await self._stop()

    def _end(self) -> None:
        self._ended.set()

    async def _stop(self) -> None:
        await self._drain(ENDING)
        while self._departures.led and self._line.up:  # noqa: ASYNC110  custody still serves them, and will end
            await asyncio.sleep(REPORT)
        await self._doors.close()
        self._control.close()
        if self._upstream is not None:
            await self._upstream.close()

    async def _drain(self, grace: float) -> None:
        self._gateway.serving.leaving = True
        await self._doors.stop_accepting()
        self._gateway.serving.draining = True
        await self._gateway.serving.drained(grace)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._departures.on_their_way and self._line.up:  # noqa: ASYNC110  nobody tells of it
                    await asyncio.sleep(REPORT)

    # -- links --------------------------------------------------------------------------------------------------------

    def _introduced(self, message: Message) -> None:
        """The supervisor gives us a link to custody, or says how often it wants to hear from us."""
        if message.kind == "begin":
            self._pulse.start(message.data["alive"])
        if message.kind != "link":
            return
        if self._line.link is not None:
            # The custody before has ended: what it said last, that it has a connection, must not be missed.
            self._line.link.finish()
        link = Link(socket.socket(fileno=message.files[0]), lambda told: self._heard(link, told), self._lost)
        link.open()
        self._line.joined(link)
        self._departures.joined()

    def _lost(self) -> None:
        """Custody has gone; another one comes. What it held of ours, or we of it, does not count any more."""
        self._line.lost()
        self._permits.lost()
        self._departures.lost()

    def _heard(self, link: Link, message: Message) -> None:
        if link is not self._line.link:
            return
        data = message.data
        if (hears := self._hears.get(message.kind)) is not None:
            hears(data)
            return
        match message.kind:
            case "hold":
                self._lending.hold(data["grant"], data["question"])
            case "anew":
                self._begin_anew()
            case "socket":
                self._keep(data, message.files[0])
            case "closed":
                self._forget(data)
            case "leave":
                self._gateway.serving.leaving = True
            case _:
                self._told.put_nowait(message)

    def _begin_anew(self) -> None:
        """Another custody tells all."""
        if self._gateway.serving.draining:  # the one before has died of its stop, and our doors are closed
            self._end()
        while not self._told.empty():  # what it said last
            self._told.get_nowait()
        self._keys.fresh = set()
        self._lending.anew()
        self._permits.anew()

    def _keep(self, name: str, file: int) -> None:
        """A listening socket; one that we have already is the same."""
        if name in self._sockets or self._doors.at(name) is not None:
            os.close(file)
        else:
            self._sockets[name] = socket.socket(fileno=file)

    def _forget(self, name: str) -> None:
        """Custody has closed that door. If it was never open here, our socket alone would keep the address."""
        if (end := self._sockets.pop(name, None)) is not None:
            end.close()

    async def _socket_for(self, name: str, _address: Address, _entry: Entry) -> Given:
        return Given(self._sockets.pop(name), accepts=True, closed=lambda: None)

    # -- what custody says --------------------------------------------------------------------------------------------

    async def _obey(self, group: asyncio.TaskGroup) -> None:
        while True:
            message = await self._told.get()
            match message.kind:
                case "policy":
                    self._keys.whole()
                    await self._take_over(settings_of(message.blob), message.data["count"], group)
                case "sync":
                    self._line.say("synced", message.data)
                case "drain":
                    await self._drain(message.data["grace"])
                    self._report()
                    while self._trail.texts and self._line.up:
                        await asyncio.sleep(REPORT)
                        self._report()
                    self._line.say("drained")
                case _:
                    pass

    async def _take_over(self, settings: Settings, count: int, group: asyncio.TaskGroup) -> None:
        """Go by these settings. The first ones open the doors."""
        config, first = settings.config, self._settings is None
        if first:
            logs.setup(config.log.format, config.log.level, sys.stderr, color=False)
            self._upstream = upstream_of(config)
            if config.tracing.endpoint is not None:  # custody sends them
                self._gateway.tracing = Tracing(config.tracing.sample, self._spans)
        self._settings = settings
        self._gateway.policy = self._policy(settings, count)
        if not first:
            await self._change_doors(_shared(config, count), group)
            return
        await self._doors.open(_shared(config, count))
        if isinstance(self._upstream, PooledUpstream):
            self._work.append(group.create_task(self._upstream.run(self._destinations)))
        if self._doors.certificates is not None:
            self._work.append(group.create_task(self._doors.certificates.run(self._doors.rename)))

    async def _change_doors(self, config: Config, group: asyncio.TaskGroup) -> None:
        in_force = None
        if (certificates := self._doors.certificates) is not None:
            try:
                in_force = await certificates.read(config)
            except ConfigInvalid as error:  # custody could use it a moment ago; the files are looked at again
                log.error("the certificate in force stays", reason=str(error))
        roots = await self._doors.new_roots(config)
        gone = self._doors.take_over(config, roots, in_force)
        # Requests inside have their time; nobody waits for them here, or custody would take us for dead.
        self._work.append(group.create_task(self._doors.retire(gone, grace=config.shutdown.grace)))

    def _policy(self, settings: Settings, count: int) -> Policy:
        assert self._upstream is not None  # noqa: S101  for the type checker
        self._lending.configured(set(settings.grants))
        mounts = {
            name: mount_of(
                settings,
                name,
                keepers=self._lending,
                upstream=self._upstream,
                keeper_of=self._lending.of,
                keeper_at_hand=self._lending.at_hand,
            )
            for name in settings.config.mounts
        }
        clients = settings.config.clients
        self._metrics.allow(
            mounts=mounts,
            clients=["local", *(() if isinstance(clients, str) else clients)],
            templates={row.path for mount in mounts.values() for row in mount.table.rows},
            grants=self._lending,
        )
        self._permits.share(rates_of(settings), count)
        policy = policy_of(settings, mounts, cast("ClientKeys", self._keys), self._halts)
        return replace(policy, in_flight_per_client=max(1, policy.in_flight_per_client // count))

    def _destinations(self) -> Iterator[tuple[Place, TokenPair]]:
        """Where calls will go, for connections that are kept ready."""
        for mount in self._gateway.policy.mounts.values():
            mirror = self._lending.get(mount.relay.grant)
            if mirror is not None and mirror.pair is not None and mirror.pair.alive(self._clock.now()):
                yield mount.relay.place, mirror.pair

    def _lane_at(self, door: Door) -> Threshold:
        engine = self._settings.config.engine if self._settings is not None else None
        express = engine is not None and engine.express and engine.upstream == "httptools"

        def depart(client: ExpressHandler, read: bytes) -> None:
            self._departures.go(client, read, self._doors.name_at(door))

        return Threshold(Express(self._gateway, door, self._clock), depart, express=express)

    # -- what custody is told -----------------------------------------------------------------------------------------

    async def _report_on(self) -> None:
        while True:
            await asyncio.sleep(REPORT)
            self._report()

    def _report(self) -> None:
        """Tell what has been counted, recorded and used. Without custody, or while it takes nothing, that waits."""
        if not self._line.ready:
            return
        keys, clients = uses_taken(self._keys.uses)
        lending = self._lending
        used, accepted = sorted(lending.used), sorted(lending.accepted)
        lending.used.clear()
        lending.accepted.clear()
        texts = self._trail.take()
        self._metrics.log_lines_lost(logs.lines_lost())
        found: dict[str, Any] = {
            "metrics": self._counted.take(),
            "tallies": self._tallies.take(),
            "keys": keys,
            "clients": clients,
            "turns": self._permits.report(),
            "spans": spans_of(self._spans.take(SPANS)),
            "used": used,
            "accepted": accepted,
        }
        told = {name: value for name, value in found.items() if value}
        if (told or texts) and not self._line.say("report", told, "\n".join(texts).encode()):
            self._trail.keep(texts)
            self._metrics.spans("dropped", len(found["spans"]))


def _shared(config: Config, count: int) -> Config:
    """This worker's part of the connections that may be open."""
    most = max(1, config.limits.connections // count)
    return config.model_copy(update={"limits": config.limits.model_copy(update={"connections": most})})
