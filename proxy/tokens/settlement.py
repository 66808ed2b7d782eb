"""What becomes of a redemption: the grant's next state, its commit, and the journal slot that is given back last.

Here lies what must outlast a flight: the doubt about an answer that was lost, and a pair that is not in the store yet.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

from proxy import logs
from proxy.store import StoreError
from proxy.tokens.answer import as_answer
from proxy.tokens.book import Book
from proxy.tokens.descent import place_of
from proxy.tokens.grant import NEXT, Event, Grant, State
from proxy.tokens.holding import Holding
from proxy.tokens.journal import Intent, Journal, JournalError, Slot, boot_id
from proxy.tokens.rotation import Outcome, keep
from proxy.tokens.standing import foreign_host
from proxy.tokens.stored import OLDER_STORE, take_over

NOT_STORED = "the new token is not in the store yet"
NO_PAIR = "the broker's answer held a refresh token, but no usable access token and API server"
COMMIT_AGAIN = 1.0  # seconds at most between tries to commit

log = logs.get("tokens")


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A pair that was published, and is not in the store yet.

    `climbs`: a row that went back in time does not hinder it; a person asked for it, or the journal has proved it.
    `copy`: the store once had it, and has lost it.
    """

    grant: Grant
    slot: Slot | None
    outcome: Outcome
    climbs: bool
    copy: bool = False


class Settlement:
    """Of one grant. Nothing is redeemed here, and what settles an outcome raises no `StoreError`."""

    __slots__ = ("_book", "_held", "_journal", "_lost", "outstanding")

    def __init__(self, held: Holding, *, book: Book, journal: Journal) -> None:
        self.outstanding: Outstanding | None = None
        self._held = held
        self._book = book
        self._journal = journal
        self._lost: Slot | None = None  # the intent whose answer was lost, as long as that is in doubt

    @property
    def in_doubt(self) -> bool:
        """Whether an answer was lost, and nothing has settled yet what became of it."""
        return self._lost is not None

    async def settle(
        self, outcome: Outcome, slot: Slot | None, *, login: bool, resumed: bool = False, climbs: bool = False
    ) -> None:
        """Turn the outcome of a redeem into a state, and free its slot once nothing depends on it any more.

        `resumed`: it comes from the journal, and nobody knows the state of that time.
        """
        held = self._held
        match outcome.event:
            case Event.ANSWER_KEPT if outcome.grant is not None:
                self._publish(outcome, outcome.grant, login=login, resumed=resumed)
                climbs = climbs or login or held.terms.minting
                told = outcome if outcome.reason == held.reason else replace(outcome, reason=held.reason)
                out = Outstanding(outcome.grant, slot, told, climbs)
                await self._commit_after(self.outstanding, out)
                return
            case _ if login:
                pass
            case Event.ANSWER_LOST:
                await self.doubt(slot)
                self._reach(Event.ANSWER_LOST, State.UNCERTAIN, outcome.reason, resumed=resumed)
                held.back_off(outcome.reason)
                return  # and who shares the row is to know as well
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
        if not login and slot is not None:
            await self.nothing_spent()
        await self._free(slot)

    # -- doubt --------------------------------------------------------------------------------------------------------

    async def doubt(self, slot: Slot | None) -> None:
        """The answer to this intent was lost."""
        await self.forget_lost()
        self._lost = slot

    async def forget_lost(self) -> None:
        """The doubt about an earlier answer is settled, or has passed to a newer slot."""
        slot, self._lost = self._lost, None
        await self._free(slot)

    async def nothing_spent(self) -> None:
        """Tell those who share the row. If that fails they find out in another way, and later."""
        with suppress(StoreError):
            await self._book.nothing_spent()

    async def supersede(self) -> None:
        """The store holds what a person has put in the place of everything that was known here."""
        before, self.outstanding = self.outstanding, None
        if before is not None:
            await self._free(before.slot)
        await self.forget_lost()

    async def rescue(self) -> None:
        """The store has lost the pair in hand. It must not be in memory alone: a kill would leave an older token."""
        held, grant = self._held, self._held.grant
        if self.outstanding is not None or grant.refresh_token is None:
            return
        # As an answer to something that a person had asked for: a start adopts it over whatever is older.
        intent = Intent(
            grant=grant.name,
            generation=grant.generation - 1,
            lineage=grant.lineage,
            token_hash=grant.token_hash,
            attempt=0,
            login=True,
            wall=grant.logged_in,
            boot_id=boot_id(),
            issuer=place_of(held),
            epoch=grant.epoch,
        )
        try:
            slot = await self._journal.begin(intent)
            self._journal.keep(slot, 200, "application/json", as_answer(grant), grant.refreshed)
            await self._journal.sync(slot)
        except JournalError as error:
            log.error("the newest token is in memory only", grant=grant.name, reason=str(error))
            return
        self.outstanding = Outstanding(grant, slot, Outcome(Event.ANSWER_KEPT, grant=grant), climbs=False, copy=True)

    async def taken_over(self) -> None:
        """A newer pair of somebody else's is in force: nothing older is waited for any more."""
        before, self.outstanding = self.outstanding, None
        if before is not None and before.copy:
            await self._free(before.slot)  # else it is the one copy of an answer that somebody may come to miss
        await self.forget_lost()

    async def restore(self) -> None:
        """Bring a store that was set back up to what is held here. `StoreError`: it may be on its way there."""
        if not await self._book.write(self._held.grant, climb=True):
            raise StoreError(f"grant {self._held.name} changed meanwhile; try again")
        if self.outstanding is not None:
            await self.committed(self.outstanding)

    async def _free(self, slot: Slot | None) -> None:
        if slot is not None:
            await self._journal.free(slot)

    def _reach(self, event: Event, state: State, reason: str, *, resumed: bool) -> None:
        # After a restart the state before the event is gone; only where it led to matters.
        if resumed:
            self._held.enter(state, reason)
        else:
            self._held.see(event, reason)

    async def _bury(self, reason: str, *, resumed: bool) -> bool:
        """The refresh token is dead: remember that, so that it is never posted again on its own. False: not durably."""
        held = self._held
        if self._lost is not None or held.lost_by[0] == held.grant.generation:
            reason = f"the answer to a token request was lost, and now {reason}"
        if resumed:
            with suppress(StoreError):  # the verdict may be in the store already, with more to it than the answer tells
                known = await self._book.verdict(held.grant.token_hash)
                reason = known.reason if known is not None else reason
        self._reach(Event.TOKEN_DEAD, State.NEEDS_LOGIN, reason, resumed=resumed)
        held.dead = held.grant.token_hash
        try:
            # Evidence about the bytes that were posted, no verdict on the account: the row may have moved on.
            stored = await self._book.read()
            if stored is not None and stored.generation > held.grant.generation:
                await take_over(held, self._book, stored, Event.PEER_IS_NEWER)
            else:
                await self._book.bury(held.grant.token_hash, reason, held.clock.now().wall, pair_refused=held.rejected)
        except StoreError as error:
            log.error("the dead token could not be marked", grant=held.name, reason=str(error))
            return False
        return True

    # -- a new pair ---------------------------------------------------------------------------------------------------

    def _publish(self, outcome: Outcome, grant: Grant, *, login: bool, resumed: bool) -> None:
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

    async def _commit_after(self, before: Outstanding | None, out: Outstanding) -> None:
        self.outstanding = out
        await self.commit()
        if before is not None and self.outstanding is None:
            await self._free(before.slot)  # a newer answer of the same grant supersedes it

    async def commit(self) -> None:
        """Write the new generation for as long as it takes; the journal holds it meanwhile.

        What was minted is tried once and served as if it were committed: the next one needs no store either.
        """
        pause = 0.05
        while (out := self.outstanding) is not None:
            try:
                await self._try_to_commit(out)
            except StoreError as error:
                self._complain(error)
            else:
                break
            if self._held.terms.minting:
                self._arrive(self._held.reason)
                break
            await self._keep_again(out)
            await asyncio.sleep(pause)
            pause = min(COMMIT_AGAIN, pause * 2)

    async def _try_to_commit(self, out: Outstanding) -> None:
        if await self._book.write(out.grant, climb=out.climbs):
            await self.committed(out)
        else:
            await self._overtaken(out)

    def _complain(self, error: StoreError) -> None:
        reason = f"{NOT_STORED}: {error}"
        if reason != self._held.reason:
            log.error("the store did not take the new token; trying on", grant=self._held.name, reason=str(error))
            self._held.reason = reason

    async def _keep_again(self, out: Outstanding) -> None:
        unkept = out.outcome.unkept
        if (
            out.slot is not None
            and unkept is not None
            and await keep(self._journal, out.slot, unkept, out.grant.refreshed)
        ):
            self.outstanding = replace(out, outcome=replace(out.outcome, unkept=None))

    def _arrive(self, reason: str) -> None:
        """The pair is in the store, or need not be."""
        if self._held.state is State.ANSWERED:
            self._held.see(Event.COMMITTED, reason)
        elif self._held.reason.startswith(NOT_STORED):
            self._held.reason = reason

    async def committed(self, out: Outstanding) -> None:
        """The store has it: nothing else need hold on to it."""
        held, reason = self._held, out.outcome.reason
        self._arrive(reason)
        self.outstanding = None
        if held.patience.unusable_too_often and (held.state, Event.NOT_CONFIGURED) in NEXT:
            held.see(Event.NOT_CONFIGURED, reason)
        await self._free(out.slot)
        await self.forget_lost()
        grant = out.grant
        log.info("token renewed", grant=held.name, generation=grant.generation, api_host=str(grant.origin))

    async def _overtaken(self, out: Outstanding) -> None:
        """The row is not where it was. `StoreError`: nothing has changed."""
        held = self._held
        stored = await self._book.read()
        if stored is None or stored.generation < out.grant.generation:
            # The journal holds on to the answer until a person has said which of the two counts.
            held.see(Event.DOUBTFUL_STORE, OLDER_STORE)
            return
        if not held.terms.minting:
            # Its slot is not freed: the one copy of an answer that somebody may come to miss.
            log.error("somebody else has renewed this grant meanwhile", grant=held.name)
        await take_over(held, self._book, stored, Event.PEER_IS_NEWER)
        self.outstanding = None
