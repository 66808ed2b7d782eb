"""The members of configured grants: a roster of all, and keepers for those that are in use or due.

Many users of one application have a grant each, `GRANT/PERSON`. Most of them are idle at any time, so a member has a
keeper only while it is used, while it is renewed, and as long as anything about it is not settled.
"""

import asyncio
import contextlib
import math
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field

from proxy import logs
from proxy.clock import Clock, Now
from proxy.errors import Refusal
from proxy.gate.clients import grant_of
from proxy.store import StoreError
from proxy.tokens.backlog import Backlog
from proxy.tokens.grant import State
from proxy.tokens.journal import Found, JournalError
from proxy.tokens.keeper import Keeper
from proxy.tokens.roster import IDLE, TROUBLED, Member, Read, Roster

LINGER = 300.0  # seconds without a call, after which a keeper is let go
MOST = 2000  # keepers; beyond, those that were used longest ago go first
YOUNG = 30.0  # seconds: whoever has just asked for a keeper may still be about to use it
SWEEP = 15.0  # seconds between looks at who may go
START = 60.0  # seconds over which renewals are spread that were due before a start
_LEAST_NAP = 0.01  # seconds; a timer may come a hair too early
LONGEST_NAP = 300.0  # seconds; a suspended machine notices after it
SLICE = 250  # members in a row, before others get a turn
_STORE_PAUSE = 60.0  # seconds until a member is tried again whose record could not be read or written
# Nothing that only memory knows is lost with the keeper of a grant that stands so.
SETTLED = frozenset({State.NONE, State.FRESH, State.NEEDS_LOGIN, State.QUARANTINED})

log = logs.get("members")


@dataclass(slots=True)
class _Resident:
    """A member's keeper. `used` is when somebody asked for it last (boot time); never, if it is here to be renewed."""

    keeper: Keeper
    used: float = -math.inf


@dataclass(slots=True)
class _Entrance:
    """Lets in one at a time, for one member; it is there as long as anybody wants in.

    `fault` is what whoever tried has met with: those who have waited meanwhile need not find that out one by one.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0
    fault: StoreError | None = None


class Members:
    """The members of all grants. `run()` until cancelled, then `close()`.

    `make(name)` gives a keeper that was not started, or raises `LookupError`; `found()` is what the journal holds, and
    `limit(grant)` how many token requests its endpoint takes at a time, or raises `LookupError`.
    """

    def __init__(
        self,
        roster: Roster,
        clock: Clock,
        *,
        make: Callable[[str], Keeper],
        found: Callable[[], Iterable[Found]],
        limit: Callable[[str], int],
    ) -> None:
        self.roster = roster
        self._clock = clock
        self._make, self._found, self._limit = make, found, limit
        self._residents: OrderedDict[str, _Resident] = OrderedDict()
        self._entrances: dict[str, _Entrance] = {}
        self._queues: dict[str, Backlog] = {}
        self._woken = asyncio.Event()
        self._closing = False
        self._swept = 0.0

    # -- keepers ------------------------------------------------------------------------------------------------------

    async def of(self, name: str) -> Keeper:
        """The member's keeper, to be used at once. `LookupError` if there can be none, `Refusal`, `StoreError`."""
        resident = self._residents.get(name)
        if resident is None:
            resident = await self._take_in(name)
        resident.used = self._clock.now().boot
        self._residents.move_to_end(name)
        return resident.keeper

    def at_hand(self, name: str) -> Keeper | None:
        """The same if it is here already."""
        resident = self._residents.get(name)
        if resident is None:
            return None
        resident.used = self._clock.now().boot
        self._residents.move_to_end(name)
        return resident.keeper

    def residents(self) -> Iterator[Keeper]:
        """The keepers that are here now."""
        return (resident.keeper for resident in self._residents.values())

    async def _take_in(self, name: str) -> _Resident:
        # However many ask at once, there is one keeper: two would redeem one token.
        async with self._alone(name) as entrance:
            resident = self._residents.get(name)
            if resident is not None:
                return resident
            if entrance.fault is not None:
                raise entrance.fault.with_traceback(None)
            self._check_open()
            keeper = self._make(name)
            try:
                await keeper.start([item for item in self._found() if item.intent.grant == name])
                self._check_open()  # those who close keepers have not seen this one
                self._limit(grant_of(name))  # nor those who drop them
            except BaseException as fault:
                entrance.fault = fault if isinstance(fault, StoreError) else None
                await keeper.close()
                raise
            resident = self._residents[name] = _Resident(keeper)
            self._woken.set()  # somebody has to be let go in time
            return resident

    def _check_open(self) -> None:
        if self._closing:
            raise Refusal("draining", "bearerd is shutting down.", retry_after=1)

    @contextlib.asynccontextmanager
    async def _alone(self, name: str) -> AsyncIterator[_Entrance]:
        entrance = self._entrances.setdefault(name, _Entrance())
        entrance.wanted += 1
        try:
            async with entrance.lock:
                yield entrance
        finally:
            entrance.wanted -= 1
            if not entrance.wanted:
                del self._entrances[name]

    async def _let_go(self, name: str, unused: float = YOUNG) -> None:
        """Put what is known of it on the roster, unless somebody has come within so many seconds."""
        async with self._alone(name):
            resident = self._residents.get(name)
            if resident is None or not resident.keeper.idle:
                return
            if self._clock.now().boot - resident.used < unused:
                return  # whoever has it in hand is about to use it
            self._note(resident)
            del self._residents[name]
            await resident.keeper.close()

    def _note(self, resident: _Resident) -> None:
        """The roster learns from a keeper."""
        keeper, now = resident.keeper, self._clock.now()
        grant = keeper.grant
        read = Read(
            keeper.name, grant.generation, grant.epoch, keeper.state, grant.refresh_token is not None, grant.refreshed
        )
        member = self.roster.put(read)
        member.used = max(member.used, resident.used)
        # Where its keeper has nothing to renew, it may still have an end to see.
        at = now.boot + keeper.look_in(now)
        idle = now.boot - member.used > IDLE
        self._look(member, self.roster.keep_alive(member, now) if idle and keeper.state is State.FRESH else at)

    # -- the roster ---------------------------------------------------------------------------------------------------

    def learn(self, reads: Iterable[Read], *, starting: bool = False) -> None:
        """Take over what the store says of members, and plan. A keeper that is here knows better."""
        now = self._clock.now()
        for read in reads:
            known = self.roster.get(read.name)
            if read.name in self._residents or (known is not None and _is_older(read, known)):
                continue
            member = self.roster.put(read)
            at = min(self.roster.keep_alive(member, now), read.end)
            if at <= now.boot and starting:
                # Servers that start together take them in another order each, and see what the others have done.
                at = now.boot + START * self.roster.spread(read.name)
            self._look(member, at)

    def note(self, names: Iterable[str]) -> None:
        """The keepers of these members, as far as they are here, have looked at their rows again."""
        for name in names:
            resident = self._residents.get(name)
            if resident is not None:
                self._note(resident)

    def knows(self, name: str, generation: int, epoch: int) -> bool:
        """Whether there is nothing to learn from a row of this generation: we have most likely written it.

        `epoch` is the store's: what was issued before that may be replaced by what has a lower generation.
        """
        resident = self._residents.get(name)
        if resident is not None:
            known = covers(resident.keeper, generation, epoch)
            if known:
                self._note(resident)
            return known
        member = self.roster.get(name)
        return member is not None and covers(member, generation, epoch)

    def resident(self, name: str) -> bool:
        return name in self._residents

    async def drop(self, grants: Iterable[str]) -> None:
        """The configuration has lost these grants, and their members with them."""
        gone = set(grants)
        if not gone:
            return
        for name in [name for name in self._residents if grant_of(name) in gone]:
            async with self._alone(name):
                resident = self._residents.pop(name, None)
                if resident is not None:
                    await resident.keeper.close()
        for name in [member.name for member in self.roster if grant_of(member.name) in gone]:
            self.roster.remove(name)
        for grant in gone:
            self._queues.pop(grant, None)

    def counts(self, grant: str) -> dict[State, int]:
        """How many members of a grant are in each state now."""
        counts: defaultdict[State, int] = defaultdict(int, self.roster.counts(grant))
        for name, resident in self._residents.items():
            if grant_of(name) != grant:
                continue
            member = self.roster.get(name)
            if member is not None:
                counts[member.state] -= 1
            if member is not None or resident.keeper.state is not State.NONE:
                counts[resident.keeper.state] += 1
        return {state: count for state, count in counts.items() if count > 0}

    def troubled(self, grant: str) -> Iterator[tuple[str, State]]:
        """Members of a grant that need somebody to do something, with their states."""
        for name, resident in self._residents.items():
            if grant_of(name) == grant and resident.keeper.state in TROUBLED:
                yield name, resident.keeper.state
        for member in self.roster.troubled(grant):
            if member.name not in self._residents:
                yield member.name, member.state

    # -- renewals in the background -----------------------------------------------------------------------------------

    def renewed(self, grant: str) -> None:
        """A member of this grant has a new token, whoever asked for it: its endpoint is well."""
        queue = self._queues.get(grant)
        if queue is not None and queue.not_before:
            queue.failures, queue.not_before = 0, 0.0
            self._woken.set()

    async def run(self) -> None:
        """Renew what is due and let go what is idle, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                try:
                    await self._round(group, self._clock.now())
                except Exception as error:  # noqa: BLE001  whatever it is, all members depend on the next round
                    log.error("members were not looked after by a fault of ours", error=type(error).__name__)
                    await asyncio.sleep(1.0)
                await self._nap(self._clock.now())

    async def _round(self, group: asyncio.TaskGroup, now: Now) -> None:
        await self._call_up(now)
        self._pump(group, now)
        if now.boot - self._swept >= SWEEP:
            self._swept = now.boot
            await self._sweep(now)

    async def _nap(self, now: Now) -> None:
        pauses = [queue.not_before for queue in self._queues.values() if queue.waiting and not queue.running]
        sweep = self._swept + SWEEP if self._residents else math.inf
        at = min(self.roster.next_look(), sweep, now.boot + LONGEST_NAP, *pauses)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(_LEAST_NAP, at - now.boot)):
                await self._woken.wait()

    def _look(self, member: Member, at: float) -> None:
        earlier = at < self.roster.next_look()
        self.roster.look(member, at)
        if earlier:
            self._woken.set()

    async def _call_up(self, now: Now) -> None:
        """Put whoever is due into its grant's queue."""
        for number, member in enumerate(self.roster.due(now.boot), 1):
            if member.name in self._residents:
                pass  # its keeper has a timer of its own
            elif now.boot - member.used > IDLE and now.boot < self.roster.keep_alive(member, now) < math.inf:
                self.roster.look(member, self.roster.keep_alive(member, now))
            else:
                self._queue(grant_of(member.name)).waiting.append(member)
            if number % SLICE == 0:
                await asyncio.sleep(0)

    def _queue(self, grant: str) -> Backlog:
        queue = self._queues.get(grant)
        if queue is None:
            queue = self._queues[grant] = Backlog()
        return queue

    def _pump(self, group: asyncio.TaskGroup, now: Now) -> None:
        for grant, queue in self._queues.items():
            try:
                limit = self._limit(grant)
            except LookupError:  # of what was read of it while it was dropped
                queue.waiting.clear()
                continue
            for _ in range(min(len(queue.waiting), queue.room(limit)) if queue.not_before <= now.boot else 0):
                queue.running += 1
                _ = group.create_task(self._work_off(grant, queue))

    async def _work_off(self, grant: str, queue: Backlog) -> None:
        """Renew one after the other of those that wait, as long as there is room."""
        try:
            while (member := self._next(grant, queue)) is not None:
                await self._renew(member, queue)
        finally:
            queue.running -= 1
            self._woken.set()

    def _next(self, grant: str, queue: Backlog) -> Member | None:
        with contextlib.suppress(LookupError):  # it was dropped
            if queue.room(self._limit(grant)) < 0 or queue.not_before > self._clock.now().boot:
                return None
            while queue.waiting:
                member = queue.waiting.popleft()
                # Meanwhile a peer may have renewed it, or a client has made it come here.
                if math.isinf(member.at) and self.roster.get(member.name) is member:
                    return member
        return None

    async def _renew(self, member: Member, queue: Backlog) -> None:
        well = False
        try:
            resident = self._residents.get(member.name) or await self._take_in(member.name)
            await resident.keeper.tend()
            well = resident.keeper.state in SETTLED
            if well and self._clock.now().boot - resident.used > LINGER:
                await self._let_go(member.name)
        except (Refusal, LookupError) as error:
            log.debug("a member was not renewed", grant=member.name, error=type(error).__name__)
        except (StoreError, JournalError) as error:
            log.warning("a member could not be renewed", grant=member.name, reason=str(error))
            self._look(member, self._clock.now().boot + _STORE_PAUSE)
        except Exception as error:  # noqa: BLE001  one member must not stop the renewals of all others
            log.error("a member's renewal failed by a fault of ours", grant=member.name, error=type(error).__name__)
        finally:
            if well and not queue.answers:
                self._woken.set()  # there is room for more of them
            queue.ended(self._clock.now().boot, well=well)

    async def _sweep(self, now: Now) -> None:
        """Let go of keepers that nobody uses."""
        over = len(self._residents) - MOST
        for name, resident in list(self._residents.items()):
            age = now.boot - resident.used
            settled = resident.keeper.state in SETTLED and age > LINGER
            if settled or (over > 0 and age > YOUNG):
                await self._let_go(name)
                over -= name not in self._residents

    async def close(self) -> None:
        """Start no more renewals; let those that are out end."""
        self._closing = True
        await asyncio.gather(*(resident.keeper.close() for resident in self._residents.values()))


def covers(known: Keeper | Member, generation: int, epoch: int) -> bool:
    """Whether a row of this generation is no news, in a store of this epoch: no person has decided between them."""
    held = known.grant if isinstance(known, Keeper) else known
    return held.generation >= generation and held.epoch >= epoch and known.state is not State.QUARANTINED


def _is_older(read: Read, known: Member) -> bool:
    """As `stored.age` has it; and a token that is held back now is news, whatever the store had before."""
    return read.generation < known.generation and read.epoch <= known.epoch and read.state is not State.QUARANTINED
