"""One token request, from the intent to what becomes of its answer: prove room, tell peers, drain, post, settle.

The order is the whole point of it; see "The rotation" in `docs/custody.md`.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from proxy.secret import Secret
from proxy.store import Held, StoreError
from proxy.tokens.descent import place_of
from proxy.tokens.grant import Event, token_hash
from proxy.tokens.holding import Holding
from proxy.tokens.journal import Intent, Journal, Slot, boot_id
from proxy.tokens.lease import ENOUGH, Tenure
from proxy.tokens.oauth import Wish
from proxy.tokens.rotation import Attempt, Outcome, Redeems, redeem
from proxy.tokens.settlement import Settlement

DRAIN = 2.0  # seconds that a redeem waits for exchanges which still use the old access token
SLOW = 5.0  # seconds after which a token request that is out is no reason any more to hold calls back

OUTCOMES = {
    Event.ANSWER_KEPT: "renewed",
    Event.TOKEN_DEAD: "dead",
    Event.TRY_LATER: "try-later",
    Event.ANSWER_LOST: "uncertain",
    Event.NOT_CONFIGURED: "misconfigured",
    Event.NOTHING_SENT: "not-sent",
}


@dataclass(frozen=True, slots=True)
class Right:
    """The right to spend, and a turn in the lane that ends with the post. `after_peer`: a peer has just given it up."""

    tenure: Tenure
    turn: AsyncExitStack
    after_peer: bool = False


class Redemption:
    """Of one grant, by whoever has the right to spend. `endpoint` is where it is asked for."""

    __slots__ = ("_held", "_journal", "_observe", "_settlement", "endpoint")

    def __init__(
        self,
        held: Holding,
        *,
        journal: Journal,
        settlement: Settlement,
        endpoint: Redeems,
        observe: Callable[[str, str], None],
    ) -> None:
        self.endpoint = endpoint
        self._held = held
        self._journal = journal
        self._settlement = settlement
        self._observe = observe

    async def redeem(self, attempt: Attempt, wish: Wish, right: Right) -> Outcome | Held:
        """Prove that there is room, drain, post, settle. `JournalError`, `StoreError`, `Held`: nothing was posted."""
        held = self._held
        # What spends nothing needs no proof: its answer may be lost.
        slot = await self._journal.begin(self._intent(attempt, wish.secret)) if wish.secret is not None else None
        if slot is not None and not attempt.login and not await self._note(slot, right.tenure):
            return Held(held.name, "")
        if not attempt.login:
            held.see(Event.INTENT_DURABLE)
            if held.broker.kills_old_token:
                await held.turnstile.drain(DRAIN)
        if right.tenure.left < ENOUGH:
            await self._take_back(slot, login=attempt.login)
            return Held(held.name, "")
        outcome = self._hindrance(attempt) or await self._post(attempt, wish, slot)
        await right.turn.aclose()  # what follows is between us and the store
        self._observe(held.name, OUTCOMES.get(outcome.event, "error"))
        await self._settlement.settle(outcome, slot, login=attempt.login)
        return outcome

    async def _post(self, attempt: Attempt, wish: Wish, slot: Slot | None) -> Outcome:
        held = self._held
        # The broker may never have seen it, and still take the old access token; else its 401 is waited out as ever.
        slow = asyncio.get_running_loop().call_later(SLOW, held.turnstile.reopen)
        try:
            return await redeem(
                attempt,
                wish,
                slot,
                endpoint=self.endpoint,
                journal=self._journal,
                broker=held.broker,
                terms=held.terms,
                clock=held.clock,
            )
        finally:
            slow.cancel()

    async def _note(self, slot: Slot, right: Tenure) -> bool:
        """Tell all who share the row, or give the slot back."""
        try:
            if await right.note_spending(slot.intent.generation):
                return True
        except StoreError:
            await self._settlement.nothing_spent()  # it may have got through
            await self._journal.free(slot)
            raise
        await self._journal.free(slot)
        return False

    async def _take_back(self, slot: Slot | None, *, login: bool) -> None:
        """It took too long to get here: somebody else may believe that it is their turn."""
        held = self._held
        if not login:
            held.see(Event.NOTHING_SENT, "the right to spend has almost run out")
            held.turnstile.reopen()
            await self._settlement.nothing_spent()
        if slot is not None:
            await self._journal.free(slot)

    def _hindrance(self, attempt: Attempt) -> Outcome | None:
        """Why nothing may be posted now, in the very moment before it is."""
        if self._held.closing:
            return Outcome(Event.NOTHING_SENT, "bearerd is shutting down")
        if not attempt.login and self._held.quarantine.holds(attempt.before):
            return Outcome(Event.NOTHING_SENT, self._held.quarantine.reason)
        return None

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
            issuer=place_of(self._held),
            epoch=attempt.before.epoch,
        )
