"""Puts the rooms together: configuration → custody, keepers, mounts, listeners. The only place that knows everybody."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from proxy import __version__, logs
from proxy.activation import Activated
from proxy.admin import AdminSocket
from proxy.admission import Door, Mount, Policy
from proxy.alerts.alerts import Alerts
from proxy.assembly import (
    destinations,
    endpoint_of,
    mount_of,
    open_ports,
    policy_of,
    speak,
    trace,
    upstream_of,
)
from proxy.audit.acts import Acts
from proxy.audit.calls import Calls
from proxy.clientkeys import ClientKeys
from proxy.clock import Clock, SystemClock
from proxy.console.server import Console
from proxy.console.session import Pass
from proxy.custody import Custody, socket_path
from proxy.doors import Doors
from proxy.express import Express
from proxy.gate.clients import Keyring
from proxy.gateway import Gateway
from proxy.gauges import measure
from proxy.halts import Halts
from proxy.history import History, budgets_of
from proxy.keepers import Keepers
from proxy.listener import OPEN
from proxy.metrics import Metrics
from proxy.notify import Manager, Notifier, summary
from proxy.operations import Operations
from proxy.parser import check_parser
from proxy.rates import rates_of
from proxy.relay.dialling import Dialler
from proxy.relay.upstream import Place
from proxy.reloading import Reloading
from proxy.settings import Settings
from proxy.tokens.grant import TokenPair
from proxy.tokens.oauth import TokenEndpoint
from proxy.tokens.skew import Skew
from proxy.traceexport import Export
from proxy.watch import Watcher
from proxy.watchdog import Watchdog

if TYPE_CHECKING:
    from proxy.workers.crew import Crew  # most servers are one process

WARM_UP = 5.0  # seconds that a start may wait for grants that have been idle for days

log = logs.get("app")


class App:
    """A running bearerd. `start()` first, `stop()` last; in between `operations` does what an operator asks for.

    `reread` reads the configuration anew (it raises `ConfigInvalid`). `console_token` opens the console's page; with
    `console_reusable` as often as one likes, else once.
    """

    def __init__(
        self,
        settings: Settings,
        custody: Custody,
        reread: Callable[[], Settings],
        *,
        console_token: str | None = None,
        console_reusable: bool = False,
        clock: Clock | None = None,
        crew: "Crew | None" = None,
        manager: Manager | None = None,
        activated: Activated | None = None,
    ) -> None:
        self.crew = crew
        self.manager = manager or Notifier()
        self._activated = activated or Activated({})
        self.settings = settings
        self.custody = custody
        self.clock = clock or SystemClock()
        self.skew = Skew(self.clock)
        self.started = self.clock.now().wall
        self.operations = Operations(self)
        self.metrics = Metrics()
        self.keepers = Keepers(
            settings,
            custody,
            self.clock,
            endpoint_of=partial(endpoint_of, skew=self.skew),
            observe=self.metrics.token_refresh,
            made=crew.follow if crew else lambda _: None,
        )
        self.keys = ClientKeys(custody.vault, self.clock)
        self.halts = Halts(custody.vault, self.clock)
        self.stopping = False
        self.last_problems: list[str] = []
        self.calls, self.acts = Calls(custody.trail), Acts(custody.trail)
        self.gateway = Gateway(Policy({}, Keyring({}, {}), 0, 0, self.halts), self.metrics, self.clock, self.calls)
        self.history = History(
            self.clock,
            self.metrics,
            mounts=lambda: self.settings.config.mounts,
            budgets=lambda: budgets_of(self.gateway.pacing),
        )
        self.doors = Doors(
            self.clock,
            self.gateway.handle,
            self.metrics.handshake_failed,
            self._lane_at,
            sockets=crew.socket_for if crew else self._activated.socket_for,
        )
        self._upstream, self._dialler = upstream_of(settings.config), Dialler()
        self.port_streams = open_ports(self.gateway, self.doors.open_port)
        self._hubs = speak(self.gateway, self.clock, lambda: self.settings, lambda: self.doors.url)
        self._console_pass = Pass(console_token, reusable=console_reusable)
        self.consoles: list[Console] = []
        self.commands, holding = self.operations.commands(), self.operations.holding()
        if crew is not None:  # what a command has changed counts everywhere when it is answered
            self.commands, holding = crew.settled(self.commands), crew.settled_holding(holding)
        self._admin = AdminSocket(socket_path(settings.config), self.commands, holding)
        self.watcher = Watcher(self)
        self.alerts = Alerts(self)
        self.watchdog = Watchdog(self.gateway.pressure.noticed)
        self._export: Export | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._recording: asyncio.Task[None] | None = None  # until the last call has ended
        self._leading: asyncio.Task[None] | None = None  # likewise: calls in workers may still need a token
        self._telling: asyncio.Task[None] | None = None  # of what goes wrong, a stop included
        self._reloading = Reloading(self, reread)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything, in an order in which nothing is reachable before it is ready. Raises what rooms raise."""
        check_parser()
        try:
            async with self._reloading.alone:  # one that is asked for meanwhile would make every keeper twice
                await self._open()
        except BaseException:
            await self.stop()
            raise
        self.watchdog.start()
        work = [self.watcher.run(), self.keepers.run(), self.keys.last_use.run()]
        work += [self.gateway.streams.run(), self._hubs.run(), self.port_streams.run(), self.history.run()]
        work.append(self._upstream.run(self._destinations))
        if self.doors.certificates is not None:
            work.append(self.doors.certificates.run(self.doors.rename))
        if self._export is not None:
            work.append(self._export.run())
        self._tasks = [self._launch(each) for each in work]
        self._telling = self._launch(self.alerts.run())

    async def _open(self) -> None:
        config = self.settings.config
        await self.custody.trail.open()
        self._recording = self._launch(self.custody.trail.run())
        self.acts.started(__version__)
        if self.crew is not None:
            await self.crew.begin(self)
            self._leading = self._launch(self.crew.run())
        await self.watcher.begin()
        await self.start_keepers()
        self.gateway.policy = self.policy_for(self.settings)
        await asyncio.gather(*(keeper.warm(WARM_UP) for keeper in self.keepers.values()))
        self._export = trace(self.gateway, self.settings, self.metrics)
        if self._export is not None:
            await self._export.begin()
        await self.doors.open(config)
        for address in config.console:
            console = Console(
                address,
                admits=self._console_pass,
                view=self.operations,
                grace=config.shutdown.grace,
                allowed_hosts=config.allowed_hosts,
                # On this machine alone it is looked at by programs that trust no certificate of ours.
                certificates=None if address.loopback else self.doors.certificates,
                given=await (
                    self.crew.own_socket(address) if self.crew else self._activated.socket_for("", address, OPEN)
                ),
            )
            await console.start()
            self.consoles.append(console)
        if self.crew is not None:
            await self.crew.ready()
        await self._admin.start()

    async def start_keepers(self) -> None:
        """Of the configured grants, and of members for whom the journal holds something."""
        self.keepers.take_over(self.settings, await self.keepers.new(self.settings))
        await self.keepers.settle()

    def _launch(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(_ended)
        return task

    async def stop(self) -> None:
        """Drain: refuse new calls, let those inside and a redeem that is out end, close. Harmless twice."""
        self.stopping = True  # readiness says so first: a load balancer needs a moment to look elsewhere
        async with self._reloading.alone:
            await self._stop()

    async def _stop(self) -> None:
        shutdown = self.settings.config.shutdown
        tasks, self._tasks = self._tasks, []
        self.gateway.serving.leaving = True
        if self.crew is not None:
            self.crew.leave()
        if tasks:  # else the start has failed, and nobody was ever told of us
            await asyncio.sleep(shutdown.drain_delay)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if self.crew is not None:
            self.crew.drain(shutdown.grace)
        await self.doors.stop_accepting()  # first: who was let in before is served
        self.gateway.serving.draining = True
        self.watchdog.stop()
        await self._admin.stop()
        await self.operations.close()
        await self.gateway.streams.end_all()
        await self.port_streams.ports.close()
        # Calls inside may still need a token, so keepers close beside them, not before.
        drained = [self.crew.drained(shutdown.grace)] if self.crew is not None else []
        drained += [self.gateway.serving.drained(shutdown.grace), self.alerts.close()]
        await asyncio.gather(self.keepers.close(), *drained)
        telling, self._telling = self._telling, None
        if telling is not None:
            telling.cancel()
            await asyncio.wait([telling])
        await self.keys.last_use.finish()
        await self.doors.close()
        await asyncio.gather(*(console.stop() for console in self.consoles))
        await self._upstream.close()
        await self._dialler.close()
        if self._export is not None:
            await self._export.close()
        self.consoles = []
        if self._leading is not None and self.crew is not None:
            self._leading.cancel()
            await asyncio.wait([self._leading])
            self.crew.close()
            self._leading = None
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.cancel()
            await asyncio.wait([recording])
            self.acts.stopped()  # on the disk when the custody is closed

    @property
    def pid(self) -> int:
        """The process that signals are for."""
        return self.crew.pid if self.crew is not None else os.getpid()

    @property
    def workers(self) -> list[dict[str, Any]]:
        """Who relays beside this process, as plain data."""
        return self.crew.told() if self.crew is not None else []

    @property
    def standing(self) -> str:
        """How it stands, in a line."""
        return summary(*self.operations.ready())

    @property
    def console_url(self) -> str | None:
        """The console with its token, for the person who started the server; None if it is off."""
        return self.consoles[0].url if self.consoles else None

    @property
    def console_address(self) -> str | None:
        """The console without its token; None if it is off."""
        return self.consoles[0].place if self.consoles else None

    # -- what requests are decided by ---------------------------------------------------------------------------------

    def endpoint(self, grant: str) -> TokenEndpoint:
        """The token endpoint of a grant's environment."""
        return endpoint_of(self.settings, self.settings.grant(grant), self.skew)

    def policy_for(self, settings: Settings) -> Policy:
        """What calls are decided by under these settings, which metrics, budgets and ports hear of too."""
        mounts = {name: self._mount(settings, name) for name in settings.config.mounts}
        clients = settings.config.clients
        self.metrics.allow(
            mounts=mounts,
            clients=["local", *(() if isinstance(clients, str) else clients)],
            templates={row.path for mount in mounts.values() for row in mount.table.rows},
            grants=self.keepers,
        )
        self.gateway.pacing.define(rates_of(settings))
        self.gateway.streams.per_client = settings.config.limits.sockets_per_client
        self.port_streams.ports.define(
            {name: mount.stream_ports for name, mount in settings.config.mounts.items()},
            free=all(address.loopback for address in settings.config.listen),
        )
        return policy_of(settings, mounts, self.keys, self.halts)

    def _lane_at(self, door: Door) -> Express | None:
        """The express lane at a door; it needs connections of our own to brokers."""
        engine = self.settings.config.engine
        served = engine.express and engine.upstream == "httptools" and door.stream is None
        return Express(self.gateway, door, self.clock) if served else None

    def _destinations(self) -> Iterator[tuple[Place, TokenPair]]:
        return destinations(self.gateway.policy, self.keepers, self.clock.now())

    def mount(self, name: str) -> Mount:
        """A mount as it serves now, for an operator's own calls. `LookupError` if there is none."""
        return self._mount(self.settings, name)

    def _mount(self, settings: Settings, name: str) -> Mount:
        return mount_of(
            settings,
            name,
            keepers=self.keepers,
            upstream=self._upstream,
            keeper_of=self.keepers.of,
            keeper_at_hand=self.keepers.at_hand,
            dialler=self._dialler,
        )

    # -- change -------------------------------------------------------------------------------------------------------

    @property
    def store_fault(self) -> str:
        """What is wrong with the store right now; empty if nothing is."""
        return self.watcher.store_fault

    def config_changed(self) -> bool:
        """Whether the file is another than the one that was loaded."""
        return self.watcher.file_changed

    async def reload(self, *, dry_run: bool = False) -> dict[str, Any]:
        """Take over the configuration whole, or raise and keep the old one. See `Reloading.run`, and `check`."""
        return await (self._reloading.check() if dry_run else self._reloading.run())

    def rendered_metrics(self) -> bytes:
        """The metrics as text, with the ages of the tokens as they are now."""
        measure(self)
        return self.metrics.render()


def _ended(task: "asyncio.Task[None]") -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("a task of the server ended by a fault of ours", error=type(error).__name__)
