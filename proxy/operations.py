"""What an operator asks of a running bearerd: how does it stand, logins, client keys. Reached by `admin.py`."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from proxy import __version__, clientele, halting, partneroauth
from proxy.admin import NotPossible as NotPossible  # noqa: PLC0414  the command line finds it here
from proxy.admission import Mount
from proxy.adoption import quarantined
from proxy.audit.acts import ON_RECORD, WIDENS, Acts
from proxy.audit.calls import Calls
from proxy.authorizations import Authorizations, NotCompleted, asked, shown
from proxy.clientkeys import ClientKeys
from proxy.clock import Clock
from proxy.console.callback import Outcome
from proxy.custody import Custody
from proxy.doors import Doors
from proxy.gate.clients import LOCAL
from proxy.gateway import Gateway
from proxy.halts import Halts
from proxy.keepers import Keepers
from proxy.settings import NoSuchGrant, Settings
from proxy.tokens.grant import State
from proxy.tokens.oauth import TokenEndpoint
from proxy.tokens.skew import Skew
from proxy.tokens.standing import Standing

SCHEMA = 1
Command = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class Running(Protocol):
    """What an operator's wishes are about: a running `App`."""

    settings: Settings
    clock: Clock
    skew: Skew
    custody: Custody
    started: float
    stopping: bool
    last_problems: list[str]
    gateway: Gateway
    keepers: Keepers
    keys: ClientKeys
    doors: Doors
    halts: Halts
    calls: Calls
    acts: Acts

    @property
    def pid(self) -> int: ...
    @property
    def workers(self) -> list[dict[str, Any]]: ...
    @property
    def store_fault(self) -> str: ...
    @property
    def console_url(self) -> str | None: ...
    @property
    def console_address(self) -> str | None: ...
    def endpoint(self, grant: str) -> TokenEndpoint: ...
    def mount(self, name: str) -> Mount: ...
    def config_changed(self) -> bool: ...
    def rendered_metrics(self) -> bytes: ...
    async def reload(self) -> dict[str, Any]: ...


class Operations:
    """The operator's side of an `App`."""

    def __init__(self, app: Running) -> None:
        self._app = app
        self.authorizations = Authorizations(app)

    def commands(self) -> Mapping[str, Any]:
        """Name → coroutine function over a mapping of parameters, for the admin socket."""
        commands: dict[str, Command] = {
            "status": self._status,
            "ready": self._ready,
            "console": self._console,
            "login": lambda wish: self.login(wish["mount"], wish.get("token")),
            "login-begin": lambda wish: self.login_begin(wish["mount"]),
            "login-complete": lambda wish: self.login_complete(wish["mount"], wish["answer"]),
            "login-wait": lambda wish: self.login_wait(wish["mount"], wish["id"], float(wish["seconds"])),
            "adopt": lambda wish: self.adopt(wish["mount"]),
            "quarantined": lambda _wish: self._quarantined(),
            "revoke": lambda wish: self.revoke(wish["mount"]),
            "oauth": lambda wish: partneroauth.carry_out(self._app, wish),
            "clients-add": lambda wish: self.clients_add(
                wish["name"], wish.get("grants", ()), lasts=wish.get("lasts"), expires=wish.get("expires")
            ),
            "clients-list": lambda wish: clientele.listed(self._app, wish),
            "clients-rotate": lambda wish: clientele.rotate(self._app, wish),
            "clients-remove": lambda wish: self.clients_remove(wish["name"], wish.get("grant"), wish.get("number")),
            "halt": lambda wish: halting.halt(self._app, wish),
            "resume": lambda wish: halting.resume(self._app, wish),
            "reload": lambda _wish: self._app.reload(),
        }
        return commands | {name: self._on_record(name, commands[name]) for name in ON_RECORD}

    def holding(self) -> Mapping[str, Any]:
        """Name → what lasts as long as its caller does, for the admin socket."""
        return {"lend": lambda wish: self.lend(wish.get("client"), str(wish["digest"]))}

    def _on_record(self, act: str, command: Command) -> Command:
        """The same command, which is in the audit trail before it is answered."""

        async def carry_out(wish: Mapping[str, Any]) -> dict[str, Any]:
            await self._app.acts.open()
            self._check_record(act)
            details: dict[str, Any] = {name: wish.get(name) for name in ON_RECORD[act]}
            try:
                answer: dict[str, Any] = await command(wish)
            except Exception:
                await self._app.acts.record(act, outcome="failed", **details)
                raise
            await self._app.acts.record(act, **details)
            return answer

        return carry_out

    def _check_record(self, act: str) -> None:
        """Raise `NotPossible` for what widens rights while nothing can be put on record."""
        if act in WIDENS and (fault := self._app.acts.fault):
            raise NotPossible(f"the audit trail can't be written ({fault}); nothing was done", "make room on the disk")

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
            "pid": app.pid,
            "workers": app.workers,
            "url": app.doors.url,
            "urls": [listener.url for listener in app.doors.listeners],
            "secure_url": self._secure_url(),
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
            "audit": self._audit(),
            "halts": [halting.shown(halt) for halt in app.halts.all],
            "mounts": [self._mount(name) for name in config.mounts],
            "clients": clientele.summaries(app),
            "streams": app.gateway.streams.told(),
        }

    def _mount(self, name: str) -> dict[str, Any]:
        app = self._app
        mount = app.settings.config.mounts[name]
        standing = app.keepers[app.settings.config.grant_of(name)].standing()
        tally = app.gateway.serving.tallies[name]
        root = next((listener.url for listener, served in app.doors.all() if served == name), None)
        shown = self._shown(standing.grant, standing)
        fixed = app.settings.origin_of(name)
        return {
            "name": name,
            "title": app.settings.brokers[mount.broker].title,
            "scopes": list(mount.scopes),
            "url": f"{app.doors.url}/{name}",
            "root_url": root,
            "calls": tally.calls,
            "denied": tally.denied,
            "last_call": tally.last,
            "login_here": self.authorizations.begins_here(standing.grant),
            **shown,
            "members": app.keepers.told(standing.grant),
            "rates": app.gateway.pacing.told(standing.grant),
            # Mounts of one grant may be APIs that live at different hosts.
            "api_host": shown["api_host"] if fixed is None else str(fixed),
        }

    def _audit(self) -> dict[str, Any]:
        """How the audit trail stands: `fault` is empty if it is written, `waiting` are bytes on the way to the disk."""
        trail = self._app.custody.trail.standing
        return {"fault": trail.fault, "since": trail.since, "waiting": trail.waiting, "lost": trail.lost}

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
        if app.store_fault:
            found.append(f"the store fails, and tokens in hand are served on: {app.store_fault}")
        if fault := app.acts.fault:
            found.append(f"the audit trail can't be written, and orders are refused: {fault}")
        certificates = app.doors.certificates.warnings() if app.doors.certificates is not None else []
        return [
            *found,
            *certificates,
            *app.keys.warnings(),
            *halting.warnings(app.halts),
            *app.skew.warnings,
            *app.last_problems,
        ]

    def ready(self) -> tuple[str, list[str]]:
        """One word (`ok`, `degraded`, `needs-login`, `draining`), and a line for each thing that was looked at.

        Of members there are counts only. One whose login has ended is a matter of that person and leaves the word as it
        is; members that are stopped or quarantined need the operator, and make it `degraded`. A grant that has members
        who are logged in need not be so itself.
        """
        app = self._app
        lines = ["[-]store " + app.store_fault if app.store_fault else "[+]store ok", *halting.ready_lines(app.halts)]
        needs_login = unwell = False
        if app.acts.fault:
            lines.append(f"[-]audit trail can't be written: {app.acts.fault}")
            unwell = True
        for keeper in app.keepers.values():
            standing = keeper.standing()
            counts = app.keepers.members(standing.grant)
            if counts:
                faulty = counts.get(State.STOPPED, 0) + counts.get(State.QUARANTINED, 0)
                unwell |= faulty > 0
                told = ", ".join(f"{counts[state]} {state.value}" for state in State if state in counts)
                lines.append(f"[{'-' if faulty else '+'}]members of {standing.grant}: {told}")
                if standing.state is State.NONE and counts.keys() != {State.NONE}:
                    continue
            needs_login |= standing.state in (State.NONE, State.NEEDS_LOGIN, State.QUARANTINED)
            state_is_well = standing.state in (State.FRESH, State.DUE, State.REDEEMING)
            well = standing.usable and state_is_well and not standing.doubted
            unwell |= not well
            why = "; ".join(filter(None, ("" if well else standing.reason, standing.warning)))
            lines.append(f"[{'+' if well else '-'}]grant {standing.grant} {standing.state.value}{why and f': {why}'}")
        if app.stopping:
            return "draining", lines
        if needs_login:
            return "needs-login", lines
        return ("degraded" if unwell or app.store_fault or app.halts.fault else "ok"), lines

    def metrics(self) -> bytes:
        """All metrics, with the ages of tokens brought up to date."""
        return self._app.rendered_metrics()

    # -- doing --------------------------------------------------------------------------------------------------------

    async def login(self, mount: str, token: str | None) -> dict[str, Any]:
        """Log a mount's grant in with a token or secret, or with client credentials. `LoginFailed`, `NotPossible`."""
        grant = self._grant(mount)
        return self._shown(grant, await self.authorizations.give(grant, token))

    async def login_begin(self, mount: str) -> dict[str, Any]:
        """What a login asks for, and of one over the broker's page the first half. Raises `NotPossible`.

        The answer has kind, asks, login_page and title; of a `code` login also id, authorize_url, redirect_uri,
        expires_in (seconds), and `callback`: whether the console answers at redirect_uri.
        """
        grant = self._grant(mount)
        found = asked(self._app.settings.grant(grant))
        if found["kind"] != "code":
            return found
        begun = await self.authorizations.begin(grant)
        return found | {
            "id": begun.id,
            "authorize_url": begun.authorize_url,
            "redirect_uri": begun.redirect_uri,
            "expires_in": begun.expires_in,
            "callback": self.authorizations.answered_here(begun.redirect_uri),
        }

    async def login_complete(self, mount: str | None, answer: str) -> dict[str, Any]:
        """The second half: the address that the broker led back to. `mount` None: it came by itself. `LoginFailed`."""
        grant = self._grant(mount) if mount is not None else None
        standing = await self.authorizations.complete(answer, grant)
        return self._shown(standing.grant, standing)

    async def login_wait(self, mount: str, id_: str, seconds: float) -> dict[str, Any]:
        """`{"done": true}` with the login's answer once that has ended well, false after `seconds`. `LoginFailed`."""
        grant = self._grant(mount)
        standing = await self.authorizations.wait(grant, id_, seconds)
        return {"done": False} if standing is None else {"done": True} | self._shown(grant, standing)

    async def revoke(self, mount: str) -> dict[str, Any]:
        """Give a grant up: at the broker where it can be done, and here in any case. Raises `StoreError`."""
        return await self.authorizations.revoke(self._grant(mount))

    async def adopt(self, mount: str) -> dict[str, Any]:
        """Have the newest token tried that is held for a grant, once. `LoginFailed` if nothing was tried."""
        grant = self._grant(mount)
        return self._shown(grant, await (await self._app.keepers.of(grant)).adopt())

    async def _quarantined(self) -> dict[str, Any]:
        return {"grants": await quarantined(self._app.custody.vault, self._app.custody.quarantine)}

    async def begin_login(self, grant: str) -> str:
        """The console's button: the address that logs a grant in. Raises `NotPossible`, `StoreError`."""
        return (await self.authorizations.begin(self._grant(grant))).authorize_url

    async def end_login(self, answer: str) -> Outcome:
        """A redirect that came to the console. Raises `StoreError`."""
        try:
            standing = await self.authorizations.complete(answer)
        except NotCompleted as failed:
            await self._app.acts.record("login-complete", who="console", outcome="failed", grant=failed.grant)
            return Outcome(failed.grant, problem=str(failed))
        await self._app.acts.record("login-complete", who="console", grant=standing.grant)
        return Outcome(standing.grant, self._shown(standing.grant, standing))

    async def close(self) -> None:
        """Let a login that is under way end."""
        await self.authorizations.close()

    def _shown(self, grant: str, standing: Standing) -> dict[str, Any]:
        return shown(standing, self._app.settings.grant(grant))

    def _grant(self, name: str) -> str:
        """The grant of that name, or of the mount of that name; `NAME/PERSON` is a member of it."""
        try:
            return self._app.settings.named(name).name
        except NoSuchGrant as error:
            raise NotPossible(str(error)) from None

    async def clients_add(
        self, name: str, grants: Sequence[str] = (), *, lasts: float | None = None, expires: float | None = None
    ) -> dict[str, Any]:
        """Make a client key. The answer holds it, this once. See `clientele.add`."""
        return await clientele.add(self._app, name, grants, lasts=lasts, expires=expires)

    @asynccontextmanager
    async def lend(self, client: str | None, digest: str) -> AsyncIterator[dict[str, Any]]:
        """Take calls with the key of this SHA-256 for `client`'s, within the block. None: the one client there is."""
        app = self._app
        if app.settings.config.open_to_all:
            yield self._lent(LOCAL.name, app.settings.config.mounts, key_needed=False)
            return
        name, rights = self._borrower(client)
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise NotPossible("a key's digest is its SHA-256: 64 hexadecimal digits")
        self._check_record("lend")
        with app.keys.lent(name, digest):
            await app.acts.record("lend", client=name)
            yield self._lent(name, rights, key_needed=True)

    def _lent(self, client: str, mounts: Iterable[str], *, key_needed: bool) -> dict[str, Any]:
        app = self._app
        roots = {mount: listener.url for listener, mount in app.doors.all() if mount is not None}
        secure = self._secure_url()
        addresses = {"url": app.doors.url, "secure_url": secure, "roots": roots}
        return {"client": client, "key_needed": key_needed, **addresses, "mounts": list(mounts)}

    def _secure_url(self) -> str | None:
        """Where clients call with TLS; None if nowhere."""
        served = (listener.secure_url for listener, mount in self._app.doors.all() if mount is None)
        return next(filter(None, served), None)

    def _borrower(self, client: str | None) -> tuple[str, Mapping[str, Any]]:
        config = self._app.settings.config
        known = {} if isinstance(config.clients, str) else config.clients
        if client is None and len(known) == 1:
            client = next(iter(known))
        if client is None and known:
            raise NotPossible(f"there are several clients; say which: {', '.join(known)}", "bearerd run --client NAME")
        if client is None or client not in known:
            who = "is no client" if client is None else f"is no client '{client}'"
            fix = f"add one under `clients:` in {config.name}, then: bearerd reload"
            raise NotPossible(f"there {who} in the configuration that is loaded", fix)
        return client, known[client]

    async def clients_remove(self, name: str, grant: str | None = None, number: int | None = None) -> dict[str, Any]:
        """Delete all keys of a client, or those bound to a member, or one; they are refused from this moment on."""
        return await clientele.remove(self._app, name, grant, number)
