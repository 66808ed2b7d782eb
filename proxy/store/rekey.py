"""The master key and the store: opening with the right one, and going over to a new one.

`rekey` survives a kill at any point, because each step leaves something that opens:

1. the new key is durable beside the old one (`PATH.new`), or wherever the operator keeps it;
2. every record is sealed again in one transaction, which also leaves the old key in the store, sealed with the new one;
3. the journal is replaced by one under the new key;
4. the new key takes the place of the old one, and the old key is deleted from the store.

Up to 2 the old key opens the store, from then on the new one; `unlock` finishes 3 and 4. In a store that several
servers share the old key stays there, sealed, until the next change: each of them has a journal of its own, which is
put under the new key when that server starts with it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from proxy.store import Row, Store, StoreError, WrongKey
from proxy.store.keys import Source
from proxy.store.sealing import Sealer

Reseal = Callable[[Sealer, Sealer], Awaitable[None]]
_OLD_KEY = "rekey/old"  # the record that holds the old key between steps 2 and 4


class Custody(Protocol):
    """What `rekey` needs of the open journal, whose lock keeps every server away meanwhile."""

    @property
    def answered(self) -> int:
        """How many slots hold an answer that is not in the store yet."""

    async def reseal(self, sealer: Sealer) -> None:
        """Replace the journal by one under `sealer`'s key, durably."""


async def unlock(store: Store, source: Source, *, reseal: Reseal) -> Sealer:
    """The sealer for `store`, with the key of `source`; an interrupted `rekey` is finished first.

    A store without a key gets this one. `reseal(old, new)` puts the journal under the new key unless it already is.
    `WrongKey` if the key is not the store's; otherwise what `Source` and `Store` raise.
    """
    match = await asyncio.to_thread(_match, store, source)
    if store.key_id is None:
        await store.adopt_key(match.sealer.key_id)
        return match.sealer
    row = await store.read(_OLD_KEY)
    if row is not None:
        await reseal(_old_sealer(match.sealer, row), match.sealer)
    if match.staged:
        await asyncio.to_thread(source.promote)
    if row is not None and not store.shared:
        await store.swap(_OLD_KEY, expected=row.generation, sealed=None)
    return match.sealer


async def find(store: Store, source: Source) -> Sealer:
    """The sealer for `store`, with the key of `source`, and nothing is written. Raises what `unlock` raises.

    `StoreError` if the store has no key yet. Of a `rekey` that was interrupted the journal may have another key.
    """
    match = await asyncio.to_thread(_match, store, source)
    if store.key_id is None:
        raise StoreError(f"{store.location} holds nothing yet")
    return match.sealer


async def rekey(
    store: Store,
    current: Source,
    replacement: Source,
    journal: Custody,
    *,
    step: Callable[[], object] = lambda: None,
) -> Sealer:
    """Seal store and journal with a new key, and return its sealer. `unlock` the store first.

    With the same `spec` twice the key is made new in its place; otherwise `replacement` is loaded, or made if it is a
    file that is missing, and the operator has to change the setting. `StoreError` if an answer waits in the journal.
    Other servers that share the store write nothing from then on, and must be started anew with the new key. `step` is
    called, in a thread, for each record that is sealed again.
    """
    if journal.answered:
        raise StoreError("the journal holds an answer that is not in the store yet; start bearerd once, then try again")
    old_key = await asyncio.to_thread(current.load)
    old = Sealer(old_key, store.store_id)
    if old.key_id != store.key_id:
        raise WrongKey(f"{store.location} is sealed with the master key {store.key_id}, not with {old.key_id}")
    new = Sealer(await asyncio.to_thread(_new_key, current, replacement), store.store_id)
    if new.key_id == old.key_id:
        raise StoreError("the new master key is the old one")
    left = new.seal(_OLD_KEY, 1, json.dumps({"key": old_key.hex()}).encode())

    def again(row: Row) -> bytes:
        step()
        return new.seal(row.name, row.generation, old.unseal(row.name, row.generation, row.sealed))

    before = await store.read(_OLD_KEY)
    if before is not None:
        await store.swap(_OLD_KEY, expected=before.generation, sealed=None)
    await store.rewrite(again, new.key_id, Row(_OLD_KEY, 1, left))
    await journal.reseal(new)
    if current.spec == replacement.spec:
        await asyncio.to_thread(replacement.promote)
    if not store.shared:
        await store.swap(_OLD_KEY, expected=1, sealed=None)
    return new


@dataclass(frozen=True, slots=True)
class _Match:
    sealer: Sealer
    staged: bool


def _match(store: Store, source: Source) -> _Match:
    """The key of `source` that `store` is sealed with; for a store without one, the one in use."""
    first: Sealer | None = None
    try:
        for key, staged in source.candidates():
            sealer = Sealer(key, store.store_id)
            if store.key_id in (None, sealer.key_id):
                return _Match(sealer, staged)
            first = first or sealer
    except StoreError:
        if first is None:
            raise  # else only a staged key is unusable, and the fault is that the one in use does not fit
    at_hand = first.key_id if first else "none"
    raise WrongKey(
        f"{store.location} is sealed with the master key {store.key_id}; the key from {source.kind} is {at_hand}"
    )


def _new_key(current: Source, replacement: Source) -> bytes:
    if current.spec == replacement.spec:
        return replacement.stage()
    place = replacement.place
    return replacement.create() if place is not None and not place.exists() else replacement.load()


def _old_sealer(sealer: Sealer, row: Row) -> Sealer:
    value = json.loads(sealer.unseal(row.name, row.generation, row.sealed))
    return Sealer(bytes.fromhex(value["key"]), sealer.store_id)
