"""The authorizations that a person gives and takes back, in a running server: each kind of login, and revoking.

A login over the broker's own page has two halves, `begin` and `complete`, and any number of programs may `wait` for its
end. Once the second half has begun, it runs to its end whoever leaves: a code works once.
"""

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from proxy import logs
from proxy.admin import NotPossible
from proxy.clock import Clock
from proxy.custody import Custody
from proxy.gate.browser import Hosts
from proxy.keepers import Keepers
from proxy.outbound import Lost, NotSent
from proxy.secret import Secret
from proxy.settings import GrantSettings, NoSuchGrant, Settings
from proxy.tokens.errands import LoginFailed
from proxy.tokens.login import Begun, LoginRefused, Logins, Wanted, member_named
from proxy.tokens.oauth import Mint, Plain, Refresh, TokenEndpoint
from proxy.tokens.redirect import Unreadable, place
from proxy.tokens.standing import Standing

CALLBACK = "/callback"
LONGEST_WAIT = 60.0  # seconds
GRACE = 30.0  # seconds that a login under way may still take when the server stops
_STEP = 0.5  # seconds
_MOST_REMEMBERED = 64  # logins whose end is remembered for those who ask late
_ON_THE_WEB = ("http://", "https://")
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
GONE = "that login is no longer under way; begin it anew"

T = TypeVar("T")

log = logs.get("logins")


class Running(Protocol):
    """What it needs of an `App`."""

    settings: Settings
    clock: Clock
    stopping: bool
    custody: Custody
    keepers: Keepers

    @property
    def console_address(self) -> str | None: ...
    def endpoint(self, grant: str) -> TokenEndpoint: ...


class NotCompleted(LoginFailed):
    """A login over the broker's page came to nothing. `grant` is None if the answer belonged to no login."""

    def __init__(self, message: str, grant: str | None) -> None:
        super().__init__(message)
        self.grant = grant


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a login ended: with a standing, or with a problem, in words for a person."""

    standing: Standing | None
    problem: str = ""


class Authorizations:
    """Logs grants in and revokes them. Grants are named as in the configuration, members of them `GRANT/PERSON`; one
    that cannot be: `LookupError`.

    What has a broker's or a person's no in it raises `LoginFailed`, what makes no sense as things stand `NotPossible`;
    `StoreError` passes.
    """

    def __init__(self, app: Running) -> None:
        self._app = app
        self._logins = Logins(app.custody.vault, app.clock)
        self._ends: OrderedDict[str, asyncio.Future[_Ended]] = OrderedDict()  # by a login's id
        self._flights: set[asyncio.Task[Any]] = set()

    async def give(self, grant: str, token: str | None) -> Standing:
        """Log in with what somebody has typed: a refresh token, or a secret (two parts as `first:second`).

        Client credentials need none: they are in the configuration.
        """
        settings = self._app.settings.grant(grant)
        keeper, lineage = await self._app.keepers.of(grant), secrets.token_hex(8)
        kind, parts = settings.login.kind, settings.login.placement.parts
        if kind == "client-credentials":
            return await keeper.login(Mint(), lineage)
        if not token:
            how = "the broker's page" if kind == "code" else ", ".join(settings.login.asks) or "a token"
            raise NotPossible(f"a login of {grant} needs {how}", f"bearerd login {grant}")
        if kind != "secret":  # of the code flow too: a refresh token may have been had elsewhere
            return await keeper.login(Refresh(Secret(token)), lineage)
        if parts > 1 and not all(token.partition(":")[::2]):
            raise NotPossible(f"a login of {grant} needs {parts} parts: {', '.join(settings.login.asks)}")
        return await keeper.login(Plain(Secret(token)), lineage)

    async def begin(self, grant: str) -> Begun:
        """The first half of a login over the broker's page: the address to open there."""
        wanted = self._wanted(self._app.settings.grant(grant))
        if wanted is None:
            raise NotPossible(
                f"{grant} has no address that the broker could lead back to: there is no console on a TCP port",
                f"set grants.{grant.partition('/')[0]}.redirect_uri to the one that is registered with the broker",
            )
        begun = await self._logins.begin(wanted)
        for id_, end in self._ends.items():
            if id_.startswith(f"{grant}/"):
                _settle(end, _Ended(None, "another login has been begun in its place"))
        _ = self._expect(grant, begun.id)
        log.info("a login was begun", grant=grant)
        return begun

    async def complete(self, answer: str, grant: str | None = None) -> Standing:
        """The second half: `answer` is the address that the broker led back to, or its query."""
        return await self._in_flight(self._complete(answer, grant))

    async def _complete(self, answer: str, grant: str | None) -> Standing:
        known = self._known(answer)
        try:
            taken = await self._logins.take(answer, known, grant=grant)
        except LoginRefused as error:
            log.warning("an answer to a login was refused", grant=error.grant, reason=str(error))
            if error.grant is not None and error.id is not None:
                self._end(error.grant, error.id, _Ended(None, str(error)))
            raise NotCompleted(str(error), error.grant) from None
        ended = _Ended(None, "bearerd failed; its log says where")
        try:
            keeper = await self._app.keepers.of(taken.grant)
            standing = await keeper.login(taken.exchange, secrets.token_hex(8))
            ended = _Ended(standing)
        except LoginFailed as error:
            ended = _Ended(None, str(error))
            raise NotCompleted(str(error), taken.grant) from None
        finally:
            self._end(taken.grant, taken.id, ended)
        log.info("a login was completed", grant=taken.grant)
        return standing

    def _known(self, answer: str) -> dict[str, Wanted]:
        """The logins that an answer may complete: those of configured grants, and of the member that it names."""
        names, settings = list(self._app.settings.grants), self._app.settings
        member = member_named(answer)
        if member is not None:
            with contextlib.suppress(NoSuchGrant):
                names.append(settings.grant(member).name)
        wanted = {name: self._wanted(settings.grant(name)) for name in names}
        return {name: each for name, each in wanted.items() if each is not None}

    async def wait(self, grant: str, id_: str, seconds: float) -> Standing | None:
        """How the login `id_` ended, as soon as it does; None if it has not within `seconds` (at most 60)."""
        under_way = await self._logins.waiting(grant)
        mine = under_way is not None and under_way[0] == id_
        end = self._ends.get(f"{grant}/{id_}")
        if end is None:
            if not mine:
                raise LoginFailed(GONE)
            end = self._expect(grant, id_)
        left = under_way[1] if under_way is not None and mine else LONGEST_WAIT
        loop = asyncio.get_running_loop()
        until = loop.time() + max(0.0, min(seconds, left, LONGEST_WAIT))
        # In steps: nobody who waits here may hold up a stop.
        while not (end.done() or self._app.stopping) and (rest := until - loop.time()) > 0:
            await asyncio.wait((end,), timeout=min(rest, _STEP))
        if not end.done():
            if left <= 0:
                raise LoginFailed("nobody has completed the login in time; begin it anew")
            return None
        ended = end.result()
        if ended.standing is None:
            raise LoginFailed(ended.problem)
        return ended.standing

    async def revoke(self, grant: str) -> dict[str, Any]:
        """Give a grant up: at the broker where it can be done, and here in any case."""
        keeper = await self._app.keepers.of(grant)
        if "/" in grant and not keeper.standing().generation:
            # Most likely a slip of the pen: it must leave no record of a person who was never here.
            raise NotPossible(f"nobody has ever logged in as {grant}; nothing was revoked")
        answers = [await self._tell_broker(grant, None)]

        async def tell(token: Secret) -> None:
            answers.append(await self._tell_broker(grant, token))

        await self._logins.end(grant)
        await keeper.forget(tell)
        told, message = answers[-1]
        return {"grant": grant, "broker_told": told, "message": message}

    async def _tell_broker(self, grant: str, token: Secret | None) -> tuple[bool, str]:
        """Whether the broker has revoked a token, and a sentence about that for a person."""
        settings = self._app.settings.grant(grant)
        if settings.endpoints.revoke_url is None:
            return False, _by_hand(settings)
        if token is None:
            return False, "no token was held that the broker could be told of"
        try:
            answer = await self._app.endpoint(grant).revoke(token)
        except (NotSent, Lost) as error:
            return False, f"the broker could not be told: {error}"
        told = 200 <= answer.status < 300  # noqa: PLR2004
        return told, "the broker was told" if told else f"the broker answered {answer.status} to the revocation"

    def answered_here(self, redirect_uri: str) -> bool:
        """Whether our console is what the broker leads back to."""
        console = self._app.console_address
        if console is None or not console.startswith(_ON_THE_WEB):
            return False
        try:
            scheme, host, port, path = place(redirect_uri)
            own_scheme, own, own_port, _ = place(console)
        except Unreadable:
            return False
        named = Hosts(self._app.settings.config.allowed_hosts).allow(f"{host}:{port}".encode())
        ours = host == own or (host == "localhost" and own in _LOOPBACK)
        return (scheme, path, port) == (own_scheme, CALLBACK, own_port) and (ours or named)

    def begins_here(self, grant: str) -> bool:
        """Whether a browser that is at the console can log this grant in."""
        wanted = self._wanted(self._app.settings.grant(grant))
        return wanted is not None and self.answered_here(wanted.redirect_uri)

    def _wanted(self, grant: GrantSettings) -> Wanted | None:
        """The grant's login over the broker's page; None if it has none, or nowhere to lead back to."""
        console = self._app.console_address
        default = console.rstrip("/") + CALLBACK if console is not None and console.startswith(_ON_THE_WEB) else None
        redirect_uri = grant.redirect_uri or default
        if grant.login.kind != "code" or grant.client_id is None or redirect_uri is None:
            return None
        return Wanted(grant.name, grant.login, grant.endpoints, grant.client_id, redirect_uri, grant.scopes)

    # -- ends and flights ---------------------------------------------------------------------------------------------

    def _expect(self, grant: str, id_: str) -> "asyncio.Future[_Ended]":
        end: asyncio.Future[_Ended] = asyncio.get_running_loop().create_future()
        self._ends[f"{grant}/{id_}"] = end
        while len(self._ends) > _MOST_REMEMBERED:
            self._ends.popitem(last=False)
        return end

    def _end(self, grant: str, id_: str, ended: _Ended) -> None:
        _settle(self._ends.get(f"{grant}/{id_}") or self._expect(grant, id_), ended)

    async def _in_flight(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` to its end even if the caller leaves: a browser, or a command that was broken off."""
        task = asyncio.get_running_loop().create_task(work)
        self._flights.add(task)
        task.add_done_callback(self._landed)
        return await asyncio.shield(task)

    def _landed(self, task: "asyncio.Task[Any]") -> None:
        self._flights.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, LoginFailed):
            # The text of a foreign exception may hold a code.
            log.error("a login failed", error=type(error).__name__)

    async def close(self) -> None:
        """Let a login whose code is out end."""
        if self._flights:
            _, late = await asyncio.wait(set(self._flights), timeout=GRACE)
            for task in late:
                task.cancel()


def missing(settings: GrantSettings, granted: tuple[str, ...]) -> list[str]:
    """The scopes that mounts want and the login did not bring; none if the broker did not say what it brought."""
    return [scope for scope in settings.scopes if scope not in granted] if granted else []


def shown(standing: Standing, settings: GrantSettings) -> dict[str, Any]:
    """A grant's standing as plain data."""
    return {
        "grant": standing.grant,
        "broker": standing.broker,
        "environment": standing.environment,
        "login": standing.login,
        "login_kind": standing.login_kind,
        "state": standing.state.value,
        "usable": standing.usable,
        "reason": standing.reason,
        "warning": standing.warning,
        "fix": standing.fix,
        "since": standing.since,
        "generation": standing.generation,
        "api_host": standing.origin,
        "access_expires": standing.access_expires,
        "next_renewal": standing.next_renewal,
        "refreshed": standing.refreshed,
        "dies": standing.dies,
        "ends": standing.ends,
        "granted": list(standing.granted),
        "missing": missing(settings, standing.granted),
    }


def asked(settings: GrantSettings) -> dict[str, Any]:
    """What a login of this grant asks of a person."""
    return {
        "grant": settings.name,
        "kind": settings.login.kind,
        "title": settings.login.title or settings.broker.title,
        "asks": list(settings.login.asks),
        "login_page": settings.endpoints.login_page,
    }


def _by_hand(settings: GrantSettings) -> str:
    where = f": {settings.endpoints.login_page}" if settings.endpoints.login_page else ""
    match settings.login.kind:
        case "secret":
            return f"the broker still takes it; delete it on the broker's page{where}"
        case "client-credentials":
            return f"client_id and client_secret make new tokens until they are deleted on the broker's page{where}"
        case _:
            return f"the broker has no revoke endpoint; remove the application's access on its page{where}"


def _settle(end: "asyncio.Future[_Ended]", ended: _Ended) -> None:
    if not end.done():
        end.set_result(ended)
