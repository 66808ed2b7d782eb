"""The rotation of one grant, step by step: read the row, prove room, drain, post, keep, publish, commit.

Everything here runs inside a flight of the keeper: one at a time, and no request can cancel it. What is decided on the
way is in `holding.py`, what an answer means in `rotation.py`.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from proxy import logs
from proxy.secret import Secret
from proxy.store import Damaged, StoreError, UnsafeFile, WrongKey
from proxy.tokens.book import Book
from proxy.tokens.grant import Event, Grant, State, token_hash
from proxy.tokens.holding import Holding
from proxy.tokens.journal import Found, Intent, Journal, JournalError, Slot, boot_id
from proxy.tokens.rotation import Attempt, Outcome, Redeems, keep, read_back, redeem
from proxy.tokens.standing import foreign_host

DRAIN = 2.0  # seconds that a redeem waits for exchanges which still use the old access token
NO_PAIR = "the broker's answer held a refresh token, but no usable access token and API server"
OLDER_STORE = "the store holds an older token than bearerd: was it replaced or restored?"

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
        self._outstanding: tuple[Slot, Outcome] | None = None  # published, and not in the store yet

    # -- what a flight may be -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Renew, or find out why not; first bring an outstanding commit to its end."""
        held = self._held
        if self._outstanding is not None:
            await self._commit()
            return
        if not await self._row_is_ours():
            return
        limit = held.environment.max_rotations_per_day
        if held.patience.rotated_too_often(held.clock.now().boot, limit):
            held.see(Event.NOT_CONFIGURED, f"{limit} rotations within a day: something renews far too often")
            return
        try:
            await self._redeem(Attempt(held.grant, login=False, number=held.patience.failures + 1))
        except JournalError as error:
            held.back_off(f"nothing is redeemed while its answer can't be saved: {error}")

    async def login(self, token: Secret, lineage: str) -> Outcome:
        """Spend a pasted token. `JournalError`: nothing was posted. Unless the pair was kept, all is as before."""
        held = self._held
        before = replace(
            held.grant, lineage=lineage, issuer=held.issuer, refresh_token=token, access_token=None, origin=None
        )
        outcome = await self._redeem(Attempt(before, login=True))
        if outcome.event is Event.ANSWER_KEPT and held.grant.lineage != lineage:
            return Outcome(Event.ANSWER_LOST, "somebody else changed the grant meanwhile")
        return outcome

    async def give_up(self) -> None:
        """Keep no token any more; the generation counts on. `StoreError`: nothing has changed."""
        held = self._held
        gone = Grant(held.name, generation=held.grant.generation + 1)
        if not await self._book.write(gone):
            raise StoreError(f"grant {held.name} changed meanwhile; try again")
        held.hold(gone)
        held.see(Event.REVOKED, "revoked")
        await self.forget_lost()

    async def load(self) -> None:
        """Take over what the store holds. Raises `StoreError`; then nothing has changed."""
        await self._adopt(await self._book.read())

    async def resume(self, found: Iterable[Found]) -> None:
        """Settle what a kill left in the journal. Run it after `load`."""
        held = self._held
        if held.grant.issuer not in ("", held.issuer):
            return  # another environment's: not ours to judge
        # By age: a doubt comes before the try that was to settle it. A wall clock may have been set back in between.
        for item in sorted(found, key=lambda item: (item.intent.generation, item.intent.wall)):
            await self._resume(item)

    async def forget_lost(self) -> None:
        """The doubt about an earlier answer is settled, or has passed to a newer slot."""
        slot, self._lost = self._lost, None
        if slot is not None:
            await self._journal.free(slot)

    # -- start --------------------------------------------------------------------------------------------------------

    async def _adopt(self, stored: Grant | None, event: Event | None = None) -> None:
        """Take over what was read from the store. `StoreError`: nothing has changed."""
        held = self._held
        verdict = await self._book.verdict(stored.token_hash) if stored and stored.refresh_token else None
        if event is not None:
            held.see(event)
        if stored is not None and stored.issuer not in ("", held.issuer):
            # Its token must not be posted to another login host: the refusal would be taken for its death.
            held.hold(replace(stored, refresh_token=None, access_token=None, origin=None))
            held.enter(State.NONE, f"the login was for {stored.issuer}, and the configuration says {held.issuer}")
            return
        held.hold(stored or Grant(held.name))
        if held.grant.refresh_token is None:
            held.enter(State.NONE, "revoked" if stored else "never logged in")
        elif verdict is not None:
            held.enter(State.NEEDS_LOGIN, verdict)
        else:
            held.enter(State.FRESH, "")

    async def _resume(self, item: Found) -> None:
        held, intent = self._held, item.intent
        grant = held.grant
        ours = intent.generation == grant.generation and (
            intent.login or (intent.lineage == grant.lineage and intent.token_hash == grant.token_hash)
        )
        # The store came back from a backup while the answer was not in it yet: what it holds is long spent.
        newer = intent.generation > grant.generation
        if item.answer is None and ours:
            await self._resume_unanswered(item)
        elif item.answer is None or not (ours or newer):
            # The store has moved on: the answer was committed, or a login replaced its lineage.
            await self._journal.free(item.slot)
        else:
            before, anew = grant, intent.login or newer
            if anew:
                before = replace(grant, lineage=intent.lineage, issuer=held.issuer)
            if intent.login:
                before = replace(before, refresh_token=None, access_token=None, origin=None)
            attempt = Attempt(before, login=anew)
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

    async def _row_is_ours(self) -> bool:
        """Read the row past every cache: what is posted must be what the store holds. False: nothing to post."""
        held = self._held
        mine = (held.grant.generation, held.grant.token_hash)
        try:
            stored = await self._book.read()
            theirs = (stored.generation, stored.token_hash) if stored else (0, "")
            if theirs == mine:
                return True
        except (Damaged, WrongKey, UnsafeFile) as error:
            held.back_off(f"nothing is redeemed while a person must look at the store: {error}")
            return False
        except StoreError as error:
            # The journal can hold the answer until the store is back. The lock says that nobody else has moved the row.
            if held.last_call(held.clock.now()):
                log.error("redeeming without the store", grant=held.name, reason=str(error))
                return True
            held.back_off(f"nothing is redeemed while the store can't be read: {error}")
            return False
        if theirs[0] < mine[0]:
            held.see(Event.NOT_CONFIGURED, OLDER_STORE)
            return False
        try:
            await self._adopt(stored, Event.PEER_IS_NEWER)
        except StoreError as error:
            held.back_off(f"the store holds a newer token and can't be read whole: {error}")
        return False

    async def _redeem(self, attempt: Attempt) -> Outcome:
        """Prove that there is room, drain, post, settle. `JournalError`: nothing was posted."""
        held = self._held
        intent = Intent(
            grant=held.name,
            generation=attempt.before.generation,
            lineage=attempt.before.lineage,
            token_hash=token_hash(attempt.refresh_token),
            attempt=attempt.number,
            login=attempt.login,
            wall=held.clock.now().wall,
            boot_id=boot_id(),
        )
        slot = await self._journal.begin(intent)
        if not attempt.login:
            held.see(Event.INTENT_DURABLE)
            if held.broker.kills_old_token:
                await held.turnstile.drain(DRAIN)
        if held.closing:
            outcome = Outcome(Event.NOTHING_SENT, "bearerd is shutting down")
        else:
            outcome = await redeem(
                attempt,
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

    # -- after it -----------------------------------------------------------------------------------------------------

    async def _settle(self, outcome: Outcome, slot: Slot, *, login: bool, resumed: bool = False) -> None:
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
        await self._journal.free(slot)

    def _reach(self, event: Event, state: State, reason: str, *, resumed: bool) -> None:
        # After a restart the state before the event is gone; only where it led to matters.
        if resumed:
            self._held.enter(state, reason)
        else:
            self._held.see(event, reason)

    async def _publish(self, outcome: Outcome, grant: Grant, slot: Slot, *, login: bool, resumed: bool) -> None:
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
            await self._adopt(stored, Event.PEER_IS_NEWER)
            self._outstanding = None
            return
        held.see(Event.COMMITTED, outcome.reason)
        self._outstanding = None
        if held.patience.unusable_too_often:
            held.see(Event.NOT_CONFIGURED, outcome.reason)
        await self._journal.free(slot)
        await self.forget_lost()
        log.info("token renewed", grant=held.name, generation=grant.generation, api_host=str(grant.origin))

    async def _write(self, grant: Grant, slot: Slot, outcome: Outcome) -> bool:
        pause, unkept = 0.05, outcome.unkept
        while True:
            try:
                return await self._book.write(grant)
            except StoreError as error:
                reason = f"the new token is not in the store yet: {error}"
                if reason != self._held.reason:
                    self._held.reason = reason
                    log.error("the store did not take the new token; trying on", grant=grant.name, reason=str(error))
            if unkept is not None and await keep(self._journal, slot, unkept, grant.refreshed):
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
                await self._adopt(stored, Event.PEER_IS_NEWER)
            else:
                await self._book.bury(held.grant.token_hash, reason, held.clock.now().wall)
        except StoreError as error:
            log.error("the dead token could not be marked", grant=held.name, reason=str(error))
            return False
        return True
