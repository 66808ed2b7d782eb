"""Token pairs in a worker: what custody has told of each grant, lent to calls as a keeper would lend them.

When custody is about to exchange a pair it says `hold`: nobody is lent the old one any more, and custody is told when
the last call with it is over. The next pair opens it again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from proxy.clock import Clock, Now
from proxy.errors import Refusal
from proxy.gate.clients import grant_of
from proxy.secret import Secret
from proxy.tokens.grant import Grant, TokenPair
from proxy.workers.line import HOLD, Line
from proxy.workers.parcels import pair_of

MEMBERS = 20_000  # pairs of members that are kept


class Mirror:
    """One grant, as custody has told of it. A `Lender`."""

    __slots__ = ("_changed", "_clock", "_lent", "_line", "_open", "_question", "_told", "doubted", "name", "pair")

    def __init__(self, name: str, line: Line, clock: Clock, told: Callable[["Mirror", int | None], None]) -> None:
        self.name = name
        self.doubted = False
        self._line = line
        self._clock = clock
        self._told = told
        self.pair: TokenPair | None = None
        self._open = True
        self._lent = 0
        self._question: int | None = None  # custody wants to know when nothing is lent any more
        self._changed: asyncio.Future[None] | None = None

    # -- for calls ----------------------------------------------------------------------------------------------------

    def take_now(self, now: Now | None = None) -> TokenPair | None:
        """See `Keeper`."""
        pair = self.pair
        if pair is None or not self._open or not pair.alive(now or self._clock.now()):
            return None
        self._lent += 1
        self._told(self, None)
        return pair

    async def take(self) -> TokenPair:
        """See `Keeper`."""
        deadline = asyncio.get_running_loop().time() + HOLD
        while (pair := self.take_now()) is None:
            if self._open:
                await self._line.ask({"what": "take", "grant": self.name}, f"grant {self.name}")
            else:
                await self._change(deadline)
            if asyncio.get_running_loop().time() >= deadline:
                detail = f"grant {self.name}: no token within {HOLD:.0f} s: a new one is on its way"
                raise Refusal("token-unavailable", detail, retry_after=5)
        return pair

    def give_back(self) -> None:
        """See `Keeper`."""
        self._lent -= 1
        self._answer()

    async def renew(self, stale: int) -> TokenPair | None:
        """See `Keeper`."""
        if self.pair is None or self.pair.generation == stale:
            what = {"what": "renew", "grant": self.name, "stale": stale}
            reply = await self._line.ask(what, f"grant {self.name}")
            if not reply["newer"]:
                return None
        return await self.take()

    def accepted(self, generation: int) -> None:
        """See `Keeper`."""
        if self.doubted:
            self._told(self, generation)

    @property
    def grant(self) -> Grant:
        """What is known of it here."""
        return Grant(self.name, generation=self.pair.generation if self.pair else 0)

    @property
    def access_token(self) -> Secret | None:
        """That of the pair in hand."""
        return self.pair.access_token if self.pair is not None else None

    @property
    def busy(self) -> bool:
        """Whether a call uses it, or waits for it."""
        return self._lent > 0 or self._changed is not None

    # -- for custody --------------------------------------------------------------------------------------------------

    def hold(self, question: int) -> None:
        """Lend nothing, and say when nothing is lent."""
        self._open, self._question = False, question
        self._answer()

    def renewed(self, pair: TokenPair | None, *, doubted: bool) -> None:
        """This is to be lent from now on; None: whoever wants a token asks."""
        self.pair, self.doubted, self._open, self._question = pair, doubted, True, None
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    def _answer(self) -> None:
        if self._question is not None and not self._lent:
            self._line.say("held", {"grant": self.name, "question": self._question})
            self._question = None

    async def _change(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        if self._changed is None:
            self._changed = loop.create_future()
        await asyncio.wait((self._changed,), timeout=max(0.0, deadline - loop.time()))


class Lending(Mapping[str, Mirror]):
    """All mirrors; as a mapping those of configured grants. `used` and `accepted` are for the next report."""

    def __init__(self, line: Line, clock: Clock) -> None:
        self._line = line
        self._clock = clock
        self._configured: dict[str, Mirror] = {}
        self._members: OrderedDict[str, Mirror] = OrderedDict()
        self.used: set[str] = set()
        self.accepted: set[tuple[str, int]] = set()

    def __getitem__(self, name: str) -> Mirror:
        return self._configured[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._configured)

    def __len__(self) -> int:
        return len(self._configured)

    def configured(self, names: set[str]) -> None:
        """These are the grants of the configuration. A name that went may come back, and be that of another broker."""
        for name in self._configured.keys() - names:
            self._configured.pop(name).renewed(None, doubted=False)
        for name in [name for name in self._members if grant_of(name) not in names]:
            self._members.pop(name).renewed(None, doubted=False)
        for name in names - self._configured.keys():
            self._configured[name] = self._new(name)

    def at_hand(self, name: str) -> Mirror | None:
        """What is known of a grant or member, if anything is."""
        return self._configured.get(name) or self._members.get(name)

    async def of(self, name: str) -> Mirror:
        """A grant, or a member that custody will be asked about."""
        found = self.at_hand(name)
        if found is None:
            found = self._members[name] = self._new(name)
            self._make_room()
        return found

    def _make_room(self) -> None:
        for name in list(self._members)[: max(0, len(self._members) - MEMBERS)]:
            if not self._members[name].busy:
                del self._members[name]

    def _new(self, name: str) -> Mirror:
        return Mirror(name, self._line, self._clock, self._told_of)

    def _told_of(self, mirror: Mirror, accepted: int | None) -> None:
        self.used.add(mirror.name)
        if accepted is not None:
            self.accepted.add((mirror.name, accepted))

    # -- for custody --------------------------------------------------------------------------------------------------

    def told(self, data: Mapping[str, Any]) -> None:
        """How a grant stands."""
        name = data["grant"]
        mirror = self.at_hand(name)
        if mirror is None:
            place = self._members if "/" in name else self._configured
            mirror = place[name] = self._new(name)
        mirror.renewed(None if data["pair"] is None else pair_of(data["pair"]), doubted=bool(data["doubted"]))

    def hold(self, name: str, question: int) -> None:
        """A pair is about to be exchanged."""
        mirror = self.at_hand(name)
        if mirror is not None:
            mirror.hold(question)
        else:
            self._line.say("held", {"grant": name, "question": question})

    def anew(self) -> None:
        """Another custody: it does not know which members we know, and would not tell of them."""
        for mirror in self._members.values():
            mirror.renewed(None, doubted=False)
