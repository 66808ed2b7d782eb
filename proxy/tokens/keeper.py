"""The keeper of one grant: hands out its token pair, and renews it once, whoever asks.

It decides nothing itself (`holding.py` does, synchronously) and owns what takes time: one flight at a time, which
belongs to the keeper, so that no request, disconnect or time-out can cancel it, and one timer.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import TypeVar

from proxy import logs
from proxy.brokers import Broker, Environment
from proxy.brokers.definition import Login, LoginKind
from proxy.clock import Clock, Now
from proxy.errors import Refusal
from proxy.secret import Secret
from proxy.store import StoreError
from proxy.store.vault import Vault
from proxy.tokens.answer import sendable
from proxy.tokens.book import Book
from proxy.tokens.grant import DAY, Event, State, TokenPair
from proxy.tokens.holding import Holding
from proxy.tokens.journal import Found, Journal, JournalError
from proxy.tokens.oauth import Exchange, Mint, Plain, Refresh
from proxy.tokens.renewal import Renewal
from proxy.tokens.rotation import Redeems
from proxy.tokens.standing import Standing, login_advice

HOLD = 10.0  # seconds that a call waits for a token
GRACE = 30.0  # seconds that a redeem may still take when the server stops
RESUME = 5.0  # seconds that a start waits for the store to take what the journal held
LONGEST_NAP = 300.0  # seconds between looks at the clock, so that a suspended machine notices

# What each kind of login takes. A refresh token of the code flow may be brought along from elsewhere.
TAKES: Mapping[LoginKind, tuple[type, ...]] = {
    "refresh-token": (Refresh,),
    "code": (Exchange, Refresh),
    "client-credentials": (Mint,),
    "secret": (Plain,),
}

T = TypeVar("T")

log = logs.get("tokens")


class LoginFailed(Exception):
    """A login brought no token. The grant is as it was before. The text is for a person."""


class Keeper:
    """One grant's custody. Made by `app.py`; `start()` first, `close()` last.

    `observe(grant, outcome)` is told of every redeem, for metrics.
    """

    def __init__(
        self,
        name: str,
        *,
        broker: Broker,
        environment: Environment,
        login: Login,
        vault: Vault,
        journal: Journal,
        endpoint: Redeems,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
        observe: Callable[[str, str], None] = lambda _grant, _outcome: None,
    ) -> None:
        self.name = name
        self._clock = clock
        self._held = Holding(name, broker=broker, environment=environment, login=login, clock=clock, jitter=jitter)
        self._renewal = Renewal(self._held, book=Book(name, vault), journal=journal, endpoint=endpoint, observe=observe)
        self._flight: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"Keeper({self.name}, {self._held.state.value}, generation {self._held.grant.generation})"

    # -- what the relay asks for --------------------------------------------------------------------------------------

    async def take(self) -> TokenPair:
        """A live pair, lent until `give_back()`. Waits at most 10 s; raises `Refusal` (503) with what to do."""
        held = self._held
        deadline = asyncio.get_running_loop().time() + HOLD
        while True:
            now = self._clock.now()
            pair = held.serve(now)
            if pair is not None:
                held.turnstile.lend()
                return pair
            self._want(now)
            if not await held.turnstile.change(deadline):
                reason = held.reason or "the token endpoint is slow"
                detail = f"grant {self.name}: no token within {HOLD:.0f} s: {reason}"
                raise Refusal("token-unavailable", detail, retry_after=5)

    def give_back(self) -> None:
        """The exchange that used a lent pair has ended."""
        self._held.turnstile.give_back()

    async def renew(self, stale: int) -> TokenPair | None:
        """The broker refused generation `stale`: a newer pair (lent), or None if its 401 should pass to the client.

        Give the stale pair back first. However many callers name one generation, there is one redeem.
        """
        return await self.take() if self._held.refused(stale, self._clock.now()) else None

    def accepted(self, generation: int) -> None:
        """The broker took the access token of `generation`: after a lost answer, proof that it wasn't spent."""
        if self._held.accepted(generation, self._clock.now()) and self._flight is None:
            _ = self._launch(self._renewal.forget_lost())

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self, found: Iterable[Found] = ()) -> None:
        """Read the stored grant, and adopt what a kill left in the journal. Raises `StoreError`.

        A grant by client credentials that never had a token asks for its first one from here on, by itself.
        """
        await self._renewal.load()
        mine = [item for item in found if item.intent.grant == self.name]
        # As a flight: a store that can be read but not written must not keep the server from serving.
        await asyncio.wait((self._launch(self._renewal.resume(mine)),), timeout=RESUME)

    async def warm(self, seconds: float) -> None:
        """Redeem before serving if the refresh token has been idle for over two days. Waits at most `seconds`."""
        now = self._clock.now()
        grant = self._held.grant
        if grant.refresh_token is None or now.wall - grant.refreshed < 2 * DAY:
            return
        self._want(now)
        if self._flight is not None:
            await asyncio.wait((self._flight,), timeout=seconds)

    async def close(self) -> None:
        """Start no more redeems; let one that is out have its 30 s. Its answer is in the journal if it takes longer."""
        self._held.closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._held.turnstile.tell()
        if self._flight is not None:
            _, late = await asyncio.wait((self._flight,), timeout=GRACE)
            for task in late:
                task.cancel()
                await asyncio.wait((task,))

    def standing(self) -> Standing:
        """How the grant stands now."""
        return self._held.standing()

    # -- the flight and the timer -------------------------------------------------------------------------------------

    def _want(self, now: Now) -> None:
        """Start a redeem unless one is out, one was just tried, or none can help."""
        if self._flight is None and self._held.wants(now):
            _ = self._launch(self._renewal.run())

    def _launch(self, flight: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        # The loop keeps only a weak reference to a task; `_flight` is the strong one.
        task = asyncio.get_running_loop().create_task(flight)
        task.add_done_callback(self._landed)
        self._flight, self._held.flying = task, True
        return task

    def _landed(self, flight: "asyncio.Task[None]") -> None:
        held = self._held
        self._flight, held.flying = None, False
        error = None if flight.cancelled() else flight.exception()
        if error is not None:
            # The text of a foreign exception may hold a token.
            log.error("a redeem failed by a fault of ours", grant=self.name, error=type(error).__name__)
            if held.state is State.REDEEMING:
                held.see(Event.ANSWER_LOST)
            held.back_off("bearerd failed while renewing")
        held.turnstile.reopen()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._held.closing:
            nap = min(self._held.look_in(self._clock.now()), LONGEST_NAP)
            self._timer = asyncio.get_running_loop().call_later(nap, self._on_timer)

    def _on_timer(self) -> None:
        now = self._clock.now()
        self._held.watch(now)
        if self._held.due_in(now) <= 0:
            self._want(now)
        if self._flight is None:
            self._set_timer()

    async def _alone(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` as the one flight: it ends even if the caller leaves. `JournalError` and `StoreError` pass."""
        while self._flight is not None:
            await asyncio.wait((self._flight,))
        results: list[T] = []
        faults: list[JournalError | StoreError] = []

        async def flight() -> None:
            try:
                results.append(await work())
            except (JournalError, StoreError) as fault:
                faults.append(fault)

        await asyncio.shield(self._launch(flight()))
        if faults:
            raise faults[0]
        return results[0]

    # -- what an operator asks for ------------------------------------------------------------------------------------

    async def login(self, wish: Refresh | Exchange | Mint | Plain, lineage: str) -> Standing:
        """Log in by what a person, or the browser, brought. Raises `LoginFailed`; the old grant then stands.

        Refresh tokens and codes are spent through the same steps as in a rotation; a plain secret is posted nowhere.
        `lineage` names this login among all logins.
        """
        held = self._held
        if not isinstance(wish, TAKES[held.login.kind]):
            raise LoginFailed(f"grant {self.name} logs in by '{held.login.name}', which takes something else")
        if isinstance(wish, Plain):
            return await self._install(wish, lineage)
        try:
            outcome = await self._alone(lambda: self._renewal.login(wish, lineage))
        except JournalError as error:
            raise LoginFailed(f"nothing was sent, because the answer could not be saved: {error}") from None
        except StoreError as error:
            raise LoginFailed(f"the new token is in the journal, but the store fails: {error}") from None
        if outcome.event is not Event.ANSWER_KEPT:
            advice = login_advice(outcome, wish, broker=held.broker, environment=held.environment, login=held.login)
            raise LoginFailed(advice)
        return self.standing()

    async def _install(self, plain: Plain, lineage: str) -> Standing:
        parts = self._held.login.placement.parts
        if not sendable(plain.secret, parts):
            form = "first:second, both" if parts > 1 else "one word"
            raise LoginFailed(f"that is no credential of this login: it is {form} of printable ASCII without spaces")
        try:
            await self._alone(lambda: self._renewal.install(plain.secret, lineage))
        except StoreError as error:
            raise LoginFailed(f"nothing has changed, because the store fails: {error}") from None
        return self.standing()

    async def forget(self) -> Secret | None:
        """Give the authorization up: no token is kept. The generation counts on. Raises `StoreError`.

        Returns what was held last, for the broker to be told: the access token or, without one, the refresh token.
        """
        return await self._alone(self._renewal.give_up)

    @property
    def refresh_token(self) -> Secret | None:
        """For revoking at the broker only; a redeem reads its own under the journal's lock."""
        return self._held.grant.refresh_token

    @property
    def access_token(self) -> Secret | None:
        return self._held.grant.access_token

    def serves(self, broker: str, environment: str, login: str) -> bool:
        """Whether this grant belongs there: a token of one environment or login is worth nothing in another."""
        return (self._held.issuer, self._held.login.name) == (f"{broker}/{environment}", login)

    def redefine(self, broker: Broker, environment: Environment, login: Login, endpoint: Redeems) -> None:
        """The configuration changed: use the new definition from the next redeem on, and try at once what failed."""
        held = self._held
        held.define(broker, environment, login)
        held.hold(held.grant)
        self._renewal.endpoint = endpoint
        # A pair that may not be served waits for the very change that its message asks for.
        if held.state is State.STOPPED or (held.state is State.FRESH and held.pair is None):
            held.patience.reset()
            self._want(self._clock.now())
        if self._flight is None:
            self._set_timer()
