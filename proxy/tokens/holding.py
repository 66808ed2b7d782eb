"""What is held of one grant, and every decision about it. All of it synchronous: nothing can come in between.

`keeper.py` asks when something is wanted, `renewal.py` tells what became of it. Times are boot times in seconds unless
they are called wall.
"""

import math
from collections.abc import Callable

from proxy import logs
from proxy.brokers import Broker, Environment
from proxy.brokers.origin import pinned
from proxy.clock import Clock, Now
from proxy.errors import Refusal
from proxy.tokens.grant import (
    HOUR,
    SERVING,
    Event,
    Grant,
    Plan,
    Serving,
    State,
    Terms,
    TokenPair,
    after,
    plan,
)
from proxy.tokens.patience import Patience
from proxy.tokens.standing import Standing, fix
from proxy.tokens.turnstile import Turnstile

IDLE = HOUR / 2
SETTLED = 60.0  # seconds after which an old access token that still works proves that a spend did not happen

log = logs.get("tokens")


class Holding:
    """One grant: its tokens, where it stands and why, and when the next redeem is due.

    Others read the attributes; `hold`, `see`, `enter` and `back_off` change them.
    """

    def __init__(
        self, name: str, broker: Broker, environment: Environment, clock: Clock, jitter: Callable[[], float]
    ) -> None:
        now = clock.now()
        self.name = name
        self.clock = clock
        self.grant = Grant(name)
        self.pair: TokenPair | None = None
        self.state = State.NONE
        self.reason = "never logged in"
        self.patience = Patience(jitter)
        self.turnstile = Turnstile()
        self.closing = False
        self.define(broker, environment)
        self._since = now.wall
        self._jitter = jitter
        self._plan = Plan(0.0, 0.0, 0.0)
        self._used = now.boot
        self._rejected = -1  # the generation whose access token the broker has refused
        self._alarmed = -1
        self._lost_at = 0.0  # when an answer was lost

    def define(self, broker: Broker, environment: Environment) -> None:
        """Go by this definition from now on."""
        self.broker, self.environment = broker, environment
        self.issuer = f"{broker.name}/{environment.name}"
        self.terms = Terms(
            api_hosts=environment.api_hosts,
            min_life=environment.min_life,
            refresh_token_life=broker.refresh_token_life,
            default_life=broker.expires_in,
            api_server=environment.api_server,
        )

    # -- what changes -------------------------------------------------------------------------------------------------

    def hold(self, grant: Grant) -> None:
        """Serve this generation from now on. A pair whose origin the definition does not list is not served."""
        now = self.clock.now()
        pair = grant.pair(now)
        self.grant = grant
        self.pair = pair if pair is not None and pinned(pair.origin, self.terms.api_hosts) else None
        self._plan = plan(grant, now, self._jitter)

    def see(self, event: Event, reason: str = "") -> None:
        self.enter(after(self.state, event), reason)

    def enter(self, state: State, reason: str) -> None:
        """For a start: the way to `state` was not kept, and does not matter. Else use `see`."""
        now = self.clock.now()
        if state is not self.state:
            self._since = now.wall
            log.info("grant is now", grant=self.name, state=state.value, was=self.state.value, reason=reason)
            if state is State.STOPPED:
                self.patience.rest(now.boot)
            elif state is State.UNCERTAIN:
                self._lost_at = now.boot
        self.state, self.reason = state, reason

    def back_off(self, reason: str, *, retry_after: float | None = None, refused: bool = False) -> None:
        """A redeem brought nothing: plan the next try."""
        now = self.clock.now()
        self.patience.failed(now.boot, retry_after=retry_after, refused=refused)
        self.reason = reason
        wait = round(self.patience.retry_at - now.boot, 1)
        log.warning("no new token", grant=self.name, reason=reason, next_try_in=wait)
        if self.patience.refused_too_often:
            self.see(Event.NOT_CONFIGURED, f"{self.patience.failures} refusals in a row: {reason}")

    # -- what is decided ----------------------------------------------------------------------------------------------

    def usable(self, now: Now) -> TokenPair | None:
        """The pair in hand, if the broker should take it."""
        pair = self.pair
        return pair if pair is not None and pair.generation != self._rejected and pair.alive(now) else None

    def serve(self, now: Now, *, flying: bool) -> TokenPair | None:
        """What a call gets now: a pair, None to wait for a change, or a `Refusal`. `flying`: a redeem is out."""
        self._used = now.boot
        if not self.turnstile.open:
            return None
        pair = self.usable(now)
        if pair is not None:
            return pair
        match SERVING[self.state]:
            case Serving.LOGIN:
                raise Refusal("login-needed", f"grant {self.name}: {self.reason}", fix=fix(self.state, self.name))
            case Serving.UNAVAILABLE:
                raise Refusal("token-unavailable", f"grant {self.name}: {self.reason}", fix=fix(self.state, self.name))
            case Serving.WAIT if not flying:
                self._check_patience(now)
            case _:
                pass
        return None

    def _check_patience(self, now: Now) -> None:
        """A call needs a token and no redeem is out: nothing to wait for if none may start now."""
        if self.closing:
            raise Refusal("draining", "bearerd is shutting down and renews no token", retry_after=1)
        wait = self.patience.retry_at - now.boot
        if wait > 0:
            raise Refusal("token-unavailable", f"grant {self.name}: {self.reason}", retry_after=wait)

    def refused(self, stale: int, now: Now) -> bool:
        """The broker refused the access token of generation `stale`: whether a newer one may be had."""
        if self.grant.generation != stale:
            return True
        young = self.pair is not None and self.pair.life - self.pair.remaining(now) < self.environment.renew_cooldown
        if young and self.state in (State.FRESH, State.ANSWERED):
            if self._alarmed != stale:
                self._alarmed = stale
                log.error("another program seems to use this grant", grant=self.name, generation=stale)
            return False
        self._rejected = stale
        return True

    def accepted(self, generation: int, now: Now) -> bool:
        """The broker took the access token of `generation`: whether that settles the doubt about a lost answer."""
        if self.state is not State.UNCERTAIN or generation != self.grant.generation:
            return False
        if not self.broker.kills_old_token or now.boot - self._lost_at < SETTLED:
            return False
        self.see(Event.OLD_TOKEN_LIVES, "the broker still takes the old access token")
        return True

    def wants(self, now: Now) -> bool:
        """Whether a redeem (or an outstanding commit) may start now. If so, the grant is in the state to start from."""
        if self.closing or self.patience.retry_at > now.boot:
            return False
        match self.state:
            case State.FRESH | State.DUE:
                self.see(Event.RENEWAL_WANTED, self.reason)
            case State.UNCERTAIN:
                self.see(Event.LAST_TRY, self.reason)
            case State.STOPPED:
                self.see(Event.TRY_AGAIN, self.reason)
            case State.ANSWERED:
                pass
            case _:
                return False
        return True

    def due_in(self, now: Now) -> float:
        """Seconds until a redeem should start of its own accord; infinite if none should."""
        match self.state:
            case State.FRESH if self.pair is None or self.pair.generation == self._rejected:
                at = now.boot
            case State.FRESH:
                idle = now.boot - self._used > IDLE and not self.turnstile.busy
                at = self._plan.keep_alive if idle else self._plan.advisory
            case State.UNCERTAIN if (pair := self.usable(now)) is not None:
                at = now.boot + pair.remaining(now) - min(60.0, pair.life / 5)
            case State.DUE | State.UNCERTAIN | State.STOPPED | State.ANSWERED:
                at = now.boot
            case _:
                return math.inf
        return max(0.0, at - now.boot, self.patience.retry_at - now.boot)

    def last_call(self, now: Now) -> bool:
        """Whether the access token in hand is so near its end that a redeem can't be put off."""
        return self.usable(now) is None or now.boot >= self._plan.mandatory

    def standing(self) -> Standing:
        """How the grant stands now."""
        now = self.clock.now()
        grant = self.grant
        held, next_renewal = grant.refresh_token is not None, now.wall + self.due_in(now)
        return Standing(
            grant=self.name,
            broker=self.broker.name,
            environment=self.environment.name,
            state=self.state,
            reason=self.reason,
            fix=fix(self.state, self.name),
            since=self._since,
            usable=self.usable(now) is not None,
            generation=grant.generation,
            origin=str(grant.origin) if grant.origin else None,
            access_expires=grant.expires if self.pair else None,
            next_renewal=next_renewal if held and math.isfinite(next_renewal) else None,
            refreshed=grant.refreshed if held else None,
            dies=grant.refreshed + self.terms.refresh_token_life if held else None,
        )
