"""Where secrets rest: the protocol of every store, and what can go wrong with one.

A store keeps named, sealed values and changes them only by compare-and-swap. It never sees a plain value: `vault.py`
seals on the way in and unseals on the way out, with the key that `keys.py` finds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


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
    """A sound file that is not ours to open: another program's, another store's, or a newer version's."""


class UnsafeFile(StoreError):
    """A file or directory that other users could read, replace or write. The message ends in the command that helps."""


@dataclass(frozen=True, slots=True)
class Row:
    """One stored value. `generation` counts from 1 and grows by 1 with every write."""

    name: str
    generation: int
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to spend the grant `name`, held by `holder` until it is released or its time is up."""

    name: str
    holder: str


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody else has the lease."""

    name: str
    holder: str


class Store(Protocol):
    """Named, sealed values. Every method raises `StoreError` (or a subclass) when the store fails.

    `store_id` is made with the store and never changes; `location` is for messages; `key_id` says which master key
    the values are sealed with, or is None as long as no key was set.
    """

    store_id: str
    location: str
    key_id: str | None

    async def read(self, name: str) -> Row | None:
        """The current row, past every cache."""

    async def read_all(self, prefix: str) -> list[Row]:
        """All rows whose name starts with `prefix`, by name."""

    async def swap(self, name: str, *, expected: int, sealed: bytes | None) -> int | None:
        """Write if the row is still at generation `expected` (0: there is no row), durably, and return `expected` + 1.

        None means that somebody else moved it and nothing was written. `sealed` None deletes the row: for client keys
        and marks only, because a name that comes back counts from 1 again.
        """

    async def rewrite(self, reseal: Callable[[Row], bytes], key_id: str, extra: Row | None = None) -> int:
        """Replace every sealed value, kept previous ones too, in one transaction, and set `key_id`; return how many.

        Generations stay. `extra` is a new row that is written in the same transaction.
        """

    async def adopt_key(self, key_id: str) -> None:
        """Set `key_id` of a store that has none yet. `WrongKey` if it has another by now."""

    async def lease(self, name: str, holder: str, ttl: float) -> Lease | Held:
        """Acquire or renew, for `ttl` seconds."""

    async def release(self, lease: Lease) -> None:
        """Give the lease back, if it is still ours."""

    async def changes(self) -> int:
        """The store-wide commit number: every commit raises it."""

    async def close(self) -> None:
        """Finish what runs and close. Calling it again does nothing."""
