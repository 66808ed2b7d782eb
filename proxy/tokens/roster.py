"""The members of grants, as small as they can be: how each stands, and when to look at it next. Pure; boot times.

A hundred thousand of them have one timer between them, a wheel of seconds. What is known here is what the store said
last, or the member's keeper when it was let go; who needs a token asks `keepers.py` for a keeper.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from proxy.clock import Now
from proxy.gate.clients import grant_of
from proxy.tokens.answer import Terms
from proxy.tokens.grant import HOUR, Grant, State, hash_of
from proxy.tokens.quarantine import Quarantine
from proxy.tokens.schedule import end_of

IDLE = HOUR / 2  # seconds without a call, after which a member is only kept alive
NEVER = -1
TROUBLED = frozenset({State.NEEDS_LOGIN, State.STOPPED, State.QUARANTINED})
_HELD = "(a token that nobody has looked at)"  # stands for one: only its being there counts


class Member:
    """One person's grant beside a configured one. `at` is when it is looked at next, `used` when a call used it.

    `refreshed` is when its tokens were issued (Unix time); `slot` is its place on the wheel.
    """

    __slots__ = ("at", "epoch", "generation", "name", "refreshed", "renews", "slot", "state", "used")

    def __init__(self, name: str) -> None:
        self.name = name
        self.generation = 0
        self.epoch = 0
        self.state = State.NONE
        self.renews = False
        self.refreshed = 0.0
        self.used = -math.inf
        self.at = math.inf
        self.slot = NEVER

    def __repr__(self) -> str:
        return f"Member({self.name}, {self.state.value}, generation {self.generation})"


@dataclass(frozen=True, slots=True)
class Read:
    """What a stored record says of a member: all that there is to know but its tokens."""

    name: str
    generation: int
    epoch: int
    state: State
    renews: bool
    refreshed: float
    end: float = math.inf


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads members of one configured grant. `issuer` and `login` are what its tokens must be for."""

    terms: Terms
    issuer: str
    login: str
    quarantine: Quarantine

    def read(self, name: str, generation: int, record: Mapping[str, Any], dead: str | None, now: Now) -> Read:
        """How the member stands. `dead` is the hash of the token that its broker has refused, if it has one."""
        token = record["refresh_token"]
        # No `Secret` is made of a token that nobody asked for: the log's redactor would have to remember them all.
        shown = {key: _HELD if record[key] else None for key in ("refresh_token", "access_token")}
        grant = Grant.from_record(name, generation, {**record, **shown})
        end = end_of(grant, self.terms, now)
        refused = dead is not None and token and dead == hash_of(token)
        over = refused or (end is not None and end.left(now) <= 0)
        state = self._state(grant, over=bool(over))
        until = math.inf if end is None else end.at.boot
        return Read(name, generation, grant.epoch, state, bool(token), grant.refreshed, until)

    def _state(self, grant: Grant, *, over: bool) -> State:
        stranger = grant.issuer not in ("", self.issuer) or grant.login not in ("", self.login)
        if stranger or (grant.refresh_token is None and grant.access_token is None):
            return State.NONE
        if over:
            return State.NEEDS_LOGIN
        return State.QUARANTINED if self.quarantine.holds(grant) else State.FRESH


class Roster:
    """Every member that is known. `replica` spreads what several servers would all do at the same moment."""

    def __init__(self, replica: str = "") -> None:
        self._members: dict[str, Member] = {}
        self._counts: defaultdict[str, Counter[State]] = defaultdict(Counter)
        self._troubled: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._wheel: dict[int, list[Member]] = {}
        self._slots: list[int] = []
        self._replica = crc32(replica.encode())

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def get(self, name: str) -> Member | None:
        return self._members.get(name)

    def spread(self, name: str) -> float:
        """A number from 0 to 1 that is the same for a member at each look, and another one on each server."""
        return crc32(name.encode(), self._replica) / 2**32

    # -- how they stand -----------------------------------------------------------------------------------------------

    def put(self, read: Read) -> Member:
        """Take over what the store says. The caller plans its next look."""
        member = self._members.get(read.name)
        if member is None:
            member = self._members[read.name] = Member(read.name)
            self._counts[grant_of(read.name)][State.NONE] += 1
        member.generation, member.epoch = read.generation, read.epoch
        member.renews, member.refreshed = read.renews, read.refreshed
        self.stand(member, read.state)
        return member

    def stand(self, member: Member, state: State) -> None:
        """It is in this state now."""
        before, grant = member.state, grant_of(member.name)
        if before is state:
            return
        member.state = state
        counts = self._counts[grant]
        counts[before] -= 1
        counts[state] += 1
        if state in TROUBLED:
            self._troubled[grant][member.name] = None
        else:
            self._troubled[grant].pop(member.name, None)

    def remove(self, name: str) -> None:
        """It is gone, with its record or with the grant that it is a member of."""
        member = self._members.pop(name, None)
        if member is not None:
            self.stand(member, State.NONE)
            self._counts[grant_of(name)][State.NONE] -= 1
            member.at, member.slot = math.inf, NEVER

    def counts(self, grant: str) -> dict[State, int]:
        """How many members of a grant are in each state; states without any are left out."""
        return {state: count for state, count in self._counts[grant].items() if count > 0}

    def troubled(self, grant: str) -> Iterator[Member]:
        """Those that need somebody, those that have for longest first."""
        return (self._members[name] for name in self._troubled[grant])

    # -- when to look -------------------------------------------------------------------------------------------------

    def keep_alive(self, member: Member, now: Now) -> float:
        """When a member that nobody uses is renewed all the same; never, if it cannot be."""
        if not (member.renews and member.state is State.FRESH):
            return math.inf
        born = now.boot - max(0.0, now.wall - member.refreshed)
        return born + 12 * HOUR * (0.9 + 0.2 * self.spread(member.name))  # as `schedule.plan` has it

    def look(self, member: Member, at: float) -> None:
        """Look at it at that time, and at no other. Never, if that is infinite."""
        member.at = at
        if math.isinf(at):
            return
        slot = math.ceil(at)
        # One that is put off stays where it is, and moves on when its slot comes: it has one place on the wheel.
        if member.slot == NEVER or slot < member.slot:
            self._seat(member, slot)

    def _seat(self, member: Member, slot: int) -> None:
        member.slot = slot
        seats = self._wheel.get(slot)
        if seats is None:
            self._wheel[slot] = [member]
            heapq.heappush(self._slots, slot)
        else:
            seats.append(member)

    def next_look(self) -> float:
        """When somebody may have to be looked at; infinite if nobody has."""
        return self._slots[0] if self._slots else math.inf

    def due(self, boot: float) -> Iterator[Member]:
        """Whoever is to be looked at by now, each once."""
        while self._slots and self._slots[0] <= boot:
            slot = heapq.heappop(self._slots)
            for member in self._wheel.pop(slot):
                if member.slot != slot:
                    continue  # it has been moved to an earlier slot since
                member.slot = NEVER
                if member.at > boot:
                    self.look(member, member.at)
                else:
                    member.at = math.inf
                    yield member
