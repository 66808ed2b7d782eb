"""The rotation of one grant, step by step: read the row, prove room, drain, post, keep, publish, commit.

Everything here runs inside a flight of the keeper: one at a time, and no request can cancel it. What is decided on the
way is in `holding.py`, what an answer means in `rotation.py`.
"""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from proxy import logs
from proxy.secret import Secret
from proxy.store import StoreError
from proxy.tokens.book import Book
from proxy.tokens.grant import Event, Grant, State, token_hash
from proxy.tokens.holding import Holding
from proxy.tokens.journal import Found, Intent, Journal, JournalError, Slot, boot_id
from proxy.tokens.oauth import Refresh, Wish
from proxy.tokens.rotation import Attempt, Outcome, Redeems, keep, read_back, redeem
from proxy.tokens.standing import foreign_host
from proxy.tokens.stored import OLDER_STORE, adopt, row_is_ours

DRAIN = 2.0  # seconds that a redeem waits for exchanges which still use the old access token
NO_PAIR = "the broker's answer held a refresh token, but no usable access token and API server"

OUTCOMES = {
    Event.ANSWER_KEPT: "renewed",
    Event.TOKEN_DEAD: "dead",
    Event.TRY_LATER: "try-later",
    Event.ANSWER_LOST: "uncertain",
    Event.NOT_CONFIGURED: "misconfigured",
    Event.NOTHING_SENT: "not-sent",
}

log = logs.get("tokens")


class Renewal:
    """Changes what is held of one grant, here and in store and journal."""

    def __init__(
        self,
        held: Holding,
        *,
        book: Book,
        journal: Journal,
        endpoint: Redeems,
        observe: Callable[[str, str], None],
    ) -> None:
        self.endpoint = endpoint
        self._held = held
        self._book = book
        self._journal = journal
        self._observe = observe
        self._lost: Slot | None = None  # the intent whose answer was lost, as long as that is in doubt
        self._outstanding: tuple[Slot | None, Outcome] | None = None  # published, and not in the store yet

    # -- what a flight may be -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Renew, or find out why not; first bring an outstanding commit to its end."""
        held = self._held
        if self._outstanding is not None:
            await self._commit()
            return
        if not await row_is_ours(held, self._book):
            return
        # A minted token rotates nothing: how many of them a day takes, their life says.
        limit = 0 if held.terms.minting else held.environment.max_rotations_per_day
        if held.patience.rotated_too_often(held.clock.now().boot, limit):
            held.see(Event.NOT_CONFIGURED, f"{limit} rotations within a day: something renews far too often")
            return
        try:
            wish = held.renewal
            await self._redeem(Attempt(held.grant, wish, login=False, number=held.patience.failures + 1), wish)
        except JournalError as error:
            held.back_off(f"nothing is redeemed while its answer can't be saved: {error}")

    async def login(self, wish: Wish, lineage: str) -> Outcome:
        """Spend a pasted token or a code, or mint. `JournalError`: nothing was posted.

        Unless the pair was kept, all is as before.
        """
        held = self._held
        before = self._anew(lineage, held.clock.now().wall)
        if isinstance(wish, Refresh):
            before = replace(before, refresh_token=wish.token)
        outcome = await self._redeem(Attempt(before, wish, login=True), wish)
        if outcome.event is Event.ANSWER_KEPT and held.grant.lineage != lineage:
            return Outcome(Event.ANSWER_LOST, "somebody else changed the grant meanwhile")
        return outcome

    async def install(self, secret: Secret, lineage: str) -> None:
        """Take a plain secret: stored, then served. `StoreError`: nothing has changed."""
        held = self._held
        wall = held.clock.now().wall
        grant = replace(
            self._anew(lineage, wall),
            generation=held.grant.generation + 1,
            access_token=secret,
            origin=held.terms.api_server,
            refreshed=wall,
            expires=math.inf,
            life=math.inf,
        )
        await self._replace(grant)
        held.see(Event.LOGGED_IN)
        held.hold(grant)
        held.see(Event.COMMITTED)
        await self.forget_lost()

    def _anew(self, lineage: str, wall: float) -> Grant:
        """The grant as a login at that time starts it: of the old one only name and generation are left."""
        held = self._held
        return Grant(
            held.name,
            held.grant.generation,
            lineage=lineage,
            issuer=held.issuer,
            login=held.login.name,
            logged_in=wall,
        )

    async def give_up(self) -> Secret | None:
        """Keep no token, and return what was held; the generation counts on. `StoreError`: nothing has changed."""
        held = self._held
        last = held.grant.access_token or held.grant.refresh_token
        gone = Grant(held.name, generation=held.grant.generation + 1)
        await self._replace(gone)
        held.hold(gone)
        held.see(Event.REVOKED, "revoked")
        await self.forget_lost()
        return last

    async def _replace(self, grant: Grant) -> None:
        """Write the generation after the one in hand. `StoreError`: it is not in force."""
        if not await self._book.write(grant):
            stored = await self._book.read()
            # A commit that was reported as failed may have got through after all: the next try starts from that.
            if stored is not None and stored.generation > self._held.grant.generation:
                await adopt(self._held, self._book, stored)
            raise StoreError(f"grant {grant.name} changed meanwhile; try again")

    async def load(self) -> None:
        """Take over what the store holds. Raises `StoreError`; then nothing has changed."""
        await adopt(self._held, self._book, await self._book.read())

    async def resume(self, found: Iterable[Found]) -> None:
        """Settle what a kill left in the journal. Run it after `load`."""
        # By age: a doubt comes before the try that was to settle it. A wall clock may have been set back in between.
        for item in sorted(found, key=lambda item: (item.intent.generation, item.intent.wall)):
            stranger = self._held.stranger(self._held.grant) is not None
            # What belongs to another place is not ours to judge; the login that was to replace it is.
            if not stranger or (item.intent.login and item.intent.issuer == self._place):
                await self._resume(item)

    async def forget_lost(self) -> None:
        """The doubt about an earlier answer is settled, or has passed to a newer slot."""
        slot, self._lost = self._lost, None
        if slot is not None:
            await self._journal.free(slot)

    # -- start --------------------------------------------------------------------------------------------------------

    async def _resume(self, item: Found) -> None:
        held, intent = self._held, item.intent
        grant = held.grant
        ours = intent.generation == grant.generation and (
            intent.login or (intent.lineage == grant.lineage and intent.token_hash == grant.token_hash)
        )
        # The store came back from a backup while the answer was not in it yet: what it holds is long spent.
        newer = intent.generation > grant.generation
        if (ours or newer) and intent.issuer not in ("", self._place):
            return  # it was for another login, and is kept for the day when that is configured again
        if item.answer is None and ours:
            await self._resume_unanswered(item)
        elif item.answer is None or not (ours or newer):
            # The store has moved on: the answer was committed, or a login replaced its lineage.
            await self._journal.free(item.slot)
        else:
            anew = intent.login or newer
            before = replace(grant, lineage=intent.lineage, issuer=held.issuer, login=held.login.name)
            if intent.login:
                before = replace(self._anew(intent.lineage, intent.wall), generation=grant.generation)
            attempt = Attempt(before, None, login=anew)
            boot = held.clock.now().boot
            outcome = read_back(attempt, item.answer, broker=held.broker, terms=held.terms, boot=boot)
            log.info("settling an answer from the journal", grant=held.name, outcome=outcome.event.name)
            await self._settle(outcome, item.slot, login=anew, resumed=True)

    async def _resume_unanswered(self, item: Found) -> None:
        held = self._held
        if item.intent.login:
            log.warning("a login was cut off; its token may be spent: log in with a new one", grant=held.name)
            await self._journal.free(item.slot)
        elif held.state is State.NEEDS_LOGIN:
            # The doubt was settled before the kill: the broker has refused this very token.
            await self._journal.free(item.slot)
        else:
            await self.forget_lost()
            self._lost = item.slot
            held.enter(State.UNCERTAIN, "bearerd was killed while a token request was out")

    # -- before the post ----------------------------------------------------------------------------------------------

    async def _redeem(self, attempt: Attempt, wish: Wish) -> Outcome:
        """Prove that there is room, drain, post, settle. `JournalError`: nothing was posted."""
        held = self._held
        # What spends nothing needs no proof: its answer may be lost.
        slot = await self._journal.begin(self._intent(attempt, wish.secret)) if wish.secret is not None else None
        if not attempt.login:
            held.see(Event.INTENT_DURABLE)
            if held.broker.kills_old_token:
                await held.turnstile.drain(DRAIN)
        if held.closing:
            outcome = Outcome(Event.NOTHING_SENT, "bearerd is shutting down")
        else:
            outcome = await redeem(
                attempt,
                wish,
                slot,
                endpoint=self.endpoint,
                journal=self._journal,
                broker=held.broker,
                terms=held.terms,
                clock=held.clock,
            )
        self._observe(held.name, OUTCOMES.get(outcome.event, "error"))
        await self._settle(outcome, slot, login=attempt.login)
        return outcome

    def _intent(self, attempt: Attempt, secret: Secret) -> Intent:
        return Intent(
            grant=self._held.name,
            generation=attempt.before.generation,
            lineage=attempt.before.lineage,
            token_hash=token_hash(secret),
            attempt=attempt.number,
            login=attempt.login,
            wall=self._held.clock.now().wall,
            boot_id=boot_id(),
            issuer=self._place,
        )

    @property
    def _place(self) -> str:
        """Where a token of this grant is worth something, and how it was come by."""
        return f"{self._held.issuer}/{self._held.login.name}"

    # -- after it -----------------------------------------------------------------------------------------------------

    async def _settle(self, outcome: Outcome, slot: Slot | None, *, login: bool, resumed: bool = False) -> None:
        """Turn the outcome of a redeem into a state, and free its slot once nothing depends on it any more."""
        held = self._held
        match outcome.event:
            case Event.ANSWER_KEPT if outcome.grant is not None:
                await self._publish(outcome, outcome.grant, slot, login=login, resumed=resumed)
                return
            case _ if login:
                pass
            case Event.ANSWER_LOST:
                await self.forget_lost()
                self._lost = slot
                self._reach(Event.ANSWER_LOST, State.UNCERTAIN, outcome.reason, resumed=resumed)
                held.back_off(outcome.reason)
                return
            case Event.TOKEN_DEAD:
                if not await self._bury(outcome.reason, resumed=resumed):
                    return  # the slot remembers what the store could not be told
                await self.forget_lost()
            case Event.NOT_CONFIGURED:
                self._reach(Event.NOT_CONFIGURED, State.STOPPED, outcome.reason, resumed=resumed)
            case _ if not resumed:
                held.see(outcome.event, outcome.reason)
                held.back_off(outcome.reason, retry_after=outcome.retry_after, refused=outcome.counts)
            case _:
                pass
        await self._free(slot)

    async def _free(self, slot: Slot | None) -> None:
        if slot is not None:
            await self._journal.free(slot)

    def _reach(self, event: Event, state: State, reason: str, *, resumed: bool) -> None:
        # After a restart the state before the event is gone; only where it led to matters.
        if resumed:
            self._held.enter(state, reason)
        else:
            self._held.see(event, reason)

    async def _publish(self, outcome: Outcome, grant: Grant, slot: Slot | None, *, login: bool, resumed: bool) -> None:
        held = self._held
        if login:
            held.see(Event.LOGGED_IN)
            held.patience.reset()
        else:
            self._reach(Event.ANSWER_KEPT, State.ANSWERED, "", resumed=resumed)
        now = held.clock.now()
        held.hold(grant)
        held.patience.succeeded(now.boot)
        if held.pair is not None:
            held.patience.pair_usable()
        else:
            held.patience.pair_unusable(now.boot)
            host = outcome.refused_host
            held.reason = foreign_host(host, held.broker, held.environment) if host else NO_PAIR
            log.error("the new token is of no use", grant=held.name, reason=held.reason)
        if outcome.unkept is not None:
            log.error("the journal failed after the answer had come; it is in memory only", grant=held.name)
        held.turnstile.reopen()
        self._outstanding = (slot, replace(outcome, reason=held.reason))
        await self._commit()

    async def _commit(self) -> None:
        """Write the new generation for as long as it takes; the journal holds it meanwhile."""
        if self._outstanding is None:
            return
        held, (slot, outcome) = self._held, self._outstanding
        grant = held.grant
        if not await self._write(grant, slot, outcome):
            stored = await self._book.read()
            if stored is None or stored.generation < grant.generation:
                held.back_off(OLDER_STORE)  # and the journal holds on to the answer
                return
            # Its slot is not freed: the one copy of an answer that somebody may come to miss.
            log.error("somebody else has renewed this grant meanwhile", grant=held.name)
            await adopt(held, self._book, stored, Event.PEER_IS_NEWER)
            self._outstanding = None
            return
        held.see(Event.COMMITTED, outcome.reason)
        self._outstanding = None
        if held.patience.unusable_too_often:
            held.see(Event.NOT_CONFIGURED, outcome.reason)
        await self._free(slot)
        await self.forget_lost()
        log.info("token renewed", grant=held.name, generation=grant.generation, api_host=str(grant.origin))

    async def _write(self, grant: Grant, slot: Slot | None, outcome: Outcome) -> bool:
        pause, unkept = 0.05, outcome.unkept
        while True:
            try:
                return await self._book.write(grant)
            except StoreError as error:
                reason = f"the new token is not in the store yet: {error}"
                if reason != self._held.reason:
                    self._held.reason = reason
                    log.error("the store did not take the new token; trying on", grant=grant.name, reason=str(error))
            if slot is not None and unkept is not None and await keep(self._journal, slot, unkept, grant.refreshed):
                unkept = None
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)

    async def _bury(self, reason: str, *, resumed: bool) -> bool:
        """The refresh token is dead: remember that, so that it is never posted again on its own. False: not durably."""
        held = self._held
        if self._lost is not None:
            reason = f"the answer to a token request was lost, and now {reason}"
        self._reach(Event.TOKEN_DEAD, State.NEEDS_LOGIN, reason, resumed=resumed)
        try:
            # Evidence about the bytes that were posted, no verdict on the account: the row may have moved on.
            stored = await self._book.read()
            if stored is not None and stored.generation > held.grant.generation:
                await adopt(held, self._book, stored, Event.PEER_IS_NEWER)
            else:
                await self._book.bury(held.grant.token_hash, reason, held.clock.now().wall)
        except StoreError as error:
            log.error("the dead token could not be marked", grant=held.name, reason=str(error))
            return False
        return True
