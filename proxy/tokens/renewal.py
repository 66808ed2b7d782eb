"""What may change a grant's tokens: a rotation, a peer, a login, an operator. First of all, the right to spend.

Everything here runs inside a flight of the keeper: one at a time, and no request can cancel it. What is decided on the
way is in `holding.py`, a token request step by step in `redemption.py`, what its answer means in `rotation.py`, and
what that leads to in `settlement.py`.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TypeVar

from proxy import logs
from proxy.secret import Secret
from proxy.store import Held, StoreError
from proxy.tokens.book import Book
from proxy.tokens.descent import anew
from proxy.tokens.grant import NEXT, Event, Grant, State
from proxy.tokens.holding import Holding
from proxy.tokens.journal import Found, Journal, JournalError
from proxy.tokens.lanes import OPEN_LANE, Turns
from proxy.tokens.lease import TTL, Tenure, tenure
from proxy.tokens.oauth import Mint, Refresh, Wish
from proxy.tokens.redemption import Redemption, Right
from proxy.tokens.resume import resume
from proxy.tokens.rotation import Attempt, Outcome, Redeems
from proxy.tokens.settlement import Settlement
from proxy.tokens.stored import Age, age, look, mint_is_wanted, row_is_ours, take_over

POLL = 0.25  # seconds between looks at a row that somebody else is about to move
PEER_IN_VAIN = "another bearerd has just asked for a token, and got none"
PEER_SPENDS = "another bearerd is renewing this grant, and has not come to an end"

T = TypeVar("T")

log = logs.get("tokens")


Work = Callable[[Right], Awaitable[T | Held]]


class Renewal:
    """Changes what is held of one grant, here and in store and journal."""

    __slots__ = ("_book", "_held", "_journal", "_redemption", "_settlement", "lane")

    def __init__(
        self,
        held: Holding,
        *,
        book: Book,
        journal: Journal,
        endpoint: Redeems,
        observe: Callable[[str, str], None],
        lane: Turns = OPEN_LANE,
    ) -> None:
        self.lane = lane
        self._held = held
        self._book = book
        self._journal = journal
        self._settlement = Settlement(held, book=book, journal=journal)
        self._redemption = Redemption(
            held, journal=journal, settlement=self._settlement, endpoint=endpoint, observe=observe
        )

    def redefine(self, endpoint: Redeems) -> None:
        """Ask this token endpoint from the next redeem on."""
        self._redemption.endpoint = endpoint

    @property
    def shared(self) -> bool:
        """Whether other processes may renew this grant."""
        return self._book.shared

    @property
    def outstanding(self) -> bool:
        """Whether a pair is not in the store yet."""
        return self._settlement.outstanding is not None

    @property
    def in_doubt(self) -> bool:
        """Whether the answer to a token request was lost, and nobody knows yet what became of it."""
        return self._settlement.in_doubt

    # -- what a flight may be -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Renew, or find out why not; first bring an outstanding commit to its end."""
        held = self._held
        try:
            if held.terms.minting:
                await self._mint()
            elif self.outstanding:
                await self.commit()
            elif await self._with_right(self._rotate, join=True) is None and held.state is State.DUE:
                held.hinder(PEER_SPENDS)
        except JournalError as error:
            held.hinder(f"nothing is redeemed while its answer can't be saved: {error}")
        except StoreError as error:
            held.hinder(f"nothing is redeemed while the store fails: {error}")

    async def commit(self) -> None:
        """Bring the pair that is not in the store yet there."""
        await self._settlement.commit()

    async def look(self) -> None:
        """Learn what others have done to the grant. `StoreError`: nothing has changed."""
        if self.outstanding and self._held.state is not State.QUARANTINED:
            return  # whose commit will see it
        match await look(self._held, self._book):
            case Age.NEWER:
                await self._settlement.taken_over()
            case Age.OLDER:
                await self._settlement.rescue()
            case Age.SAME:
                pass

    async def old_token_lives(self) -> None:
        """The answer that was lost has changed nothing."""
        await self._settlement.forget_lost()
        await self._settlement.nothing_spent()

    async def login(self, wish: Wish, lineage: str) -> Outcome:
        """Spend a pasted token or a code, or mint. `JournalError`, `StoreError`: nothing was posted.

        Unless the pair was kept, all is as before.
        """

        held = self._held

        def attempt() -> Attempt:
            before = anew(held, lineage, held.clock.now().wall, held.quarantine.epoch)
            if isinstance(wish, Refresh):
                before = replace(before, refresh_token=wish.token)
            return Attempt(before, wish, login=True)

        async def work(right: Right) -> Outcome | Held:
            if self.shared:
                await self.look()  # the generation counts on from there
            return await self._redemption.redeem(attempt(), wish, right)

        minting = isinstance(wish, Mint)
        outcome = await self._post_mint(attempt()) if minting else await self._with_right(work)
        if outcome is None or isinstance(outcome, Held):
            return Outcome(Event.NOTHING_SENT, PEER_SPENDS)
        if outcome.event is Event.ANSWER_KEPT and held.grant.lineage != lineage:
            return Outcome(Event.ANSWER_LOST, "somebody else changed the grant meanwhile")
        return outcome

    async def adopt(self) -> bool:
        """Try the newest token that is held, once. `JournalError`, `StoreError`, or False: nothing was posted."""
        held = self._held
        try:
            if held.terms.minting:
                held.see(Event.ADOPTED)
                await self._mint()
                return True
            return await self._with_right(self._adopt) is not None
        finally:
            held.bury(held.reason)
            if held.state is State.NEEDS_LOGIN:
                await self._settlement.forget_lost()

    async def install(self, secret: Secret, lineage: str) -> None:
        """Take a plain secret: stored, then served. `StoreError`: nothing has changed."""
        held = self._held
        wall = held.clock.now().wall
        grant = replace(
            anew(held, lineage, wall, held.quarantine.epoch),
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
        await self._settlement.supersede()

    async def give_up(self, tell: Callable[[Secret], Awaitable[None]] | None = None) -> Secret | None:
        """Keep no token, and return what was held; the generation counts on. `StoreError`: the grant stands.

        `tell` is called with it first, while nothing can renew it.
        """
        held = self._held
        if self.shared:
            await self.look()
        last = held.grant.access_token or held.grant.refresh_token
        if tell is not None and last is not None:
            await tell(last)
        gone = Grant(held.name, generation=held.grant.generation + 1, epoch=held.grant.epoch)
        await self._replace(gone)
        held.hold(gone)
        held.see(Event.REVOKED, "revoked")
        await self._settlement.supersede()
        return last

    async def _replace(self, grant: Grant) -> None:
        """Write the generation after the one in hand, above an older row too. `StoreError`: it is not in force."""
        if not await self._book.write(grant, climb=True):
            stored = await self._book.read()
            # A commit that was reported as failed may have got through after all: the next try starts from that.
            if stored is not None and stored.generation > self._held.grant.generation:
                await take_over(self._held, self._book, stored)
            raise StoreError(f"grant {grant.name} changed meanwhile; try again")

    async def load(self) -> None:
        """Take over what the store holds. Raises `StoreError`; then nothing has changed."""
        await take_over(self._held, self._book, await self._book.read())

    async def resume(self, found: Iterable[Found]) -> None:
        """Settle what a kill left in the journal. Run it after `load`."""
        await resume(found, self._held, self._settlement, self._journal)

    # -- the right to spend -------------------------------------------------------------------------------------------

    async def _with_right(self, work: Work[T], *, join: bool = False) -> T | None:
        """Do `work` as soon as nobody else may be spending; None if that takes too long. `StoreError` of the lease.

        `join`: what somebody else brings meanwhile will do as well, and None is returned then, too.
        """
        held, clock = self._held, self._held.clock
        end, theirs = clock.now().boot + TTL, -math.inf
        while True:
            # Whoever gives its right back early has come to an end.
            result = await self._in_turn(work, after_peer=theirs - clock.now().boot > 1.0)
            now = clock.now().boot
            if not isinstance(result, Held):
                return result
            if held.closing or now >= end:
                return None
            theirs = now + result.left
            await asyncio.sleep(POLL)
            if join:
                # A new pair, or a verdict: whoever came to it may have died before giving its right back.
                before = held.grant.generation
                await self.look()
                if held.grant.generation != before or held.state is not State.DUE:
                    return None

    async def _in_turn(self, work: Work[T], *, after_peer: bool) -> T | Held:
        """Do `work` with a turn in the lane and the right to spend, or tell who has it."""
        async with AsyncExitStack() as turn:
            await turn.enter_async_context(self.lane.turn(urgent=self._held.turnstile.wanted))
            async with tenure(self._book, self._held.clock) as right:
                return right if isinstance(right, Held) else await work(Right(right, turn, after_peer=after_peer))

    async def _rotate(self, right: Right) -> bool | Held:
        """One try to renew: whether there was anything to do for it."""
        held = self._held
        ours = await row_is_ours(held, self._book)
        if ours is not True:
            if held.state is State.QUARANTINED:
                await self._settlement.rescue()
            return ours
        if right.after_peer:
            held.back_off(PEER_IN_VAIN)  # a second try at once would be one for each of us
            return False
        limit = held.environment.max_rotations_per_day
        if held.patience.rotated_too_often(held.clock.now().boot, limit):
            held.see(Event.NOT_CONFIGURED, f"{limit} rotations within a day: something renews far too often")
            return False
        wish = held.renewal
        result = await self._redemption.redeem(self._attempt(held.grant, wish), wish, right)
        return result if isinstance(result, Held) else True

    async def _mint(self) -> None:
        """Ask for what costs nothing: no lease, no store. How many of them a day takes, their life says."""
        held = self._held
        if await mint_is_wanted(held, self._book):
            await self._post_mint(self._attempt(replace(held.grant, epoch=held.quarantine.epoch), Mint()))

    async def _post_mint(self, attempt: Attempt) -> Outcome | Held:
        async with AsyncExitStack() as turn:
            await turn.enter_async_context(self.lane.turn(urgent=self._held.turnstile.wanted))
            return await self._redemption.redeem(
                attempt, Mint(), Right(Tenure(self._book, self._held.clock, math.inf), turn)
            )

    async def _adopt(self, right: Right) -> bool | Held:
        """Post the newest token that anybody holds, once, whatever was thought of it."""
        held = self._held
        stored, spending = await self._book.row()
        if spending is not None and spending.holder != self._book.holder and spending.left > 0:
            return Held(held.name, spending.holder, spending.left)
        match age(stored, held.grant):
            case Age.NEWER:
                await take_over(held, self._book, stored, Event.PEER_IS_NEWER)
                await self._settlement.taken_over()
                if held.state in (State.FRESH, State.NONE):
                    return True  # a peer has done it, or has given the grant up
            case Age.OLDER:
                # Now, while nothing is out: the store ends newer than what it has and what we have.
                await self._settlement.restore()
            case Age.SAME:
                pass
        if (held.state, Event.ADOPTED) in NEXT:
            held.patience.reset()
            held.see(Event.ADOPTED, held.reason)
        wish = held.renewal
        before = replace(held.grant, epoch=held.quarantine.epoch)
        result = await self._redemption.redeem(self._attempt(before, wish), wish, right)
        return result if isinstance(result, Held) else True

    def _attempt(self, before: Grant, wish: Wish) -> Attempt:
        return Attempt(before, wish, login=False, number=self._held.patience.failures + 1)
