"""A keeper at home: a token endpoint that follows a script, custody in memory, and time that jumps."""

import asyncio
import contextlib
import json
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from proxy.brokers import AnswerRule, Broker, Environment, HostPattern, Origin, builtin
from proxy.brokers.definition import Api, Endpoints, Login
from proxy.clock import Now
from proxy.errors import Refusal
from proxy.gate.scopes import ScopeTable
from proxy.outbound import Lost, NotSent
from proxy.secret import Secret
from proxy.store import StoreError
from proxy.store.disk import MemoryDisk
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.book import Book
from proxy.tokens.grant import Grant, State
from proxy.tokens.journal import Intent, Journal, Slot
from proxy.tokens.keeper import Keeper
from proxy.tokens.oauth import Exchange, Mint, Plain, RawAnswer, Refresh, Wish

T = TypeVar("T")

QUESTRADE = builtin("questrade")
LIVE = QUESTRADE.environments["live"]
PASTED = QUESTRADE.login()
JOURNAL = Path("/state/journal")
WALL, BOOT = 1_772_557_200.0, 5_000.0
LIFE = 1800.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
BAD_REQUEST = RawAnswer(400, "text/plain", b"Bad Request")

# Logins as the fact sheets of their brokers have them.
TRADIER = Login("connect", "code", client_auth="basic", refresh_token_life=None, expires_in=86400.0)
CONNECT = Login("connect", "code", client_auth="form", expires_in=None)
CLIENT = Login("client-credentials", "client-credentials", client_auth="form", renew_at=0.8)
KEYS = Login("keys", "secret", expires_in=None)
SCHWAB = Login("code", "code", client_auth="basic", refresh_token_life=7 * DAY, life_counts_from="login")


def broker_with(login: Login, title: str = "Tradier") -> Broker:
    """A broker with that one login, and API servers that only its definition names."""
    api = Origin("api.broker.example", 443)
    environment = Environment(
        "live",
        logins={login.name: Endpoints("https://login.broker.example/token")},
        api_hosts=(HostPattern.parse("api.broker.example"),),
        api_servers={"main": api},
    )
    return Broker(
        title.lower(),
        title,
        scopes={},
        environments={"live": environment},
        apis={"main": Api("main", ScopeTable((), {}))},
        logins={login.name: login},
        dead_token=(AnswerRule(400, json=(("error", "invalid_grant"),)), AnswerRule(400, text="Bad Request")),
        misconfigured=(AnswerRule(json=(("error", "invalid_client"),)),),
    )


class _Selector(selectors.DefaultSelector):
    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.loop.rounds += 1
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self.loop.threads or timeout is None:
            return super().select(0.05 if self.loop.threads else None)
        self.loop.jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time stands still while there is work, and jumps to the next timer when there is none. Threads are waited for."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.threads = 0
        self.rounds = 0
        self._virtual = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self._virtual

    def jump(self, seconds: float) -> None:
        self._virtual += seconds

    def run_in_executor(  # type: ignore[override]  # its own type needs a newer Python
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        future = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    async def shutdown_default_executor(self, *options: float | None) -> None:
        with self.standing_still():
            await super().shutdown_default_executor(*options)

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Threads that the loop does not know of are at work."""
        self.threads += 1
        try:
            yield
        finally:
            self.threads -= 1

    def _thread_ended(self, _future: object) -> None:
        self.threads -= 1


class TimelessJournal(Journal):
    """A journal whose disk takes no virtual time."""

    async def begin(self, intent: Intent) -> Slot:
        with _standing_still():
            return await super().begin(intent)

    async def sync(self, slot: Slot) -> None:
        with _standing_still():
            await super().sync(slot)


def _standing_still() -> contextlib.AbstractContextManager[None]:
    loop = asyncio.get_running_loop()
    return loop.standing_still() if isinstance(loop, VirtualLoop) else contextlib.nullcontext()


@dataclass
class LoopClock:
    """Both clocks by the loop's time. `step` moves the wall clock alone, as an administrator would.

    `asleep` moves both, while timers stand still: the machine was suspended.
    """

    step: float = 0.0
    asleep: float = 0.0

    def now(self) -> Now:
        time = asyncio.get_running_loop().time() + self.asleep
        return Now(WALL + time + self.step, BOOT + time)


Act = str | RawAnswer | Mapping[str, object] | Exception | Callable[[], Coroutine[None, None, None]]


@dataclass
class ScriptedBroker:
    """A token endpoint. Refresh tokens R0, R1, … and codes C0, C1, … work once each, client credentials always.

    `script` holds what goes wrong, request by request. An act is `ok`, `lost-before`, `lost-after` (the token is
    spent), `not-sent`, a whole answer, fields that replace those of a good answer, an exception, or something to await
    before a good answer. `answer` are fields of every good answer; None leaves one out.
    """

    script: deque[Act] = field(default_factory=deque)
    issued: int = 0
    life: object = LIFE
    delay: float = 0.0
    posts: list[tuple[float, str]] = field(default_factory=list)
    always: Act = "ok"
    answer: Mapping[str, object] = field(default_factory=dict)
    steady: str | None = None  # a refresh token that is not rotated

    async def ask(self, wish: Wish, arrived: Callable[[RawAnswer], None]) -> RawAnswer:
        raw = await self._perform(wish.secret.reveal() if wish.secret is not None else "client")
        arrived(raw)
        return raw

    async def _perform(self, posted: str) -> RawAnswer:
        self.posts.append((asyncio.get_running_loop().time(), posted))
        act = self.script.popleft() if self.script else self.always
        await asyncio.sleep(self.delay)
        match act:
            case "not-sent":
                raise NotSent("the connection was refused or could not be made")
            case "lost-before":
                raise Lost("the connection was lost before an answer came")
            case "lost-after":
                self.spend(posted)
                raise Lost("the connection was lost before an answer came")
            case RawAnswer():
                return act
            case Exception():
                raise act
            case _ if callable(act):
                await act()
            case _:
                pass
        return self._answer(posted, act if isinstance(act, Mapping) else {})

    def _answer(self, posted: str, changes: Mapping[str, object]) -> RawAnswer:
        if not self.spend(posted):
            return BAD_REQUEST
        fields: dict[str, object] = {
            "access_token": f"A{self.issued}",
            "api_server": "https://api01.iq.questrade.com/",
            "expires_in": self.life,
            "refresh_token": f"R{self.issued}",
            "token_type": "Bearer",
        }
        whole = {**fields, **self.answer, **changes}
        fields = {name: value for name, value in whole.items() if value is not None}
        return RawAnswer(200, "application/json", json.dumps(fields).encode())

    def spend(self, posted: str) -> bool:
        if posted not in {f"R{self.issued}", f"C{self.issued}", "client", self.steady}:
            return False
        self.issued += 1
        return True

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.posts]


class Home:
    """One grant's keeper and everything below it. `restart()` is a kill and a new start on what was left."""

    def __init__(
        self,
        broker: Broker = QUESTRADE,
        environment: Environment | None = None,
        jitter: float = 0.5,
        login: Login | None = None,
    ) -> None:
        self.broker = broker
        self.name = broker.name
        self.environment = environment or broker.environments["live"]
        self.login = login or broker.login()
        self.jitter = jitter
        self.endpoint = ScriptedBroker()
        self.clock = LoopClock()
        self.store = MemoryStore()
        self.disk = MemoryDisk()
        self.observed: list[str] = []
        self.sealer = Sealer(bytes(range(32)), self.store.store_id)
        self.vault = Vault(self.store, self.sealer)
        self.book = Book(self.name, self.vault)
        self.keeper: Keeper
        self.journal: Journal

    async def open(self, *, start: bool = True) -> None:
        self.journal = await TimelessJournal.open(JOURNAL, self.sealer, files=self.disk)
        await self.take_up(start=start)

    async def take_up(self, *, start: bool = True) -> None:
        """A new keeper on the journal and the store that are there, as a reload makes one."""
        self.keeper = Keeper(
            self.name,
            broker=self.broker,
            environment=self.environment,
            login=self.login,
            vault=self.vault,
            journal=self.journal,
            endpoint=self.endpoint,
            clock=self.clock,
            jitter=lambda: self.jitter,
            observe=lambda _grant, outcome: self.observed.append(outcome),
        )
        if start:
            await self.keeper.start(self.journal.found())

    @classmethod
    async def of(
        cls, login: Login, *, life: object = LIFE, title: str = "Tradier", refreshes: bool = False, **answer: object
    ) -> "Home":
        """A home with that one login, open. No answer names a refresh token unless it `refreshes`."""
        home = cls(broker_with(login, title))
        home.endpoint.life = life
        home.endpoint.answer = {"api_server": None, **({} if refreshes else {"refresh_token": None}), **answer}
        await home.open()
        return home

    def wish(self) -> Refresh | Exchange | Mint | Plain:
        """What a person, or the browser, would bring for the next login."""
        match self.login.kind:
            case "refresh-token":
                return Refresh(Secret(f"R{self.endpoint.issued}"))
            case "code":
                return Exchange(Secret(f"C{self.endpoint.issued}"))
            case "client-credentials":
                return Mint()
            case "secret":
                return Plain(Secret("plain-secret"))

    async def log_in(self, lineage: str = "login-1") -> None:
        await self.keeper.login(self.wish(), lineage)
        self.endpoint.posts.clear()
        self.observed.clear()

    async def restart(self, *, off: float = 0.0) -> None:
        """`kill -9`, `off` seconds later a new process. The old keeper's tasks end without a trace."""
        disk = self.disk.after_kill()
        self.store = self.store.reopened()
        self.vault = Vault(self.store, self.sealer)
        self.book = Book(self.name, self.vault)
        await self.close(kill=True)
        self.disk = disk
        await asyncio.sleep(off)
        await self.open()

    async def close(self, *, kill: bool = False) -> None:
        if kill and self.keeper._flight is not None:
            self.keeper._flight.cancel()
        await self.keeper.close()
        await self.journal.close()

    async def store_fails(self) -> None:
        """From now on. Also an act of the broker: it does so while it answers."""
        self.store.failure = StoreError("the disk is full")

    async def call(self) -> str:
        """One call of a client that ends at once: the access token it was served with."""
        pair = await self.keeper.take()
        self.keeper.give_back()
        return pair.access_token.reveal()

    async def refused(self) -> Refusal:
        """The refusal that a call gets."""
        try:
            token = await self.call()
        except Refusal as refusal:
            return refusal
        raise AssertionError(f"served with {token}")

    async def calls(self, count: int) -> list[str]:
        """So many calls at once."""
        return await asyncio.gather(*(self.call() for _ in range(count)))

    async def keep_calling(self, seconds: float, every: float = MINUTE) -> None:
        """Calls that take what they get, for so long."""
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(every)
            try:
                await self.call()
            except Refusal:
                continue

    @property
    def state(self) -> State:
        return self.keeper.standing().state

    @property
    def reason(self) -> str:
        return self.keeper.standing().reason

    def redefine(self, **changes: Any) -> None:
        """The configuration changed: another environment's values."""
        self.environment = replace(self.environment, **changes)
        self.keeper.redefine(self.broker, self.environment, self.login, self.endpoint)

    async def stored(self) -> Grant:
        grant = await self.book.read()
        assert grant is not None
        return grant

    async def stored_token(self) -> str:
        """The refresh token that the store holds."""
        token = (await self.stored()).refresh_token
        return token.reveal() if token else ""


def warnings(caplog: pytest.LogCaptureFixture) -> list[int]:
    """Each warning so far that a login ends: the seconds that were left."""
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [line["ends_in"] for line in lines if line["event"] == "a login ends soon"]


async def settle() -> None:
    """Let everything run that needs no time."""
    await asyncio.sleep(0.001)


@dataclass(frozen=True)
class Noting(AnswerRule):
    """A rule that never holds and notes when an answer is read."""

    notes: list[str] = field(default_factory=list)

    def matches(self, status: int, _content_type: str | None, body: bytes) -> bool:  # noqa: ARG002
        self.notes.append("read")
        return False
