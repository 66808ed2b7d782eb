"""What is held of one grant, and every decision about it. All of it synchronous: nothing can come in between.

`keeper.py` asks when something is wanted, `renewal.py` tells what became of it. Times are boot times in seconds unless
they are called wall.
"""

import math
from collections.abc import Callable
from dataclasses import replace

from proxy import logs
from proxy.brokers import Broker, Environment
from proxy.brokers.definition import Login
from proxy.brokers.origin import pinned
from proxy.clock import Clock, Now
from proxy.errors import Refusal
from proxy.tokens.answer import Terms
from proxy.tokens.grant import HOUR, NEXT, ROUTINE, SERVING, Event, Grant, Serving, State, TokenPair, after
from proxy.tokens.oauth import Mint, Refresh
from proxy.tokens.patience import Patience
from proxy.tokens.quarantine import Quarantine
from proxy.tokens.schedule import End, Plan, end_of, plan
from proxy.tokens.skew import jumped
from proxy.tokens.standing import Standing, aging, dies, doubt, ended, ending, fix
from proxy.tokens.turnstile import Turnstile

IDLE = HOUR / 2
QUARANTINABLE = (State.FRESH, State.DUE, State.UNCERTAIN, State.STOPPED)
LOOK = 1.0  # seconds between looks at the clock for calls that are served at once
SETTLED = 60.0  # seconds after which an old access token that still works proves that a spend did not happen

log = logs.get("tokens")


class Holding:
    """One grant: its tokens, where it stands and why, and when the next redeem is due.

    Others read the attributes; `hold`, `see`, `enter`, `watch` and `back_off` change them. `closing` and `flying` are
    the keeper's to set; `dead` is the hash of a refresh token that the broker has refused, `in_doubt` the generation
    whose access token it has refused where nothing but a login could replace it.
    """

    __slots__ = (
        "_aged", "_alarmed", "_end", "_jitter", "_looked", "_lost_at", "_plan", "_planned", "_ran_out", "_rejected",
        "_since", "_used", "_warned", "broker", "clock", "closing", "dead", "environment", "flying", "grant",
        "in_doubt", "issuer", "login", "lost_by", "name", "pair", "patience", "quarantine", "reason", "state", "terms",
        "turnstile",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        broker: Broker,
        environment: Environment,
        login: Login,
        clock: Clock,
        jitter: Callable[[], float],
        quarantine: Quarantine | None = None,
    ) -> None:
        now = clock.now()
        self.name = name
        self.clock = clock
        self.quarantine = quarantine or Quarantine()
        self.grant = Grant(name)
        self.pair: TokenPair | None = None
        self.state = State.NONE
        self.reason = "never logged in"
        self.patience = Patience(jitter)
        self.turnstile = Turnstile()
        self.dead = ""
        self.lost_by = (-1, "")  # whose lost answer made which generation uncertain, if it was a peer
        self.closing = False
        self.flying = False  # a flight is out: what it brings decides, whatever time it is
        self.define(broker, environment, login)
        self._since = now.wall
        self._jitter = jitter
        self._plan, self._planned = Plan(0.0, 0.0, 0.0, 0.0), now
        self._end: End | None = None
        self._warned = 0  # how many of the warnings of that end were given
        self._ran_out = False  # a login is needed because of the time alone
        self._used = now.boot
        self._looked = -math.inf
        self._rejected = -1  # the generation whose access token the broker has refused
        self.in_doubt = -1
        self._alarmed = self._aged = -1
        self._lost_at = 0.0  # when an answer was lost

    def define(self, broker: Broker, environment: Environment, login: Login) -> None:
        """Go by this definition from now on."""
        self.broker, self.environment, self.login = broker, environment, login
        self.issuer = f"{broker.name}/{environment.name}"
        self.terms = Terms.of(broker, environment, login)

    # -- what changes -------------------------------------------------------------------------------------------------

    def hold(self, grant: Grant) -> None:
        """Serve this generation from now on. A pair whose origin the definition does not list is not served."""
        now = self.clock.now()
        if grant.access_token is not None and not self.terms.api_server_in_answer:
            grant = replace(grant, origin=self.terms.api_server)  # it may have moved since the grant was stored
        pair = grant.pair(now)
        self.grant = grant
        self.pair = pair if pair is not None and pinned(pair.origin, self.terms.api_hosts) else None
        self._plan, self._planned = plan(grant, now, self._jitter, self.terms.renew_at), now
        before, self._end = self._end, end_of(grant, self.terms, now)
        if before is None or self._end is None or before.at.wall != self._end.at.wall:
            self._warned = 0

    def see(self, event: Event, reason: str = "") -> None:
        self.enter(after(self.state, event), reason)

    def enter(self, state: State, reason: str) -> None:
        """For a start: the way to `state` was not kept, and does not matter. Else use `see`."""
        now = self.clock.now()
        if state is not self.state:
            self._since, self._ran_out = now.wall, False
            # Every renewal passes these, and has a line of its own at its end: "token renewed".
            tell = log.debug if (self.state, state) in ROUTINE and not reason else log.info
            tell("grant is now", grant=self.name, state=state.value, was=self.state.value, reason=reason)
            if state is State.STOPPED:
                self.patience.rest(now.boot)
            elif state is State.UNCERTAIN:
                self._lost_at = now.boot
        self.state, self.reason = state, reason

    def recheck(self) -> None:
        """See what the store was found to be. Not within a flight: what that brings decides."""
        if self.quarantine.holds(self.grant) and self.state in QUARANTINABLE:
            self.see(Event.DOUBTFUL_STORE, self.quarantine.reason)

    def bury(self, reason: str) -> None:
        """A try of a token that was known to be dead has told nothing else: it is not tried again on its own."""
        if self.dead and self.dead == self.grant.token_hash and (self.state, Event.TOKEN_DEAD) in NEXT:
            self.see(Event.TOKEN_DEAD, reason)

    def hinder(self, reason: str) -> None:
        """Store or journal failed before anything was sent: look again within seconds."""
        self.patience.hindered(self.clock.now().boot)
        if reason != self.reason:
            log.warning("no new token", grant=self.name, reason=reason)
        self.reason = reason

    def back_off(self, reason: str, *, retry_after: float | None = None, refused: bool = False) -> None:
        """A redeem brought nothing: plan the next try."""
        now = self.clock.now()
        self.patience.failed(now.boot, retry_after=retry_after, refused=refused)
        self.reason = reason
        wait = round(self.patience.retry_at - now.boot, 1)
        log.warning("no new token", grant=self.name, reason=reason, next_try_in=wait)
        if self.patience.refused_too_often:
            self.see(Event.NOT_CONFIGURED, f"{self.patience.failures} refusals in a row: {reason}")

    def watch(self, now: Now) -> None:
        """Look at the clock: warn of an end that is near, once at each of its times, and see one that has come.

        What ended by a wall clock that was wrong, and has been set right, goes on. One that was set plans anew.
        """
        self._looked = now.boot
        if jumped(self._planned, now):
            anew = plan(self.grant, now, self._jitter, self.terms.renew_at)
            self._plan, self._planned = self._plan.hurried(anew), now
        if self._aged != self.grant.generation and (warning := self._aging(now)):
            self._aged = self.grant.generation
            log.warning("a refresh token grows old", grant=self.name, reason=self.reason, fix=warning)
        end = self._end
        if end is not None and self._ran_out and end.left(now) > 0:
            self.see(Event.NOT_OVER)
        if end is None or (self.state, Event.EXPIRED) not in NEXT:
            return
        left = end.left(now)
        if left <= 0:
            if not self.flying:
                self.see(Event.EXPIRED, ended(end, self.broker))
                self._ran_out = True
            return
        due = end.warnings(now)
        if due > self._warned:
            self._warned = due
            log.warning("a login ends soon", grant=self.name, ends_in=round(left), fix=f"bearerd login {self.name}")

    # -- what is decided ----------------------------------------------------------------------------------------------

    @property
    def renewable(self) -> bool:
        """Whether a new access token can be had without a person."""
        return self.terms.minting or self.grant.refresh_token is not None

    @property
    def renewal(self) -> Refresh | Mint:
        """What to ask the token endpoint for. `LookupError` if nothing can be had from it."""
        if self.terms.minting:
            return Mint()
        if self.grant.refresh_token is None:
            raise LookupError(f"grant {self.name} holds no refresh token")
        return Refresh(self.grant.refresh_token)

    def usable(self, now: Now) -> TokenPair | None:
        """The pair in hand, if the broker should take it."""
        pair = self.pair
        return pair if pair is not None and pair.generation != self._rejected and pair.alive(now) else None

    def at_hand(self, now: Now) -> TokenPair | None:
        """The pair that `serve` would give, if there is one at once. What time brings is looked after once a second."""
        if not 0 <= now.boot - self._looked < LOOK:
            self.watch(now)
        pair = self.pair
        if pair is None or not self.turnstile.open or pair.generation == self._rejected:
            return None
        ends = pair.expires
        if now.wall >= ends.wall or now.boot >= ends.boot:
            return None
        self._used = now.boot
        return pair

    def serve(self, now: Now) -> TokenPair | None:
        """What a call gets now: a pair, None to wait for a change, or a `Refusal`."""
        self._used = now.boot
        self.watch(now)
        if not self.turnstile.open:
            return None
        pair = self.usable(now)
        if pair is not None:
            return pair
        match SERVING[self.state]:
            case Serving.LOGIN:
                raise self._login_needed()
            case Serving.UNAVAILABLE:
                raise Refusal("token-unavailable", f"grant {self.name}: {self.reason}", fix=fix(self.state, self.name))
            case Serving.WAIT if not self.flying and not self.renewable:
                raise self._login_needed()
            case Serving.WAIT if not self.flying:
                self._check_patience(now)
            case _:
                pass
        return None

    def _login_needed(self) -> Refusal:
        command = fix(self.state if self.state is State.QUARANTINED else State.NEEDS_LOGIN, self.name)
        return Refusal("login-needed", f"grant {self.name}: {self.reason or 'it holds no usable token'}", fix=command)

    def _check_patience(self, now: Now) -> None:
        """A call needs a token and no redeem is out: nothing to wait for if none may start now."""
        if self.closing:
            raise Refusal("draining", "bearerd is shutting down and renews no token", retry_after=1)
        wait = self.patience.retry_at - now.boot
        if wait > 0 and not self.patience.local:
            raise Refusal("token-unavailable", f"grant {self.name}: {self.reason}", retry_after=wait)

    @property
    def doubted(self) -> bool:
        """Whether the broker has refused the access token in hand, where nothing but a login could replace it."""
        return self.in_doubt == self.grant.generation

    @property
    def rejected(self) -> bool:
        """Whether the broker has refused the access token in hand."""
        return self._rejected == self.grant.generation

    def reject(self) -> None:
        """The broker has refused it, when somebody else showed it."""
        self._rejected = self.grant.generation

    def refused(self, stale: int, now: Now) -> bool:
        """The broker refused the access token of generation `stale`: whether a newer one may be had."""
        self.watch(now)
        if self.grant.generation != stale:
            return True
        if not self.renewable:
            self._doubt(stale, now)
            return False
        if self._young(now) and self.state in (State.FRESH, State.ANSWERED):
            if self._alarmed != stale:
                self._alarmed = stale
                guess = (
                    "the broker refuses new tokens" if self.terms.minting else "another program seems to use this grant"
                )
                log.error(guess, grant=self.name, generation=stale)
            return False
        self._rejected = stale
        return True

    def _young(self, now: Now) -> bool:
        return self.pair is not None and now.boot - self._plan.born < self.environment.renew_cooldown

    def _doubt(self, stale: int, now: Now) -> None:
        """A 401 where nothing can be renewed. It may mean anything: the token is not given up for it."""
        if self.in_doubt != stale and self.state is State.FRESH:
            self.in_doubt, self.reason = stale, doubt(now.wall, self.name)
            log.warning("the broker refused a token that nothing can renew", grant=self.name, generation=stale)

    def accepted(self, generation: int, now: Now) -> bool:
        """The broker took the access token of `generation`: whether that settles the doubt about a lost answer."""
        if generation == self.in_doubt:
            self.in_doubt = -1
            self.reason = "" if self.state is State.FRESH else self.reason
        if self.state is not State.UNCERTAIN or generation != self.grant.generation:
            return False
        if not self.broker.kills_old_token or now.boot - self._lost_at < SETTLED:
            return False
        self.see(Event.OLD_TOKEN_LIVES, "the broker still takes the old access token")
        return True

    def wants(self, now: Now) -> bool:
        """Whether a redeem (or an outstanding commit) may start now. If so, the grant is in the state to start from."""
        self.watch(now)
        if self.closing or self.patience.retry_at > now.boot:
            return False
        match self.state:
            case State.FRESH if not self.renewable:
                return False
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
            case State.FRESH if not self.renewable:
                return math.inf
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

    def look_in(self, now: Now) -> float:
        """Seconds until there is something to do or to say; infinite if there never will be."""
        watched = self._end is not None and (self.state, Event.EXPIRED) in NEXT
        return min(self.due_in(now), self._end.look_in(now) if watched and self._end else math.inf)

    def last_call(self, now: Now) -> bool:
        """Whether the access token in hand is so near its end that a redeem can't be put off."""
        return self.usable(now) is None or now.boot >= self._plan.mandatory

    @property
    def remembers(self) -> bool:
        """Whether something is known here that a new look at the store would not tell."""
        known = self.state in (State.NONE, State.FRESH, State.NEEDS_LOGIN) or (
            self.state is State.QUARANTINED and self.quarantine.holds(self.grant)
        )
        return not known or self.patience.failures > 0 or self.rejected

    def standing(self) -> Standing:
        """How the grant stands now."""
        now = self.clock.now()
        self.watch(now)
        grant, end, next_renewal = self.grant, self._end, now.wall + self.due_in(now)
        held = grant.access_token is not None or grant.refresh_token is not None
        return Standing(
            grant=self.name,
            broker=self.broker.name,
            environment=self.environment.name,
            login=self.login.name,
            login_kind=self.login.kind,
            state=self.state,
            reason=self.reason,
            fix=fix(self.state, self.name),
            since=self._since,
            usable=self.usable(now) is not None,
            doubted=self.doubted,
            generation=grant.generation,
            origin=str(grant.origin) if grant.origin else None,
            granted=grant.scopes,
            access_expires=grant.expires if self.pair and math.isfinite(grant.expires) else None,
            next_renewal=next_renewal if self.renewable and math.isfinite(next_renewal) else None,
            refreshed=grant.refreshed if held else None,
            dies=dies(self.grant, self.terms),
            ends=end.at.wall if end else None,
            warning=self._warning(now),
        )

    def _aging(self, now: Now) -> str | None:
        """What to say of a refresh token that should have been renewed long ago; those of a login's end are told of."""
        end, renewing = dies(self.grant, self.terms), self.state not in (State.NONE, State.NEEDS_LOGIN)
        return aging(self.grant.refreshed, end, now.wall, self.name) if end and renewing and not self._end else None

    def _warning(self, now: Now) -> str | None:
        end = self._end
        if end is None or not end.warnings(now) or (self.state, Event.EXPIRED) not in NEXT:
            return self._aging(now)
        return ending(end, end.left(now), self.name)
