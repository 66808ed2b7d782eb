"""The store in memory: same behaviour as the others, nothing durable. For tests and for trying things out."""

import heapq
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from proxy.clock import SystemClock
from proxy.store import (
    COMMITS,
    COPYING,
    RESTORING,
    About,
    Changes,
    Held,
    Lease,
    Row,
    Spending,
    StoreError,
    WrongKey,
)


@dataclass(slots=True)
class _Until:
    """Something that `holder` has until `end`, by the store's clock."""

    holder: str
    end: float


@dataclass(slots=True)
class _Contents:
    """What all handles of one store see. `numbers` has the last commit of each row, `gone` that of each deletion."""

    store_id: str
    key_id: str | None = None
    state: str = ""
    commits: int = 0
    rows: dict[str, Row] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
    leases: dict[str, _Until] = field(default_factory=dict)
    spending: dict[str, _Until] = field(default_factory=dict)

    def copy(self) -> "_Contents":
        leases = {name: replace(held) for name, held in self.leases.items()}
        spending = {name: replace(mark) for name, mark in self.spending.items()}
        return replace(
            self,
            rows=dict(self.rows),
            numbers=dict(self.numbers),
            gone=dict(self.gone),
            leases=leases,
            spending=spending,
        )


class MemoryStore:
    """A `Store` in a dict. Set `failure` to make every call raise it, as a store that is down would.

    With `shared`, leases and marks are real and timed by `now`, in seconds; `peer` is how another process sees it.
    """

    def __init__(self, *, shared: bool = False, now: Callable[[], float] = lambda: SystemClock().now().boot) -> None:
        self.store_id = secrets.token_hex(16)
        self.location = "memory"
        self.key_id: str | None = None
        self.state = ""
        self.shared = shared
        self.place = "memory"
        self.failure: StoreError | None = None
        self._now = now
        self._contents = _Contents(self.store_id)

    def peer(self) -> "MemoryStore":
        """Another handle on the same contents, with a `failure` of its own."""
        return self._handle(self._contents)

    def reopened(self) -> "MemoryStore":
        """A copy as it is now: what a new process finds, while tasks of the old one can no longer change anything."""
        return self._handle(self._contents.copy())

    async def read(self, name: str) -> Row | None:
        self._check()
        return self._row(self._rows[name]) if name in self._rows else None

    async def read_all(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Row]:
        self._check()
        names = [name for name in self._rows if name.startswith(prefix) and name > after]
        chosen = sorted(names) if limit is None else heapq.nsmallest(limit, names)
        return [self._row(self._rows[name]) for name in chosen]

    async def swap(self, name: str, *, expected: int, sealed: bytes | None) -> int | None:
        self._check_standing()
        row = self._rows.get(name)
        if (row.generation if row else 0) != expected or (sealed is None and row is None):
            return None
        number = self._commit()
        self._contents.spending.pop(name, None)
        if sealed is None:
            del self._rows[name]
            self._contents.numbers.pop(name, None)
            self._contents.gone[name] = number
        else:
            self._put(Row(name, expected + 1, sealed), number)
        return expected + 1

    async def discard(self, generations: Mapping[str, int]) -> set[str]:
        return {
            name
            for name, generation in generations.items()
            if generation and await self.swap(name, expected=generation, sealed=None) is not None
        }

    async def rewrite(self, reseal: Callable[[Row], bytes], key_id: str, extra: Row | None = None) -> int:
        self._check_standing()
        renewed = [replace(row, sealed=reseal(row)) for row in self._rows.values()]
        if extra is not None and extra.name in self._rows:
            raise StoreError(f"{self.location}: there is a record {extra.name!r} already")
        number = self._commit()
        for row in (*renewed, *([extra] if extra is not None else [])):
            self._put(row, number)
        self._contents.key_id = self.key_id = key_id
        return len(renewed)

    async def adopt_key(self, key_id: str) -> None:
        self._check()
        present = self._contents.key_id
        if present not in (None, key_id):
            raise WrongKey(f"{self.location}: sealed with the key {present}; the key at hand is {key_id}")
        if present is None:
            self._commit()
        self._contents.key_id = self.key_id = key_id

    async def lease(self, name: str, holder: str, ttl: float) -> Lease | Held:
        self._check()
        if self.shared:
            held, now = self._contents.leases.get(name), self._now()
            if held is not None and held.holder != holder and held.end > now:
                return Held(name, held.holder, held.end - now)
            self._contents.leases[name] = _Until(holder, now + ttl)
        return Lease(name, holder)

    async def release(self, lease: Lease) -> None:
        self._check()
        held = self._contents.leases.get(lease.name)
        if held is not None and held.holder == lease.holder:
            del self._contents.leases[lease.name]

    async def release_all(self, holder: str) -> None:
        self._check()
        for name in [name for name, held in self._contents.leases.items() if held.holder == holder]:
            del self._contents.leases[name]

    async def mark(self, lease: Lease, *, expected: int, seconds: float) -> bool:
        self._check_standing()
        row = self._rows.get(lease.name)
        if row is None or row.generation != expected:
            return False
        if self.shared:
            now = self._now()
            held, other = self._contents.leases.get(lease.name), self._contents.spending.get(lease.name)
            if held is None or held.holder != lease.holder or held.end <= now:
                return False
            if other is not None and other.holder != lease.holder and other.end > now:
                return False
            self._contents.spending[lease.name] = _Until(lease.holder, now + seconds)
        return True

    async def unmark(self, lease: Lease) -> None:
        self._check()
        mark = self._contents.spending.get(lease.name)
        if mark is not None and mark.holder == lease.holder:
            del self._contents.spending[lease.name]

    async def changes(self) -> int:
        self._check()
        return self._contents.commits

    async def changed(self, since: int) -> Changes:
        self._check()
        end = min(self._contents.commits, since + COMMITS)
        names = sorted(name for name, number in self._contents.numbers.items() if since < number <= end)
        gone = sorted(name for name, number in self._contents.gone.items() if since < number <= end)
        return Changes(end, [self._row(self._rows[name]) for name in names if name in self._rows], gone)

    async def about(self) -> About:
        self._check()
        kept = self._contents
        rows = Counter(name.partition("/")[0] for name in self._rows)
        return About(kept.store_id, kept.key_id, 1, kept.commits, kept.state, dict(rows))

    async def fill(self, *, store_id: str, key_id: str, commits: int, state: str) -> bool:
        self._check()
        kept = self._contents
        if kept.state != state and (kept.state or kept.rows):
            return False
        for records in (kept.rows, kept.numbers, kept.gone, kept.leases, kept.spending):
            records.clear()
        self.store_id, self.key_id, self.state = store_id, key_id, state
        kept.store_id, kept.key_id, kept.commits, kept.state = store_id, key_id, commits, state
        return True

    async def load(self, rows: Iterable[Row], gone: Iterable[str] = ()) -> None:
        self._check_standing()
        if self.state not in (RESTORING, COPYING):
            raise StoreError(f"{self.location} is not being filled")
        for row in rows:
            self._put(replace(row, spending=None), self._contents.commits)
        for name in gone:
            self._rows.pop(name, None)
            self._contents.numbers.pop(name, None)

    async def turn(self, expected: str, state: str) -> bool:
        self._check()
        if self._contents.state != expected:
            return False
        self._contents.state = self.state = state
        return True

    async def close(self) -> None:
        pass

    @property
    def _rows(self) -> dict[str, Row]:
        return self._contents.rows

    @_rows.setter
    def _rows(self, rows: dict[str, Row]) -> None:
        self._contents.rows = rows

    def _handle(self, contents: _Contents) -> "MemoryStore":
        other = MemoryStore(shared=self.shared, now=self._now)
        other.store_id, other.place = contents.store_id, self.place
        other.key_id, other.state = contents.key_id, contents.state
        other._contents = contents
        return other

    def _row(self, row: Row) -> Row:
        mark = self._contents.spending.get(row.name)
        return row if mark is None else replace(row, spending=Spending(mark.holder, mark.end - self._now()))

    def _commit(self) -> int:
        self._contents.commits += 1
        return self._contents.commits

    def _put(self, row: Row, number: int) -> None:
        self._rows[row.name] = row
        self._contents.numbers[row.name] = number
        self._contents.gone.pop(row.name, None)

    def _check_standing(self) -> None:
        """The store must be as this handle knows it."""
        self._check()
        if self._contents.state != self.state:
            raise StoreError(f"{self.location} was put out of use meanwhile; restart bearerd")
        if self._contents.key_id != self.key_id:
            raise StoreError(f"{self.location} was sealed with a new master key meanwhile; restart bearerd")

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure
