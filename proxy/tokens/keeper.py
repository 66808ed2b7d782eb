"""The keeper of one grant: hands out its token pair, and renews it once, whoever asks.

It decides nothing itself (`holding.py` does, synchronously) and owns what takes time: one flight at a time, which
belongs to the keeper, so that no request, disconnect or time-out can cancel it, and one timer.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import TypeVar

from proxy import logs
from proxy.brokers import Broker, Environment
from proxy.brokers.definition import Login
from proxy.clock import Clock, Now
from proxy.errors import Refusal
from proxy.secret import Secret
from proxy.store import StoreError
from proxy.store.vault import Vault
from proxy.tokens.book import Book
from proxy.tokens.errands import Errands
from proxy.tokens.grant import DAY, Event, Grant, State, TokenPair
from proxy.tokens.holding import Holding
from proxy.tokens.journal import Found, Journal, JournalError
from proxy.tokens.lanes import OPEN_LANE, Turns
from proxy.tokens.oauth import Exchange, Mint, Plain, Refresh
from proxy.tokens.quarantine import Quarantine
from proxy.tokens.renewal import Renewal
from proxy.tokens.rotation import Redeems
from proxy.tokens.settlement import COMMIT_AGAIN
from proxy.tokens.standing import Standing

HOLD = 10.0  # seconds that a call waits for a token
GRACE = 30.0  # seconds that a redeem may still take when the server stops
RESUME = 5.0  # seconds that a start waits for the store to take what the journal held
LOOK_AGAIN = 0.1  # seconds at least between looks at the row for calls that would be refused
STORE_REST = 5.0  # likewise, once the store has failed to answer
LONGEST_NAP = 300.0  # seconds between looks at the clock, so that a suspended machine notices

T = TypeVar("T")

log = logs.get("tokens")


class Keeper:
    """One grant's custody. `start()` first, `close()` last.

    `observe(grant, outcome)` is told of every redeem, for metrics. `quarantine` is what was found about the store: it
    is changed in place, and `recheck()` is called then. `lane` bounds the requests to one token endpoint.
    """

    __slots__ = ("_clock", "_errands", "_flight", "_held", "_look_after", "_looking", "_renewal", "_timer", "name")

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
        quarantine: Quarantine | None = None,
        lane: Turns = OPEN_LANE,
    ) -> None:
        self.name = name
        self._clock = clock
        self._held = Holding(
            name,
            broker=broker,
            environment=environment,
            login=login,
            clock=clock,
            jitter=jitter,
            quarantine=quarantine,
        )
        book = Book(name, vault, journal.holder)
        self._renewal = Renewal(self._held, book=book, journal=journal, endpoint=endpoint, observe=observe, lane=lane)
        self._errands = Errands(self._held, self._renewal, self._alone)
        self._flight: asyncio.Task[None] | None = None
        self._looking = False  # whether that flight only reads the row
        self._look_after = -math.inf  # when a call that would be refused may have it read again
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
            try:
                pair = held.serve(now)
            except Refusal:
                if await self._learned(now):
                    continue
                raise
            if pair is not None:
                held.turnstile.lend()
                return pair
            self._want(now)
            if self._flight is None:
                held.patience.hasten(now.boot)
                self._set_timer()
            if not await held.turnstile.change(deadline):
                reason = held.reason or "the token endpoint is slow"
                detail = f"grant {self.name}: no token within {HOLD:.0f} s: {reason}"
                raise Refusal("token-unavailable", detail, retry_after=5)

    def take_now(self, now: Now | None = None) -> TokenPair | None:
        """A live pair at once, lent until `give_back()`. None where `take()` would have more to do: nothing is lent.

        `now`: for whoever has just looked at the clock.
        """
        held = self._held
        pair = held.at_hand(now or self._clock.now())
        if pair is not None:
            held.turnstile.lend()
        return pair

    async def _learned(self, now: Now) -> bool:
        """Whether the row, which peers may have moved, helps a call that nothing held here does."""
        if not self._renewal.shared or not (self._looking or now.boot >= self._look_after):
            return False
        held = self._held
        before, self._look_after = (held.grant.generation, held.state), now.boot + LOOK_AGAIN
        try:
            await self._look_once()
        except StoreError:
            self._look_after = now.boot + STORE_REST
        return before != (held.grant.generation, held.state)

    def give_back(self) -> None:
        """The exchange that used a lent pair has ended."""
        self._held.turnstile.give_back()

    async def renew(self, stale: int) -> TokenPair | None:
        """The broker refused generation `stale`: a newer pair (lent), or None if its 401 should pass to the client.

        Give the stale pair back first. However many callers name one generation, there is one redeem. A peer may have
        renewed it already: where there are peers the row is read before anything else is thought of it.
        """
        if self._renewal.shared and stale == self._held.grant.generation:
            with suppress(StoreError):
                await self._look_once()
        return await self.take() if self._held.refused(stale, self._clock.now()) else None

    def accepted(self, generation: int) -> None:
        """The broker took the access token of `generation`: after a lost answer, proof that it wasn't spent."""
        held = self._held
        if held.state is not State.UNCERTAIN and generation != held.in_doubt:
            return
        if held.accepted(generation, self._clock.now()) and self._flight is None:
            _ = self._launch(self._renewal.old_token_lives())

    # -- what those ask who lend it elsewhere --------------------------------------------------------------------------

    def watched(self, closing: Callable[[], None], opened: Callable[[], None]) -> None:
        """See `Turnstile`: calls in other processes use this grant, too."""
        self._held.turnstile.closing, self._held.turnstile.opened = closing, opened

    def lend(self) -> None:
        """A call elsewhere may be using the pair; `give_back()` when it is certain that none does."""
        self._held.turnstile.lend()

    def lendable(self) -> TokenPair | None:
        """What a call would be lent at this moment, without a wait; nothing changes."""
        return self._held.usable(self._clock.now()) if self._held.turnstile.open else None

    @property
    def doubted(self) -> bool:
        """Whether it counts that the broker takes the token: see `accepted`."""
        return self._held.state is State.UNCERTAIN or self._held.doubted

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self, found: Iterable[Found] = ()) -> None:
        """Read the stored grant, and adopt what a kill left in the journal. Raises `StoreError`.

        A grant by client credentials that never had a token asks for its first one from here on, by itself.
        """
        await self._renewal.load()
        mine = [item for item in found if item.intent.grant == self.name]
        if not mine:
            self._held.recheck()
            self._set_timer()
            return
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

    # -- what others have done ----------------------------------------------------------------------------------------

    async def look_again(self) -> None:
        """The row, or the verdict on its token, may have changed: take over what is newer. Nothing is posted for it.

        While a flight is out, that finds out by itself. `StoreError`: nothing has changed.
        """
        if self._flight is None:
            await self._look_once()

    async def _look_once(self) -> None:
        """For any number of callers at once the row is read once."""
        if self._flight is None and not self._held.closing:
            self._looking = True
            await self._alone(self._renewal.look)
        elif self._looking and self._flight is not None:
            await asyncio.wait((self._flight,), timeout=HOLD)

    def recheck(self) -> None:
        """The store was found to be doubtful, or a peer has found that; or the wall clock was set."""
        self._held.watch(self._clock.now())
        if self._flight is None:
            self._held.recheck()
            self._set_timer()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, lent or in doubt: all that is known here stands in the store."""
        held = self._held
        under_way = self._flight is not None or held.turnstile.busy or held.turnstile.wanted
        return not (under_way or self._renewal.outstanding or self._renewal.in_doubt or held.remembers)

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
        self._flight, self._looking, held.flying = None, False, False
        error = None if flight.cancelled() else flight.exception()
        if error is not None:
            # The text of a foreign exception may hold a token.
            log.error("a redeem failed by a fault of ours", grant=self.name, error=type(error).__name__)
            if held.state is State.REDEEMING:
                held.see(Event.ANSWER_LOST)
            held.back_off("bearerd failed while renewing")
        held.recheck()
        held.turnstile.reopen()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._held.closing:
            nap = min(self.look_in(self._clock.now()), LONGEST_NAP)
            self._timer = asyncio.get_running_loop().call_later(nap, self._on_timer)

    def _on_timer(self) -> None:
        now = self._clock.now()
        self._held.watch(now)
        if self._held.due_in(now) <= 0:
            self._want(now)
        if self._flight is None and self._uncommitted:
            _ = self._launch(self._renewal.commit())
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
        """See `Errands.login`."""
        return await self._errands.login(wish, lineage)

    async def adopt(self) -> Standing:
        """See `Errands.adopt`."""
        return await self._errands.adopt()

    async def forget(self, tell: Callable[[Secret], Awaitable[None]] | None = None) -> Secret | None:
        """See `Errands.forget`."""
        return await self._errands.forget(tell)

    @property
    def refresh_token(self) -> Secret | None:
        """For revoking at the broker only; a redeem reads its own under the journal's lock."""
        return self._held.grant.refresh_token

    @property
    def access_token(self) -> Secret | None:
        return self._held.grant.access_token

    @property
    def state(self) -> State:
        """Where the grant stands; `standing()` tells more, and takes longer."""
        return self._held.state

    @property
    def grant(self) -> Grant:
        """What is held, for whoever keeps the roster."""
        return self._held.grant

    def look_in(self, now: Now) -> float:
        """Seconds until there is something to do or to say; infinite if there never will be."""
        return min(self._held.look_in(now), COMMIT_AGAIN if self._uncommitted else math.inf)

    def due_in(self, now: Now) -> float:
        """Seconds until a redeem should start of its own accord; infinite if none should."""
        return self._held.due_in(now)

    @property
    def _uncommitted(self) -> bool:
        """Whether something is served that the store has not taken, and no flight waits for it to."""
        return self._renewal.outstanding and self._held.state is not State.QUARANTINED

    async def tend(self) -> None:
        """Start what is due by now, and wait until what is out has ended."""
        self._on_timer()
        if self._flight is not None:
            await asyncio.wait((self._flight,))

    def serves(self, broker: str, environment: str, login: str) -> bool:
        """Whether this grant belongs there: a token of one environment or login is worth nothing in another."""
        return (self._held.issuer, self._held.login.name) == (f"{broker}/{environment}", login)

    def redefine(self, broker: Broker, environment: Environment, login: Login, endpoint: Redeems) -> None:
        """The configuration changed: use the new definition from the next redeem on, and try at once what failed."""
        held = self._held
        held.define(broker, environment, login)
        held.hold(held.grant)
        self._renewal.redefine(endpoint)
        # A pair that may not be served waits for the very change that its message asks for.
        if held.state is State.STOPPED or (held.state is State.FRESH and held.pair is None):
            held.patience.reset()
            self._want(self._clock.now())
        if self._flight is None:
            self._set_timer()
