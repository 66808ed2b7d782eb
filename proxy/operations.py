"""What an operator asks of a running bearerd: how does it stand, logins, client keys. By `admin.py` and the console."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from proxy import clientele, halting, partneroauth
from proxy.admin import NotPossible as NotPossible  # noqa: PLC0414  the command line finds it here
from proxy.admission import Mount
from proxy.adoption import quarantined
from proxy.audit.acts import ON_RECORD, WIDENS
from proxy.audit.caller import caller
from proxy.audit.calls import Calls
from proxy.authorizations import Authorizations, NotCompleted, asked, shown
from proxy.console.callback import Outcome
from proxy.console.recent import Recent, Wanted, newest
from proxy.gate.clients import LOCAL
from proxy.history import History
from proxy.overview import Overseen, Overview, secure_url
from proxy.settings import NoSuchGrant
from proxy.tokens.oauth import TokenEndpoint
from proxy.tokens.standing import Standing

Command = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]

# What the console may ask for. All else is for programs of this machine's own user.
FROM_CONSOLE = frozenset(
    {"login", "login-begin", "revoke", "clients-add", "clients-list", "clients-rotate", "clients-remove", "halt"}
    | {"resume", "reload"}
)


class Running(Overseen, Protocol):
    """What an operator's wishes are about: a running `App`."""

    history: History
    calls: Calls
    commands: Mapping[str, Any]  # those of the admin socket

    @property
    def console_url(self) -> str | None: ...
    def endpoint(self, grant: str) -> TokenEndpoint: ...
    def mount(self, name: str) -> Mount: ...
    def rendered_metrics(self) -> bytes: ...
    async def reload(self, *, dry_run: bool = False) -> dict[str, Any]: ...


class Operations:
    """The operator's side of an `App`."""

    def __init__(self, app: Running) -> None:
        self._app = app
        self.authorizations = Authorizations(app)
        self.overview = Overview(app, self.authorizations.begins_here)
        self.status, self.ready, self.serves = self.overview.status, self.overview.ready, self.overview.serves

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
            "alerts-test": self._test_alerts,
            "reload": lambda wish: self._app.reload(dry_run=wish.get("dry_run") is True),
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

    async def _test_alerts(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        return await self._app.alerts.test(wish)

    async def _ready(self, _wish: Mapping[str, Any]) -> dict[str, Any]:
        word, lines = self.ready()
        return {"ready": word, "lines": lines}

    async def _console(self, _wish: Mapping[str, Any]) -> dict[str, Any]:
        """The console's address with its token: for whoever asks for just that."""
        return {"url": self._app.console_url}

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

    # -- for the console ----------------------------------------------------------------------------------------------

    async def act(self, command: str, wish: Mapping[str, Any]) -> dict[str, Any]:
        """A command of the admin socket, asked for at the console: with workers, and on record as the console's.

        Raises what the command raises, and `NotPossible` for one that the console has no business with.
        """
        if command not in FROM_CONSOLE:
            raise NotPossible(f"the console can't do `{command}`")
        token = caller.set("console")
        try:
            answer: dict[str, Any] = await self._app.commands[command](wish)
        finally:
            caller.reset(token)
        return answer

    def asked(self, grant: str) -> dict[str, Any]:
        """What a login of this grant asks of a person, and where on the broker's pages it is. Raises `NotPossible`."""
        return asked(self._app.settings.grant(self._grant(grant)))

    def history(self) -> History:
        """What was counted in the last hour and day."""
        return self._app.history

    async def recent(self, wanted: Wanted, count: int) -> Recent:
        """The newest calls that fit, off the end of the audit trail. Never raises."""
        return await asyncio.to_thread(newest, self._app.custody.trail.directory, wanted, count)

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
        secure = secure_url(app.doors)
        addresses = {"url": app.doors.url, "secure_url": secure, "roots": roots}
        return {"client": client, "key_needed": key_needed, **addresses, "mounts": list(mounts)}

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
