"""A worker, as custody sees it: what it has been told, what it holds of ours, and what it asks for."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from proxy.clock import Now
from proxy.errors import Refusal
from proxy.pacing import Pacing, Turn
from proxy.tokens.keeper import Keeper
from proxy.tokens.lender import found_by
from proxy.workers.link import Link
from proxy.workers.parcels import headers_of, pair_told, refusal_told

MOST_TURNS = 256  # that a worker is given at a time
KEYS_AT_ONCE = 1000  # in a message

_Budget = tuple[str, str | None, str]  # grant, category, client


class Hand:
    """One worker, and when it was started. `keeper_of` gives the keeper of a grant or member."""

    def __init__(  # noqa: PLR0917  what the supervisor tells, and its link
        self,
        number: int,
        serial: int,
        pid: int,
        since: float,
        link: Link,
        keeper_of: Callable[[str], Awaitable[Keeper]],
    ) -> None:
        self.number, self.serial, self.pid, self.since, self.link = number, serial, pid, since, link
        self.synced = 0  # the last `sync` that it has answered
        self.drained = asyncio.Event()
        self.gone = asyncio.Event()
        self._keeper_of = keeper_of
        self._knows: set[str] = set()  # grants whose pairs it holds
        self._asked: dict[str, tuple[int, Keeper]] = {}  # whether it still uses a pair: number of the question, keeper
        self._question = 0
        self._turns: dict[_Budget, deque[Turn]] = {}
        self._spare: dict[tuple[str, str | None], list[Any]] = {}  # what it knows of budgets

    @property
    def name(self) -> str:
        """One incarnation, for the metrics."""
        return f"{self.number}.{self.serial}"

    def told(self, in_flight: int) -> dict[str, Any]:
        """It as plain data: since when it runs, as Unix time, and how often it was started again."""
        return {
            "number": self.number,
            "pid": self.pid,
            "ready": self.synced > 0,
            "since": self.since,
            "in_flight": in_flight,
            "restarts": self.serial - 1,
        }

    # -- token pairs --------------------------------------------------------------------------------------------------

    def pair(self, keeper: Keeper, *, always: bool = False) -> None:
        """Tell how a grant stands, if the worker uses it. `always`: even if it has not asked for it yet."""
        if always:
            self._knows.add(keeper.name)
        if keeper.name not in self._knows:
            return
        pair = keeper.lendable()
        told = None if pair is None else pair_told(pair)
        self.link.say("pair", {"grant": keeper.name, "pair": told, "doubted": keeper.doubted})
        self._released(keeper.name)

    def waits_for(self, grant: str) -> bool:
        """Whether it still uses a pair that is about to be exchanged: the end of that is told to it."""
        return grant in self._asked

    def hold(self, keeper: Keeper) -> None:
        """The pair is about to be exchanged: no call more with it. Until those are over, one counts as lent."""
        if keeper.name not in self._knows or keeper.name in self._asked:
            return
        self._question += 1
        if self.link.say("hold", {"grant": keeper.name, "question": self._question}):
            keeper.lend()
            self._asked[keeper.name] = self._question, keeper

    def held(self, grant: str, question: int) -> None:
        """No call uses that pair any more."""
        if self._asked.get(grant, (0, None))[0] == question:
            self._released(grant)

    def _released(self, grant: str) -> None:
        _, keeper = self._asked.pop(grant, (0, None))
        if keeper is not None:
            keeper.give_back()

    # -- what it asks -------------------------------------------------------------------------------------------------

    async def answer(self, asked: dict[str, Any], pacing: Pacing) -> None:
        """Answer a question: for a token, a newer one, or places in a budget."""
        reply: dict[str, Any] = {"id": asked["id"]}
        try:
            match asked["what"]:
                case "take":
                    await self._take(asked["grant"])
                case "renew":
                    reply["newer"] = await self._renew(asked["grant"], int(asked["stale"]))
                case "turns":
                    reply["turns"] = await self._give_turns(asked, pacing)
                case _:
                    raise LookupError
        except Refusal as refusal:
            reply["refusal"] = refusal_told(refusal)
        self.link.say("reply", reply)

    async def _take(self, grant: str) -> None:
        keeper = await found_by(self._keeper_of, grant)
        await keeper.take()
        try:
            self.pair(keeper, always=True)
        finally:
            keeper.give_back()

    async def _renew(self, grant: str, stale: int) -> bool:
        keeper = await found_by(self._keeper_of, grant)
        newer = await keeper.renew(stale)
        if newer is None:
            return False
        try:
            self.pair(keeper, always=True)
        finally:
            keeper.give_back()
        return True

    async def used(self, grants: list[str], accepted: list[tuple[str, int]]) -> None:
        """Calls have used these grants, and the broker has taken those generations: what is used is kept fresh."""
        for grant, generation in (*((grant, None) for grant in grants), *accepted):
            with suppress(Refusal):  # it has gone since
                keeper = await found_by(self._keeper_of, grant)
                if generation is not None:
                    keeper.accepted(generation)
                elif keeper.take_now() is not None:
                    keeper.give_back()

    # -- places in budgets --------------------------------------------------------------------------------------------

    async def _give_turns(self, asked: dict[str, Any], pacing: Pacing) -> int:
        grant, category, client = asked["grant"], asked["category"], asked["client"]
        turns = await pacing.reads(client, category, grant, min(int(asked["most"]), MOST_TURNS))
        if self.link.over:
            for turn in turns:
                turn.give_back()
            return 0
        self._turns.setdefault((grant, category, client), deque()).extend(turns)
        return len(turns)

    def tell_spare(self, found: Iterable[list[Any]]) -> None:
        """Say what is left of budgets, see `Pacing.spare`, of those of which it has heard otherwise."""
        news = {(each[0], each[1]): each for each in found if self._spare.get((each[0], each[1])) != each}
        if news and self.synced and not self.link.waiting and self.link.say("spare", list(news.values())):
            self._spare |= news

    def settle(self, told: list[Any], now: Now | None = None) -> None:
        """What became of places: one answered, with what that tells of the budget; or so many done, unused or lost.

        `now`: for whoever has just looked at the clock.
        """
        grant, category, client, how, *more = told
        turns = self._turns.get((grant, category, client), deque())
        if how == "answered":
            status, calls, headers = more
            if turns:
                turns.popleft().answered(int(status), headers_of(headers), calls=int(calls), now=now)
            return
        for _ in range(min(int(more[0]), len(turns))):
            turn = turns.popleft()
            match how:
                case "done":
                    turn.answered(200, (), now=now)
                case "unused":
                    turn.give_back()
                case _:
                    turn.__exit__(None, None, None)

    # -- the end ------------------------------------------------------------------------------------------------------

    def lost(self) -> None:
        """It has gone: what it held is ours again, and of what it may have sent nobody knows the answer."""
        for grant in list(self._asked):
            self._released(grant)
        for turns in self._turns.values():
            for turn in turns:
                turn.__exit__(None, None, None)
        self._turns.clear()
        self.drained.set()
        self.gone.set()
