"""What an operator asks of a running bearerd: how does it stand, log in, revoke, client keys. Reached by `admin.py`."""

import os
import re
import secrets
from collections.abc import Mapping
from typing import Any, Protocol

from proxy import __version__
from proxy.admin import NotPossible as NotPossible  # noqa: PLC0414  the command line finds it here
from proxy.clientkeys import ClientKey, ClientKeys
from proxy.clock import Clock
from proxy.config.model import NAME_PATTERN
from proxy.gateway import Gateway
from proxy.listener import Listener
from proxy.outbound import Lost, NotSent
from proxy.secret import Secret
from proxy.settings import Settings
from proxy.tokens.grant import State
from proxy.tokens.keeper import Keeper
from proxy.tokens.oauth import TokenEndpoint
from proxy.tokens.standing import Standing

SCHEMA = 1


class Running(Protocol):
    """What an operator's wishes are about: a running `App`."""

    settings: Settings
    clock: Clock
    started: float
    stopping: bool
    store_fault: str
    last_problems: list[str]
    gateway: Gateway
    keepers: dict[str, Keeper]
    keys: ClientKeys
    known_keys: tuple[ClientKey, ...]
    listeners: list[Listener]

    @property
    def url(self) -> str: ...
    @property
    def console_url(self) -> str | None: ...
    @property
    def console_address(self) -> str | None: ...
    def doors(self) -> list[tuple[Listener, str | None]]: ...
    def endpoint(self, grant: str) -> TokenEndpoint: ...
    def config_changed(self) -> bool: ...
    def rendered_metrics(self) -> bytes: ...
    async def read_keys(self) -> None: ...
    async def reload(self) -> dict[str, Any]: ...


class Operations:
    """The operator's side of an `App`."""

    def __init__(self, app: Running) -> None:
        self._app = app

    def commands(self) -> Mapping[str, Any]:
        """Name → coroutine function over a mapping of parameters, for the admin socket."""
        return {
            "status": self._status,
            "ready": self._ready,
            "console": self._console,
            "login": lambda wish: self.login(wish["mount"], wish["token"]),
            "revoke": lambda wish: self.revoke(wish["mount"]),
            "clients-add": lambda wish: self.clients_add(wish["name"]),
            "clients-list": lambda _wish: self.clients_list(),
            "clients-remove": lambda wish: self.clients_remove(wish["name"]),
            "reload": lambda _wish: self._app.reload(),
        }

    async def _status(self, _wish: Mapping[str, Any]) -> dict[str, Any]:
        return self.status()

    async def _ready(self, _wish: Mapping[str, Any]) -> dict[str, Any]:
        word, lines = self.ready()
        return {"ready": word, "lines": lines}

    async def _console(self, _wish: Mapping[str, Any]) -> dict[str, Any]:
        """The console's address with its token: for whoever asks for just that."""
        return {"url": self._app.console_url}

    # -- seeing -------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Everything that `bearerd status` and the console show; plain data, no secret. Times are Unix seconds."""
        app = self._app
        config = app.settings.config
        word, _ = self.ready()
        return {
            "schema": SCHEMA,
            "version": __version__,
            "pid": os.getpid(),
            "url": app.url,
            "urls": [listener.url for listener in app.listeners],
            "console": app.console_address,
            "started": app.started,
            "now": app.clock.now().wall,
            "store": config.store,
            "config": config.name,
            "config_changed": app.config_changed(),
            "open_to_all": config.open_to_all,
            "draining": app.stopping,
            "ready": word,
            "warnings": self._warnings(),
            "mounts": [self._mount(name) for name in config.mounts],
            "clients": self._clients(app.known_keys),
        }

    def _mount(self, name: str) -> dict[str, Any]:
        app = self._app
        mount = app.settings.config.mounts[name]
        standing = app.keepers[app.settings.config.grant_of(name)].standing()
        tally = app.gateway.tallies[name]
        root = next((listener.url for listener, served in app.doors() if served == name), None)
        return {
            "name": name,
            "title": app.settings.brokers[mount.broker].title,
            "scopes": list(mount.scopes),
            "url": f"{app.url}/{name}",
            "root_url": root,
            "calls": tally.calls,
            "denied": tally.denied,
            "last_call": tally.last,
            **shown(standing),
        }

    def _clients(self, keys: tuple[ClientKey, ...]) -> list[dict[str, Any]]:
        config = self._app.settings.config
        rights: Mapping[str, Mapping[str, tuple[str, ...]]] = {} if isinstance(config.clients, str) else config.clients
        names = sorted({*rights, *(key.client for key in keys)})
        return [
            {
                "name": name,
                "keys": sum(key.client == name for key in keys),
                "rights": {mount: list(scopes) for mount, scopes in rights[name].items()} if name in rights else None,
                "in_config": name in rights,
            }
            for name in names
        ]

    def _warnings(self) -> list[str]:
        app = self._app
        config = app.settings.config
        found = []
        if config.open_to_all:
            found.append("clients: none: any program on this machine may call")
        if config.plaintext:
            found.append("plaintext: accepted: client keys and answers cross the network unencrypted")
        if app.config_changed():
            found.append(f"{config.name} has changed and is not loaded. To load: bearerd reload")
        return found + app.last_problems

    def ready(self) -> tuple[str, list[str]]:
        """One word (`ok`, `degraded`, `needs-login`, `draining`), and a line for each thing that was looked at."""
        app = self._app
        lines = ["[-]store " + app.store_fault if app.store_fault else "[+]store ok"]
        needs_login = unwell = False
        for keeper in app.keepers.values():
            standing = keeper.standing()
            needs_login |= standing.state in (State.NONE, State.NEEDS_LOGIN)
            well = standing.usable and standing.state in (State.FRESH, State.DUE, State.REDEEMING)
            unwell |= not well
            sign, why = ("+", "") if well else ("-", f": {standing.reason}" if standing.reason else "")
            lines.append(f"[{sign}]grant {standing.grant} {standing.state.value}{why}")
        if app.stopping:
            return "draining", lines
        if needs_login:
            return "needs-login", lines
        return ("degraded" if unwell or app.store_fault else "ok"), lines

    def metrics(self) -> bytes:
        """All metrics, with the ages of tokens brought up to date."""
        return self._app.rendered_metrics()

    # -- doing --------------------------------------------------------------------------------------------------------

    async def login(self, mount: str, token: str) -> dict[str, Any]:
        """Spend a pasted refresh token for a mount's grant. Raises `LoginFailed`, `NotPossible`."""
        keeper = self._app.keepers[self._grant(mount)]
        return shown(await keeper.login(Secret(token), secrets.token_hex(8)))

    async def revoke(self, mount: str) -> dict[str, Any]:
        """Give a grant up: at the broker where it can be done, and here in any case. Raises `StoreError`."""
        name = self._grant(mount)
        keeper, endpoint = self._app.keepers[name], self._app.endpoint(name)
        told, message = False, "the broker has no revoke endpoint; remove the application's access on its page"
        token = keeper.access_token or keeper.refresh_token
        if endpoint.revoke_url and token:
            try:
                answer = await endpoint.revoke(token)
                told = 200 <= answer.status < 300  # noqa: PLR2004
                message = "the broker was told" if told else f"the broker answered {answer.status} to the revocation"
            except (NotSent, Lost) as error:
                message = f"the broker could not be told: {error}"
        await keeper.forget()
        return {"grant": name, "broker_told": told, "message": message}

    def _grant(self, name: str) -> str:
        config = self._app.settings.config
        if name in config.mounts:
            return config.grant_of(name)
        if name in self._app.keepers:
            return name
        raise NotPossible(f"there is no mount or grant '{name}'; known: {', '.join(config.mounts) or 'none'}")

    async def clients_add(self, name: str) -> dict[str, Any]:
        """Make a client key. The answer holds it, this once."""
        config = self._app.settings.config
        if not re.fullmatch(NAME_PATTERN, name, re.ASCII):
            raise NotPossible("no client can have that name: 1 to 63 of a-z, 0-9 and -, and no - at its start")
        key = await self._app.keys.add(name)
        await self._app.read_keys()
        lacks_rights = isinstance(config.clients, str) or name not in config.clients
        warning = f"'{name}' has no rights yet: add it under `clients:` in {config.name}, then: bearerd reload"
        return {"client": name, "key": key.reveal(), "warning": warning if lacks_rights else None}

    async def clients_list(self) -> dict[str, Any]:
        return {"clients": self._clients(tuple(await self._app.keys.all()))}

    async def clients_remove(self, name: str) -> dict[str, Any]:
        """Delete all keys of a client; they are refused from this moment on."""
        removed = await self._app.keys.remove(name)
        await self._app.read_keys()
        return {"client": name, "removed": removed}


def shown(standing: Standing) -> dict[str, Any]:
    """A grant's standing as plain data."""
    return {
        "grant": standing.grant,
        "broker": standing.broker,
        "environment": standing.environment,
        "state": standing.state.value,
        "usable": standing.usable,
        "reason": standing.reason,
        "fix": standing.fix,
        "since": standing.since,
        "generation": standing.generation,
        "api_host": standing.origin,
        "access_expires": standing.access_expires,
        "next_renewal": standing.next_renewal,
        "refreshed": standing.refreshed,
        "dies": standing.dies,
    }
