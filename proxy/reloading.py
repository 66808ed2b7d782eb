"""Another configuration for a running server: taken over whole, or not at all."""

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from proxy import logs, notify
from proxy.admin import NotPossible
from proxy.admission import Policy
from proxy.assembly import needs_restart
from proxy.audit.acts import Acts
from proxy.config import ConfigInvalid
from proxy.config.changes import changes, words
from proxy.console.server import Console
from proxy.custody import Custody
from proxy.doors import Doors
from proxy.gateway import Gateway
from proxy.keepers import Keepers
from proxy.listener import Listener
from proxy.metrics import Metrics
from proxy.settings import Settings
from proxy.store import StoreError
from proxy.streams.questrade.streams import QuestradeStreams
from proxy.watch import Watcher

if TYPE_CHECKING:
    from proxy.workers.crew import Crew  # most servers are one process

KEPT = "the configuration was not loaded; the old one stays"

log = logs.get("app")


class Reloaded(Protocol):
    """What it needs of an `App`."""

    settings: Settings
    stopping: bool
    last_problems: list[str]
    crew: "Crew | None"
    custody: Custody
    gateway: Gateway
    keepers: Keepers
    metrics: Metrics
    doors: Doors
    acts: Acts
    watcher: Watcher
    port_streams: QuestradeStreams
    consoles: list[Console]
    manager: notify.Manager

    @property
    def standing(self) -> str: ...
    def policy_for(self, settings: Settings) -> Policy: ...


class Reloading:
    """Takes over what `reread` gives (it raises `ConfigInvalid`). `alone`: one reload or stop at a time."""

    def __init__(self, app: Reloaded, reread: Callable[[], Settings]) -> None:
        self.alone = asyncio.Lock()
        self._app = app
        self._reread = reread

    async def run(self) -> dict[str, Any]:
        """Take over the configuration whole, or raise and keep the old one. Returns what has changed: see `told`.

        Raises `ConfigInvalid`, `NotPossible`, `StoreError`.
        """
        app = self._app
        self._check_running()  # here too: a stop waits for commands that wait
        async with self.alone:
            self._check_running()
            old = app.settings
            app.manager.tell(**notify.reloading())
            try:
                await self._take_over()
            except Exception as error:
                await self._refused(error)
                raise
            finally:
                app.manager.tell(**notify.ready(app.standing))
            app.last_problems = []
            found = told(old, app.settings)
        log.info("configuration reloaded", changed=found["changed"], changes=found["changes"])
        await app.acts.record("reload", changed=found["changed"], changes=found["changes"])
        return found

    async def check(self) -> dict[str, Any]:
        """What a reload would change, or raise what it would: all but what shows only when a port is opened."""
        self._check_running()
        async with self.alone:
            settings = await asyncio.to_thread(self._reread)
            self._check_change(settings)
            if (certificates := self._app.doors.certificates) is not None:
                await certificates.read(settings.config)
            return told(self._app.settings, settings)

    async def _refused(self, error: Exception) -> None:
        app = self._app
        known = isinstance(error, ConfigInvalid | NotPossible | StoreError)
        reason = str(error) if known else f"bearerd failed ({type(error).__name__})"
        log.error(KEPT, reason=reason)
        app.last_problems = [f"the last reload was refused: {reason}"]
        await app.acts.record("reload", outcome="failed", reason=reason)

    def _check_running(self) -> None:
        if self._app.stopping:
            raise NotPossible("bearerd is shutting down; nothing was loaded")

    async def _take_over(self) -> None:
        app = self._app
        settings = await asyncio.to_thread(self._reread)
        self._check_change(settings)
        # What may fail comes first, and is undone if it does.
        certificates = app.doors.certificates
        in_force = await certificates.read(settings.config) if certificates is not None else None
        keepers = await app.keepers.new(settings)
        try:
            roots = await self._new_roots(settings)
        except BaseException:
            await asyncio.gather(*(keeper.close() for keeper in keepers.values()))
            raise
        # From here to the new policy nothing is awaited: no call sees half of it.
        app.settings, app.watcher.file_changed = settings, False
        app.custody.trail.keep_days = settings.config.audit.keep_days
        dropped = app.keepers.take_over(settings, keepers)
        app.gateway.policy = app.policy_for(settings)
        gone = app.doors.take_over(settings.config, roots, in_force)
        if app.crew is not None:
            app.crew.policy_changed()
            await app.crew.settle()
        for keeper in dropped:
            app.metrics.dials.gone(keeper.name)
        for console in app.consoles:
            console.allow_hosts(settings.config.allowed_hosts)
        # Nobody asked for the calls inside to end: one of them may be an order.
        grace = settings.config.shutdown.grace
        await asyncio.gather(app.doors.retire(gone, grace=grace), app.keepers.drop(dropped))
        await app.port_streams.ports.tidy()

    def _check_change(self, settings: Settings) -> None:
        """Raise `NotPossible` for what a running server cannot take over."""
        app = self._app
        old, new = app.settings.config, settings.config
        if fixed := needs_restart(old, new):
            keys = dict.fromkeys(key.split(" ")[0].split(".")[0] for key in fixed)
            how = "; ".join(filter(None, (words(old, new, key) for key in keys)))
            raise NotPossible(
                f"{', '.join(fixed)} can't change in a running server; nothing was loaded ({how})",
                "restart bearerd, or take that change back and reload",
            )
        for name, grant in settings.grants.items():
            known = app.keepers.get(name)
            before = app.settings.grants.get(name, grant).login
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

    async def _new_roots(self, settings: Settings) -> list[Listener]:
        try:
            return await self._app.doors.new_roots(settings.config)
        except OSError as error:
            raise NotPossible(f"{error.strerror or error}; nothing was loaded") from None


def told(old: Settings, new: Settings) -> dict[str, Any]:
    """What has changed: `changed` are keys of the whole, `changes` say it in words, a line each."""
    one, other = old.config, new.config
    fields = type(other).model_fields.items()
    changed = [field.alias or key for key, field in fields if getattr(one, key) != getattr(other, key)]
    found = [*changes(one, other), *_in_files(old, new)]
    return {"changed": changed, "changes": [logs.redact(line) for line in found]}


def _in_files(old: Settings, new: Settings) -> Iterator[str]:
    """What no key shows: files that the configuration names hold something else."""
    for name, grant in new.grants.items():
        before = old.grants.get(name)
        described = new.config.grants.get(name)
        if before is None or described is None or old.config.grants.get(name) != described:
            continue
        if before.client_secret != grant.client_secret:
            yield f"grants.{name}.client_secret_file: another content"
        for client_id, app in grant.apps.items():
            if client_id in before.apps and before.apps[client_id].client_secret != app.client_secret:
                yield f"grants.{name}.apps.{client_id}.client_secret_file: another content"
        if before.trust != grant.trust:
            yield f"grants.{name}: its environment's ca_file is another file"
