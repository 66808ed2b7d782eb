"""Every grant's keeper, by name: those of the configuration are always here, those of members when they are needed.

How members get onto the roster: all that the store has are read page by page, in a thread, while the server already
serves; after that `follow` tells of each row that changes, whoever has changed it.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from proxy import logs
from proxy.clock import Clock
from proxy.custody import Custody
from proxy.gate.clients import grant_of
from proxy.settings import GrantSettings, Settings
from proxy.store import Damaged, Row, StoreError, WrongKey, pages
from proxy.store.vault import Entry
from proxy.tokens.answer import Terms
from proxy.tokens.book import GRANT, MARK
from proxy.tokens.grant import State
from proxy.tokens.keeper import Keeper
from proxy.tokens.lanes import Lane
from proxy.tokens.members import SLICE, Members, covers
from proxy.tokens.oauth import TokenEndpoint
from proxy.tokens.roster import Read, Reader, Roster
from proxy.tokens.standing import fix

_MOST_SHOWN = 10
_RETRY = 1.0  # seconds until a page is asked for again that the store did not give

EndpointOf = Callable[[Settings, GrantSettings], TokenEndpoint]

T = TypeVar("T")

log = logs.get("members")


class Keepers(Mapping[str, Keeper]):
    """As a mapping: the keepers of configured grants. `of` gives members' too.

    `endpoint_of` makes a grant's token endpoint; `observe(grant, outcome)` is told of every redeem, of a member's under
    the name of its configured grant. `made` is told of every keeper that is made.
    """

    def __init__(
        self,
        settings: Settings,
        custody: Custody,
        clock: Clock,
        *,
        endpoint_of: EndpointOf,
        observe: Callable[[str, str], None],
        made: Callable[[Keeper], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._custody, self._clock = custody, clock
        self._endpoint_of, self._observe, self._made = endpoint_of, observe, made
        self._configured: dict[str, Keeper] = {}
        self._endpoints: dict[str, TokenEndpoint] = {}
        self._lanes: dict[str, Lane] = {}
        self._roster = Roster(custody.journal.install_id)
        self._members = Members(
            self._roster,
            clock,
            make=self._new_member,
            found=custody.journal.found,
            limit=lambda grant: self._settings.grants[grant].environment.token_concurrency,
        )
        self._unread: set[str] = set()  # grants whose members the store has not told yet

    def __getitem__(self, name: str) -> Keeper:
        return self._configured[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._configured)

    def __len__(self) -> int:
        return len(self._configured)

    async def of(self, name: str) -> Keeper:
        """The keeper of a grant or of a member, to be used at once. `LookupError`, `Refusal`, `StoreError`."""
        found = self._configured.get(name)
        return found if found is not None else await self._members.of(name)

    def at_hand(self, name: str) -> Keeper | None:
        """The same if it is here already."""
        found = self._configured.get(name)
        return found if found is not None else self._members.at_hand(name)

    def here(self) -> Iterator[Keeper]:
        """Every keeper that there is at the moment."""
        yield from self._configured.values()
        yield from self._members.residents()

    # -- life ---------------------------------------------------------------------------------------------------------

    async def new(self, settings: Settings) -> dict[str, Keeper]:
        """A started keeper for each configured grant that has none. If one cannot start, none of them is left."""
        found = self._custody.journal.found()
        keepers: dict[str, Keeper] = {}
        try:
            for name, grant in settings.grants.items():
                if name not in self._configured:
                    endpoint = self._endpoint_of(settings, grant)
                    keepers[name] = self._keeper(name, grant, endpoint, random.random)
                    await keepers[name].start(found)
        except BaseException:
            await asyncio.gather(*(keeper.close() for keeper in keepers.values()))
            raise
        return keepers

    def take_over(self, settings: Settings, new: Mapping[str, Keeper]) -> list[Keeper]:
        """Go by these settings from now on; the keepers whose grants they lack are returned, to be closed."""
        self._settings = settings
        dropped = [self._configured.pop(name) for name in self._configured.keys() - settings.grants.keys()]
        self._endpoints = {name: self._endpoint_of(settings, grant) for name, grant in settings.grants.items()}
        for keeper in self.here():
            grant = settings.grants.get(grant_of(keeper.name))
            if grant is not None:
                keeper.redefine(grant.broker, grant.environment, grant.login, self._endpoints[grant_of(keeper.name)])
        for grant in settings.grants.values():
            self._lane(grant).limit = grant.environment.token_concurrency
        self._configured |= new
        self._unread |= {name for name in new if _has_members(settings.grants[name])}
        return dropped

    async def drop(self, dropped: Iterable[Keeper]) -> None:
        """Close keepers whose grants the configuration has lost, and their members'."""
        dropped = list(dropped)
        await asyncio.gather(*(keeper.close() for keeper in dropped))
        await self._members.drop(keeper.name for keeper in dropped)

    async def settle(self) -> None:
        """Have what a kill left in the journal taken up by the members whose it is. `StoreError`."""
        names = {item.intent.grant for item in self._custody.journal.found()}
        mine = [name for name in names if "/" in name and grant_of(name) in self._configured]
        # At once: each may wait for seconds for a store that can be read and not written.
        ends = await asyncio.gather(*map(self._settle, mine), return_exceptions=True)
        for fault in (end for end in ends if end is not None):
            raise fault

    async def _settle(self, name: str) -> None:
        try:
            await self._members.of(name)
        except LookupError:
            log.warning("the journal holds an answer for a member that cannot be", grant=name)
        except Damaged as error:  # the journal keeps it, and the others must not wait for a person
            log.error("the journal holds an answer for a member that cannot be read", grant=name, reason=str(error))

    async def run(self) -> None:
        """Read the members, and keep them alive; until cancelled."""
        async with asyncio.TaskGroup() as group:
            _ = group.create_task(self._read_on())
            _ = group.create_task(self._members.run())

    async def close(self) -> None:
        """Start no more redeems; let those that are out end."""
        await asyncio.gather(*(keeper.close() for keeper in self._configured.values()), self._members.close())

    def recheck(self) -> None:
        """The quarantine has changed."""
        for keeper in self.here():
            keeper.recheck()
        self._unread |= {name for name, grant in self._settings.grants.items() if _has_members(grant)}

    # -- making keepers -----------------------------------------------------------------------------------------------

    def _new_member(self, name: str) -> Keeper:
        grant = self._settings.grant(name)
        endpoint = self._endpoints[grant_of(name)]
        # The same at each look: the roster plans by it, and so does the keeper that it then makes.
        return self._keeper(name, grant, endpoint, partial(self._roster.spread, name))

    def _keeper(self, name: str, grant: GrantSettings, endpoint: TokenEndpoint, jitter: Callable[[], float]) -> Keeper:
        keeper = Keeper(
            name,
            broker=grant.broker,
            environment=grant.environment,
            login=grant.login,
            vault=self._custody.vault,
            journal=self._custody.journal,
            endpoint=endpoint,
            clock=self._clock,
            jitter=jitter,
            observe=self._observed,
            quarantine=self._custody.quarantine,
            lane=self._lane(grant),
        )
        self._made(keeper)
        return keeper

    def _observed(self, name: str, outcome: str) -> None:
        self._observe(grant_of(name), outcome)
        if outcome == "renewed":
            self._members.renewed(grant_of(name))

    def _lane(self, grant: GrantSettings) -> Lane:
        """All grants of one token endpoint share one."""
        url = grant.endpoints.token_url or grant.name
        lane = self._lanes.get(url)
        if lane is None:
            lane = self._lanes[url] = Lane(grant.environment.token_concurrency)
        return lane

    # -- what the store says ------------------------------------------------------------------------------------------

    async def look_again(self, rows: Iterable[Row], gone: Iterable[str]) -> list[str]:
        """These rows have changed, and these names are gone: see what that means for the grants. `StoreError`.

        Returns the records that could not be opened: one of them must not hold up the others.
        """
        news: dict[str, list[Row]] = {}
        touched: set[str] = set()
        for row in rows:
            kind, _, name = row.name.partition("/")
            grant = grant_of(name)
            if kind not in ("grant", "mark") or grant not in self._configured:
                continue
            if kind == "grant" and self._knows(name, row.generation):
                continue  # most rows that change are our own doing
            if name in self._configured or self._members.resident(name):
                touched.add(name)
            elif kind == "grant":
                news.setdefault(grant, []).append(row)
            elif (found := await self._custody.store.read(GRANT + name)) is not None:
                news.setdefault(grant, []).append(found)
        touched |= {name.partition("/")[2] for name in gone if name.startswith(MARK)}
        unreadable = await self.all_look_again(keeper for keeper in list(self.here()) if keeper.name in touched)
        self._members.note(touched)
        for grant, found_rows in news.items():
            dead: dict[str, str | None] = {}
            for row in found_rows:
                try:
                    dead[row.name] = await self._dead(row.name)
                except Damaged:
                    unreadable.append(MARK + row.name.removeprefix(GRANT))
            self._members.learn(await self._read(grant, found_rows, dead))
        return unreadable

    async def all_look_again(self, keepers: Iterable[Keeper] | None = None) -> list[str]:
        """Have keepers, or all that are here, look at their rows. Returns the records that could not be opened."""
        unreadable = []
        for keeper in list(self.here()) if keepers is None else keepers:
            try:
                await keeper.look_again()
            except Damaged as error:
                log.error("a grant's record cannot be read", grant=keeper.name, reason=str(error))
                unreadable.append(GRANT + keeper.name)
        return unreadable

    def _knows(self, name: str, generation: int) -> bool:
        keeper, epoch = self._configured.get(name), self._custody.quarantine.epoch
        return self._members.knows(name, generation, epoch) if keeper is None else covers(keeper, generation, epoch)

    async def _dead(self, record: str) -> str | None:
        """The hash of the token that the broker has refused, of the member with this record."""
        entry = await self._custody.vault.get(MARK + record.removeprefix(GRANT))
        return None if entry is None else str(entry.value["token_hash"])

    async def _read_on(self) -> None:
        """Read members of grants that are new, for as long as the server runs."""
        told: set[str] = set()
        while True:
            for grant in sorted(self._unread & self._configured.keys()):
                try:
                    await self._read_all(grant)
                except StoreError as error:
                    if grant not in told:
                        log.warning("the members of a grant are not read yet", grant=grant, reason=str(error))
                    told.add(grant)
                except LookupError:
                    continue  # it was dropped meanwhile
                else:
                    told.discard(grant)
                    self._unread.discard(grant)
            await asyncio.sleep(_RETRY)

    async def _read_all(self, grant: str) -> None:
        dead: dict[str, str | None] = {}
        async for rows in pages(self._custody.store, f"{MARK}{grant}/", SLICE):
            marks = await asyncio.to_thread(self._opened, rows, lambda _name, entry: str(entry.value["token_hash"]))
            dead |= {GRANT + name.removeprefix(MARK): mark for name, mark in marks}
        async for rows in pages(self._custody.store, f"{GRANT}{grant}/", SLICE):
            self._members.learn(await self._read(grant, rows, dead), starting=True)

    async def _read(self, grant: str, rows: list[Row], dead: Mapping[str, str | None]) -> list[Read]:
        settings = self._settings.grants[grant]
        reader = Reader(
            Terms.of(settings.broker, settings.environment, settings.login),
            f"{settings.broker.name}/{settings.environment.name}",
            settings.login.name,
            self._custody.quarantine,
        )
        now = self._clock.now()

        def read(record: str, entry: Entry) -> Read:
            name = record.removeprefix(GRANT)
            return reader.read(name, entry.generation, entry.value, dead.get(record), now)

        return [found for _, found in await asyncio.to_thread(self._opened, rows, read)]

    def _opened(self, rows: list[Row], read: Callable[[str, Entry], T]) -> list[tuple[str, T]]:
        """Blocks. A row that cannot be read is told of, and passed over: the others must not wait for it."""
        found = []
        for row in rows:
            try:
                found.append((row.name, read(row.name, self._custody.vault.open(row))))
            except (Damaged, WrongKey, LookupError, TypeError, ValueError) as error:
                log.error("a member's record cannot be read", record=row.name, error=type(error).__name__)
        return found

    # -- how members stand --------------------------------------------------------------------------------------------

    def members(self, grant: str) -> Mapping[State, int]:
        """How many members of a grant are in each state."""
        return self._members.counts(grant)

    def reading(self, grant: str) -> bool:
        """Whether the store has not told all of a grant's members yet."""
        return grant in self._unread

    def told(self, grant: str) -> dict[str, Any]:
        """The members of a grant as plain data: how many are in each state, and some of those that need somebody."""
        counts = self.members(grant)
        needing = [
            {"grant": name, "state": state.value, "fix": fix(state, name)}
            for name, state in islice(self._members.troubled(grant), _MOST_SHOWN)
        ]
        states = {state.value: counts[state] for state in State if state in counts}
        return {"total": sum(counts.values()), "states": states, "reading": self.reading(grant), "needing": needing}

    def names(self, grant: str) -> list[str]:
        """All members of a grant that are known."""
        return sorted(member.name for member in self._roster if grant_of(member.name) == grant)


def _has_members(grant: GrantSettings) -> bool:
    return grant.login.kind != "client-credentials"
