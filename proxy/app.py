"""Puts the rooms together: configuration → custody, keepers, mounts, listeners. The only place that knows everybody."""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

from proxy import logs
from proxy.admin import AdminSocket
from proxy.assembly import endpoint_of, mount_of, policy_of
from proxy.clientkeys import ClientKey, ClientKeys
from proxy.clock import Clock, SystemClock
from proxy.config import Address, Config, ConfigInvalid, Tcp
from proxy.console.server import Console
from proxy.custody import Custody, socket_path
from proxy.gate.browser import Hosts
from proxy.gate.clients import Keyring
from proxy.gateway import Door, Gateway, Mount, Policy
from proxy.listener import Crowd, Listener, check_parser, open_listener
from proxy.metrics import Metrics
from proxy.operations import NotPossible, Operations
from proxy.relay.upstream import SessionUpstream
from proxy.settings import Settings, stamp_of
from proxy.store import StoreError
from proxy.tokens.grant import State
from proxy.tokens.journal import JournalError
from proxy.tokens.keeper import Keeper
from proxy.tokens.oauth import TokenEndpoint

WATCH = 0.5  # seconds between looks at the store's commit number
WARM_UP = 5.0  # seconds that a start may wait for grants that have been idle for days
NEEDS_RESTART = ("listen", "console", "store", "key", "log")

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
    ) -> None:
        self.settings = settings
        self.custody = custody
        self.clock = clock or SystemClock()
        self.started = self.clock.now().wall
        self.operations = Operations(self)
        self.keepers: dict[str, Keeper] = {}
        self.keys = ClientKeys(custody.vault, self.clock)
        self.known_keys: tuple[ClientKey, ...] = ()
        self.listeners: list[Listener] = []
        self.stopping = False
        self.store_fault = ""
        self.last_problems: list[str] = []
        self.metrics = Metrics()
        self.gateway = Gateway(Policy({}, Keyring({}, {}), 0, 0), self.metrics, self.clock)
        self._reread = reread
        self._file_changed = False
        self._doors: dict[Listener, Door] = {}
        self._crowd = Crowd(settings.config.limits.connections)
        self._upstream = SessionUpstream()
        self._console_token = console_token or secrets.token_urlsafe(24)
        self._console_reusable = console_reusable
        self._consoles: list[Console] = []
        self._admin = AdminSocket(socket_path(settings.config), self.operations.commands(), self.operations.holding())
        self._watcher: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()  # one reload or stop at a time

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything, in an order in which nothing is reachable before it is ready. Raises what rooms raise."""
        check_parser()
        config = self.settings.config
        try:
            self.keepers = await self.new_keepers(self.settings)
            await self.read_keys()
            self.gateway.policy = self._policy(self.settings)
            await asyncio.gather(*(keeper.warm(WARM_UP) for keeper in self.keepers.values()))
            for address in config.listen:
                self.listeners.append(await self._open(address, None))
            for name, mount in config.mounts.items():
                if mount.port is not None:
                    self.listeners.append(await self._open_root(config, name))
            for address in config.console:
                console = Console(
                    address,
                    token=self._console_token,
                    reusable=self._console_reusable,
                    view=self.operations,
                    grace=config.shutdown.grace,
                    allowed_hosts=config.allowed_hosts,
                )
                await console.start()
                self._consoles.append(console)
            await self._admin.start()
        except BaseException:
            await self.stop()
            raise
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Drain: refuse new calls, let those inside and a redeem that is out end, close. Harmless twice."""
        self.stopping = True  # readiness says so first: a load balancer needs a moment to look elsewhere
        async with self._changing:
            await self._stop()

    async def _stop(self) -> None:
        shutdown = self.settings.config.shutdown
        watcher, self._watcher = self._watcher, None
        if watcher is not None:  # else the start has failed, and nobody was ever told of us
            await asyncio.sleep(shutdown.drain_delay)
            watcher.cancel()
            await asyncio.wait((watcher,))
        self.gateway.draining = True
        await self._admin.stop()
        await self.operations.close()
        await asyncio.gather(*(listener.stop_accepting() for listener in self.listeners))
        # Calls inside may still need a token, so keepers close beside them, not before.
        await asyncio.gather(
            self.gateway.drained(shutdown.grace), *(keeper.close() for keeper in self.keepers.values())
        )
        await asyncio.gather(*(listener.close() for listener in self.listeners))
        await asyncio.gather(*(console.stop() for console in self._consoles))
        await self._upstream.close()
        self.listeners, self._consoles = [], []

    # -- doors --------------------------------------------------------------------------------------------------------

    async def _open(self, address: Address, mount: str | None) -> Listener:
        return await open_listener(
            address, self._enter, grace=1.0, greet=lambda new: self._greet(new, mount), crowd=self._crowd
        )

    async def _open_root(self, config: Config, mount: str) -> Listener:
        """Serve a mount at the root of its own port, on the address of the first listener."""
        first, port = config.listen[0], config.mounts[mount].port
        host = first.host if isinstance(first, Tcp) else "127.0.0.1"
        return await self._open(Tcp(host, port or 0), mount)

    def _greet(self, listener: Listener, mount: str | None) -> None:
        self._doors[listener] = Door(self._hosts(listener, self.settings.config), mount)

    def _hosts(self, listener: Listener, config: Config) -> Hosts | None:
        return Hosts([*listener.names, *config.allowed_hosts]) if isinstance(listener.bound, Tcp) else None

    async def _enter(self, listener: Listener, request: web.BaseRequest) -> web.StreamResponse:
        return await self.gateway.handle(self._doors[listener], request)

    def doors(self) -> list[tuple[Listener, str | None]]:
        """Every listener, with the mount that it serves at its root, if it is one of those."""
        return [(listener, self._doors[listener].mount) for listener in self.listeners]

    @property
    def url(self) -> str:
        """Where clients call."""
        return next((listener.url for listener, mount in self.doors() if mount is None), "")

    @property
    def console_url(self) -> str | None:
        """The console with its token, for the person who started the server; None if it is off."""
        return self._consoles[0].url if self._consoles else None

    @property
    def console_address(self) -> str | None:
        """The console without its token; None if it is off."""
        return self._consoles[0].place if self._consoles else None

    # -- what requests are decided by ---------------------------------------------------------------------------------

    async def new_keepers(self, settings: Settings) -> dict[str, Keeper]:
        """A started keeper for each grant that has none yet. If one cannot start, none of them is left."""
        found = self.custody.journal.found()
        keepers: dict[str, Keeper] = {}
        try:
            for name, grant in settings.grants.items():
                if name in self.keepers:
                    continue
                keepers[name] = Keeper(
                    name,
                    broker=grant.broker,
                    environment=grant.environment,
                    login=grant.login,
                    vault=self.custody.vault,
                    journal=self.custody.journal,
                    endpoint=endpoint_of(settings, grant),
                    clock=self.clock,
                    observe=self.metrics.token_refresh,
                )
                await keepers[name].start(found)
        except BaseException:
            await asyncio.gather(*(keeper.close() for keeper in keepers.values()))
            raise
        return keepers

    def endpoint(self, grant: str) -> TokenEndpoint:
        """The token endpoint of a grant's environment."""
        return endpoint_of(self.settings, self.settings.grants[grant])

    def _policy(self, settings: Settings) -> Policy:
        mounts = {name: self._mount(settings, name) for name in settings.config.mounts}
        clients = settings.config.clients
        self.metrics.allow(
            mounts=mounts,
            clients=["local", *(() if isinstance(clients, str) else clients)],
            templates={row.path for mount in mounts.values() for row in mount.table.rows},
            grants=self.keepers,
        )
        return policy_of(settings, mounts, self.known_keys)

    def mount(self, name: str) -> Mount:
        """A mount as it serves now, for an operator's own calls. `LookupError` if there is none."""
        return self._mount(self.settings, name)

    def _mount(self, settings: Settings, name: str) -> Mount:
        return mount_of(settings, name, keepers=self.keepers, upstream=self._upstream)

    async def read_keys(self) -> None:
        """Take over the client keys as the store has them now. Most commits are token pairs and change none."""
        self.honour(await self.keys.all())

    def honour(self, keys: Iterable[ClientKey]) -> None:
        """Take calls with these keys from now on, and with no others."""
        if (keys := tuple(keys)) != self.known_keys:
            self.known_keys = keys
            self.gateway.policy = self._policy(self.settings)

    async def _watch(self) -> None:
        """Another process may have changed the store: client keys count within a second. A person, the file."""
        seen = -1
        while True:
            await asyncio.sleep(WATCH)
            settings = self.settings
            stamp = await asyncio.to_thread(stamp_of, Path(settings.config.name))
            self._file_changed = self.settings is settings and stamp != settings.stamp
            try:
                commits = await self.custody.store.changes()
                if commits != seen:
                    await self.read_keys()
                    await self.custody.journal.raise_commit(commits)
                seen, self.store_fault = commits, ""
            except (StoreError, JournalError) as error:
                self._store_fails(str(error))
            except Exception as error:  # noqa: BLE001  a watcher that ended would honour removed keys for ever
                self._store_fails(f"a record could not be read ({type(error).__name__})")

    def _store_fails(self, reason: str) -> None:
        if not self.store_fault:
            log.error("the store fails; tokens in hand are served on", reason=reason)
        self.store_fault = reason

    # -- change -------------------------------------------------------------------------------------------------------

    def config_changed(self) -> bool:
        """Whether the file is another than the one that was loaded."""
        return self._file_changed

    async def reload(self) -> dict[str, Any]:
        """Take over the configuration whole, or raise and keep the old one. Returns what changed."""
        self._check_running()  # here too: a stop waits for commands that wait
        async with self._changing:
            self._check_running()
            old = self.settings.config
            try:
                await self._take_over()
            except (ConfigInvalid, NotPossible, StoreError) as error:
                self.last_problems = [f"the last reload was refused: {error}"]
                raise
            self.last_problems = []
        new = self.settings.config
        changed = [key for key in type(new).model_fields if getattr(old, key) != getattr(new, key)]
        log.info("configuration reloaded", changed=changed)
        return {"changed": changed}

    def _check_running(self) -> None:
        if self.stopping:
            raise NotPossible("bearerd is shutting down; nothing was loaded")

    async def _take_over(self) -> None:
        settings = await asyncio.to_thread(self._reread)
        self._check_change(settings)
        # What may fail comes first, and is undone if it does.
        keepers = await self.new_keepers(settings)
        try:
            roots = await self._new_roots(settings.config)
        except BaseException:
            await asyncio.gather(*(keeper.close() for keeper in keepers.values()))
            raise
        # From here to the new policy nothing is awaited: no call sees half of it.
        old, self.settings, self._file_changed = self.settings.config, settings, False
        dropped = [self.keepers.pop(name) for name in self.keepers.keys() - settings.grants.keys()]
        for name, keeper in self.keepers.items():
            grant = settings.grants[name]
            keeper.redefine(grant.broker, grant.environment, grant.login, endpoint_of(settings, grant))
        self.keepers |= keepers
        self.gateway.policy = self._policy(settings)
        gone = [
            listener for listener, mount in self.doors() if mount and _port(old, mount) != _port(settings.config, mount)
        ]
        self.listeners = [listener for listener in self.listeners if listener not in gone] + roots
        self._crowd.limit = settings.config.limits.connections
        for listener in self.listeners:
            self._doors[listener].hosts = self._hosts(listener, settings.config)
        for keeper in dropped:
            self.metrics.no_token_pair(keeper.name)
        for console in self._consoles:
            console.allow_hosts(settings.config.allowed_hosts)
        # Nobody asked for the calls inside to end: one of them may be an order.
        grace = settings.config.shutdown.grace
        await asyncio.gather(
            *(listener.close(grace=grace) for listener in gone), *(keeper.close() for keeper in dropped)
        )
        for listener in gone:
            del self._doors[listener]

    def _check_change(self, settings: Settings) -> None:
        """Raise `NotPossible` for what a running server cannot take over."""
        old, new = self.settings.config, settings.config
        fixed = [key for key in NEEDS_RESTART if getattr(old, key) != getattr(new, key)]
        if fixed:
            raise NotPossible(f"{', '.join(fixed)} can't change in a running server; nothing was loaded. Restart it")
        for name, grant in settings.grants.items():
            known = self.keepers.get(name)
            before = self.settings.grants.get(name, grant).login
            other = (before.kind, before.placement) != (grant.login.kind, grant.login.placement)
            # Its token is worth nothing at another place, and must not be sent there; nor elsewhere in a call.
            if known is not None and (
                other or not known.serves(grant.broker.name, grant.environment.name, grant.login.name)
            ):
                place = f"{grant.broker.name}/{grant.environment.name}, login {grant.login.name}"
                raise NotPossible(
                    f"grant {name} can't move to {place}; nothing was loaded. "
                    "Give the mount another grant, and log in for that one"
                )

    async def _new_roots(self, config: Config) -> list[Listener]:
        """Listeners for the roots that are new or have moved. `NotPossible` if one can't be opened; then none is."""
        opened: list[Listener] = []
        try:
            for name, mount in config.mounts.items():
                if mount.port is not None and mount.port != _port(self.settings.config, name):
                    opened.append(await self._open_root(config, name))
        except OSError as error:
            await asyncio.gather(*(listener.close() for listener in opened))
            raise NotPossible(f"{error.strerror or error}; nothing was loaded") from None
        return opened

    def rendered_metrics(self) -> bytes:
        """The metrics as text, with the ages of the tokens as they are now."""
        self.metrics.journal_slots(lambda: self.custody.journal.slots_in_use)
        for standing in (keeper.standing() for keeper in self.keepers.values()):
            if standing.state is State.NONE:
                self.metrics.no_token_pair(standing.grant)
                continue
            self.metrics.token_pair(
                standing.grant,
                generation=standing.generation,
                access=(standing.refreshed, standing.access_expires),
                refresh=(standing.refreshed, standing.dies),
                ends=standing.ends,
            )
        return self.metrics.render()


def _port(config: Config, mount: str) -> int | None:
    return config.mounts[mount].port if mount in config.mounts else None
