"""Where secrets rest: the protocol of every store, and what can go wrong with one.

A store keeps named, sealed values and changes them only by compare-and-swap. It never sees a plain value: `vault.py`
seals on the way in and unseals on the way out, with the key that `keys.py` finds.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

COMMITS = 1000  # so many at most does one answer of `Store.changed` cover
PAGE = 500  # rows that are read at a time by whoever reads many

# What a store is kept out of use by, in its `state`; empty: in use.
RESTORING, COPYING = "restoring", "copying"  # it is being filled
MOVING, MOVED = "moving to ", "moved to "  # its values go, or went, to the store that is named after it


class StoreError(Exception):
    """The store cannot be reached or written right now. The message is one line and holds no secret."""


class StoreLocked(StoreError):
    """Another process holds the state directory. `holder_pid` is its process id, if it can be read."""

    def __init__(self, message: str, holder_pid: int | None = None) -> None:
        super().__init__(message)
        self.holder_pid = holder_pid


class WrongKey(StoreError):
    """Sealed with another master key than the one at hand. The data is not damaged."""


class KeyUnavailable(StoreError):
    """The master key cannot be had from where the configuration says it is."""


class Damaged(StoreError):
    """Altered, truncated, swapped or rotten data. Nothing is overwritten; a person must look."""


class Foreign(Damaged):
    """A sound file that is not ours to open: another program's, another store's, or, as `Newer`, a later version's."""


class Newer(Foreign):
    """A sound file or record in a format that only a later bearerd knows. It is left as it is. `fix` says what helps.

    The message names both formats: what was found, and the highest that this program knows.
    """

    fix = "use the bearerd that wrote it; how to go back to an older one: docs/upgrading.md"


class UnsafeFile(StoreError):
    """A file or directory that other users could read, replace or write. The message ends in the command that helps."""


class NotMigrated(StoreError):
    """The database has no tables yet, or those of an older version. `bearerd store migrate` brings them up to date."""


class OutOfUse(StoreError):
    """The store is only half filled, or its values have moved to another one. Made by `out_of_use`."""

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.fix = fix


def out_of_use(location: str, state: str) -> OutOfUse:
    """Why a store in `state` must not be served, and what to do about it."""
    place = state.partition(" to ")[2]
    if state.startswith(MOVED):
        return OutOfUse(f"{location} has moved to {place}", f"set `store: {place}` in the configuration")
    if state.startswith(MOVING):
        again = f"bearerd store copy --to {place} (or, to use the old store again: bearerd store copy --cancel)"
        return OutOfUse(f"{location} is being moved to {place}, and that is not finished", again)
    if state == RESTORING:
        return OutOfUse(f"a restore into {location} is not finished", "bearerd store restore FILE")
    if state == COPYING:
        again = "bearerd store copy --to … as before, with the configuration of the old store"
        return OutOfUse(f"a copy into {location} is not finished", again)
    return OutOfUse(f"{location} is out of use for a reason that this bearerd does not know ({state!r})")


@dataclass(frozen=True, slots=True)
class About:
    """A store at one moment. `rows` counts them by kind: what stands before the first `/` of their names."""

    store_id: str
    key_id: str | None
    schema: int
    commits: int
    state: str
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Spending:
    """Somebody is about to spend the token that a row holds, or was when it ended.

    `left`: seconds, by the store's own clock, until that must be over; zero or less: nobody knows what became of it.
    """

    holder: str
    left: float


@dataclass(frozen=True, slots=True)
class Row:
    """One stored value. `generation` counts from 1 and grows by 1 with every write.

    `spending` is only there in stores that several processes share.
    """

    name: str
    generation: int
    sealed: bytes = field(repr=False)
    spending: Spending | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What was committed after some commit number, up to and including `number`: rows as they are now, and names that
    are gone.
    """

    number: int
    rows: list[Row]
    gone: list[str]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to spend the grant `name`, held by `holder` until it is released or its time is up."""

    name: str
    holder: str


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody else has the lease, for `left` more seconds by the store's clock unless it is renewed."""

    name: str
    holder: str
    left: float = 0.0


class Store(Protocol):
    """Named, sealed values. Every method raises `StoreError` (or a subclass) when the store fails.

    `store_id` is made with the store and never changes; `location` is for messages; `key_id` says which master key
    the values are sealed with, or is None as long as no key was set. `shared`: several processes may have it open at
    once, so that only a lease says who may spend. `place` names the file or database that holds the values: a copy has
    another one.
    """

    store_id: str
    location: str
    key_id: str | None
    shared: bool
    place: str

    async def read(self, name: str) -> Row | None:
        """The current row, past every cache."""

    async def read_all(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Row]:
        """All rows whose name starts with `prefix`, by name; of those whose name is greater than `after` the first
        `limit`. A caller with many rows reads them page by page.
        """

    async def swap(self, name: str, *, expected: int, sealed: bytes | None) -> int | None:
        """Write if the row is still at generation `expected` (0: there is no row), durably, and return `expected` + 1.

        None means that somebody else moved it and nothing was written. `sealed` None deletes the row: for client keys
        and marks only, because a name that comes back counts from 1 again. A `spending` of the row ends with it.
        """

    async def discard(self, generations: Mapping[str, int]) -> set[str]:
        """Delete the rows of these names, each if it is still at its generation; return the names of those that were.

        The same as so many swaps, each with a commit number of its own, in one transaction: for a page of client keys.
        """

    async def rewrite(self, reseal: Callable[[Row], bytes], key_id: str, extra: Row | None = None) -> int:
        """Replace every sealed value, kept previous ones too, in one transaction, and set `key_id`; return how many.

        Generations stay. `extra` is a new row that is written in the same transaction.
        """

    async def adopt_key(self, key_id: str) -> None:
        """Set `key_id` of a store that has none yet. `WrongKey` if it has another by now."""

    async def lease(self, name: str, holder: str, ttl: float) -> Lease | Held:
        """Acquire or renew, for `ttl` seconds. A store that is not shared grants every lease."""

    async def release(self, lease: Lease) -> None:
        """Give the lease back, if it is still ours."""

    async def release_all(self, holder: str) -> None:
        """Give back every lease of `holder`: an earlier process of that name may have died with them."""

    async def mark(self, lease: Lease, *, expected: int, seconds: float) -> bool:
        """Note in the row, durably, that `lease.holder` spends its token within `seconds`: proof that it is writable.

        False, and nothing is written, if the lease is no longer ours, the row is not at generation `expected` (at
        least 1), or another holder's spending is not over. A store that is not shared only compares the generation.
        """

    async def unmark(self, lease: Lease) -> None:
        """Take our own note back: nothing was spent. Nothing happens if there is none."""

    async def changes(self) -> int:
        """The store-wide commit number: every swap, rewrite and first key raises it; leases and marks do not."""

    async def changed(self, since: int) -> Changes:
        """What was committed after `since`, read at one moment: at most the next `COMMITS` commits."""

    async def close(self) -> None:
        """Finish what runs and close. Calling it again does nothing."""


async def pages(store: Store, prefix: str, size: int = PAGE) -> AsyncIterator[list[Row]]:
    """All rows whose name starts with `prefix`, by name, at most `size` at a time. They are not of one moment."""
    after = ""
    while rows := await store.read_all(prefix, after=after, limit=size):
        yield rows
        after = rows[-1].name


class Movable(Store, Protocol):
    """A store whose values can be brought elsewhere, or here from elsewhere, with their generations.

    `state` says why it is out of use; empty: it is in use. A handle that was opened in one state can no longer write
    once the store is in another.
    """

    state: str

    async def about(self) -> About:
        """The store as it is now, past every cache."""

    async def fill(self, *, store_id: str, key_id: str, commits: int, state: str) -> bool:
        """Make it the empty beginning of the store `store_id`, in `state`: `RESTORING` or `COPYING`. Leases end.

        False, and nothing is written, unless it is in use and has no rows, or is in `state` already.
        """

    async def load(self, rows: Iterable[Row], gone: Iterable[str] = ()) -> None:
        """Write `rows` as they are, generations too, over those of the same name; delete `gone`. One transaction.

        Only while it is being filled. The commit number stays, and is that of each of the rows.
        """

    async def turn(self, expected: str, state: str) -> bool:
        """Go from the state `expected` to `state`, durably. False, and nothing is written, if it was in another."""
