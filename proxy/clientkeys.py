"""Client keys: made once, shown once, kept as a digest. What a client may reach stands in the configuration.

A key may be bound: on the mounts of a grant it then stands for one person's own (`GRANT/PERSON`). An application has
one for each of its users, so there may be very many: they are read once, page by page, and followed from then on.

A key may have an end. One that is past it stays, so that whoever uses it is told, until somebody removes it or a later
rotation of the client's keys finds it long over. A lent key is in memory only: whoever asked for it keeps it alive, and
it is gone with the process in any case.
"""

import asyncio
import heapq
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from proxy import expiry
from proxy.clientkey import BOUND, PREFIX, ClientKey, NewKey
from proxy.clock import Clock
from proxy.gate.clients import digest, new_key
from proxy.lastuse import LastUse
from proxy.store import Damaged, Row, StoreError, WrongKey, pages
from proxy.store.vault import Vault

KEPT = 30 * 86400.0  # seconds that a replaced key stays after its end
_SLICE = 1000  # keys that are deleted at a time
_FEW = 2000  # keys with an end that may be looked through whenever somebody asks
_FRESH = 60.0  # seconds for which of more keys the same is told again


class NoSuchKey(LookupError):
    """There is no such key, or it cannot be replaced. The text is one sentence for a person."""


class ClientKeys:
    """The keys in the store, as they were read last, and those that are lent.

    What waits for the store raises `StoreError` if it fails. `digests` (digest → client), `bindings` (digest → the
    members that a bound key stands for) and `expiries` (digest → when it ends) are changed in place: whoever looks keys
    up in them sees each change at once.
    """

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self.digests: dict[str, str] = {}
        self.bindings: dict[str, tuple[str, ...]] = {}
        self.expiries: dict[str, float] = {}
        self.last_use = LastUse(vault, self.digests)
        self.changed: Callable[[str], None] = lambda _digest: None  # told of each digest that counts otherwise now
        self._vault = vault
        self._clock = clock
        self._stored: dict[str, ClientKey] = {}  # by record
        self._ending: dict[str, ClientKey] = {}  # those of them that have an end
        self._counts: Counter[tuple[str, bool]] = Counter()
        self._lent: list[ClientKey] = []
        self._loaded = False
        self._looked_at = 0.0
        self._found: tuple[dict[str, float], list[str]] = ({}, [])

    # -- what the store has -------------------------------------------------------------------------------------------

    async def load(self) -> list[str]:
        """Read all that the store has. Returns the records that could not be opened: those keys do not count."""
        seen: set[str] = set()
        unreadable: list[str] = []
        for prefix in (PREFIX, BOUND):
            async for rows in pages(self._vault.store, prefix):
                unreadable += await self.follow(rows)
                seen.update(row.name for row in rows)
        for record in self._stored.keys() - seen:
            self._drop(record)
        await self.last_use.load()
        self._loaded = True
        return unreadable

    async def load_once(self) -> None:
        """The same, unless it has been done: what changes is followed."""
        if not self._loaded:
            await self.load()

    async def follow(self, rows: Iterable[Row], gone: Iterable[str] = ()) -> list[str]:
        """Take over changed records, and leave out those that are gone; others than keys are passed over.

        Returns the records that could not be opened. Such a key does not count: it may have been changed on purpose.
        """
        rows = list(rows)
        mine = [row for row in rows if row.name.startswith((PREFIX, BOUND))]
        opened = await asyncio.to_thread(lambda: [self._read(row) for row in mine]) if mine else []
        unreadable = []
        for row, key in zip(mine, opened, strict=True):
            if key is None:
                unreadable.append(row.name)
                self._drop(row.name)
            else:
                self._take(row.name, key)
        for record in gone:
            self._drop(record)
        await self.last_use.follow(rows)
        return unreadable

    def _read(self, row: Row) -> ClientKey | None:
        try:
            return ClientKey.of(row.name, self._vault.open(row))
        except (Damaged, WrongKey, LookupError, TypeError, ValueError):
            return None

    # -- change -------------------------------------------------------------------------------------------------------

    async def add(self, client: str, grants: Iterable[str] = (), *, expires: float | None = None) -> NewKey:
        """Make a key for `client`, the only time that it is shown. Older keys of the same client stay valid."""
        secret = new_key(secrets.token_bytes)
        bound = tuple(grants)
        number = secrets.randbits(48) if bound else await self._next_number(client)
        while True:
            made = ClientKey(client, number, self._clock.now().wall, digest(secret.reveal()), bound, expires)
            if await self._vault.put(made.record, expected=0, value=made.value) is not None:
                self._take(made.record, made)
                return NewKey(made, secret)
            number += 1  # another process took the number

    async def _next_number(self, client: str) -> int:
        rows = await self._vault.store.read_all(f"{PREFIX}{client}/")
        return 1 + max((int(row.name.rpartition("/")[2]) for row in rows), default=0)

    async def rotate(
        self, client: str, number: int | None, *, overlap: float, expires: float | None = None
    ) -> tuple[NewKey, ClientKey]:
        """Make a key in the place of another of `client`, which ends in `overlap` seconds; return both, new and old.

        `number` None: the one key of everybody's that counts and was not replaced. The new key has the other's members,
        and lives as long as that was to live unless `expires` says when it ends. `NoSuchKey` if there is none to be
        replaced; then nothing was made.
        """
        await self.load_once()
        old = self._to_replace(client, number)
        now = self._clock.now().wall
        if expires is None and old.expires is not None:
            expires = now + (old.expires - old.created)
        made = await self.add(client, old.grants, expires=expires)
        try:
            replaced = await self._replace(old, now, overlap)
        except NoSuchKey:
            # Nobody has seen the new key, so nobody must be able to use it later. After a `StoreError` it stays: the
            # old one may have its end all the same, and then this is the one that can be replaced.
            await self._delete([made.key.record])
            raise
        with suppress(StoreError):  # the next rotation finds them too, and this key is shown but once
            await self._delete(self._long_over(client, now))
        return made, replaced

    def _to_replace(self, client: str, number: int | None) -> ClientKey:
        found = [key for key in self._stored.values() if key.client == client and number in (None, key.number)]
        if number is None:
            now = self._clock.now().wall
            found = [key for key in found if not key.grants and key.replaced is None and not key.ended(now)]
        if not found:
            what = "no key that could be replaced" if number is None else f"no key {number}"
            raise NoSuchKey(f"the client '{client}' has {what}")
        if len(found) > 1:
            numbers = ", ".join(str(key.number) for key in sorted(found, key=lambda key: key.number)[:10])
            raise NoSuchKey(f"the client '{client}' has several keys; say which to replace: --key {numbers}")
        return found[0]

    async def _replace(self, old: ClientKey, now: float, overlap: float) -> ClientKey:
        """Give `old` its end, by its record as it is in the store."""
        entry = await self._vault.get(old.record)
        try:
            current = ClientKey.of(old.record, entry) if entry is not None else None
        except (ValueError, LookupError, TypeError):
            message = f"key {old.number} of '{old.client}' was changed by a newer bearerd; replace it with that one"
            raise NoSuchKey(message) from None
        if current is None or current.digest != old.digest:
            raise NoSuchKey(f"key {old.number} of '{old.client}' was removed")
        if current.replaced is not None:
            raise NoSuchKey(f"key {old.number} of '{old.client}' was replaced before; replace the newer one")
        end = now + overlap
        if current.expires is not None:
            end = min(end, current.expires)
        changed = replace(current, expires=end, replaced=now, generation=current.generation + 1)
        if not await self._written(changed):
            raise NoSuchKey(f"key {old.number} of '{old.client}' was changed by somebody else at the same moment")
        self._take(old.record, changed)
        return changed

    async def _written(self, changed: ClientKey) -> bool:
        """Whether it stands in the store now; not, if that was changed meanwhile."""
        try:
            moved = await self._vault.put(changed.record, expected=changed.generation - 1, value=changed.value)
        except StoreError:
            entry = await self._vault.get(changed.record)  # the commit may have got through all the same
            if entry is None or entry.value != changed.value:
                raise
            return True
        return moved is not None

    def _long_over(self, client: str, now: float) -> list[str]:
        return [
            record
            for record, key in self._ending.items()
            if key.client == client and key.replaced is not None and key.ended(now - KEPT)
        ]

    async def remove(self, client: str, grant: str | None = None, number: int | None = None) -> int:
        """Delete all keys of `client`, and take lent ones back; or only those bound to `grant`, or the one `number`.

        Returns how many there were.
        """
        await self.load_once()
        if grant is None and number is None:
            for prefix in (PREFIX, BOUND):  # what another server has made a moment ago goes too
                async for rows in pages(self._vault.store, f"{prefix}{client}/"):
                    await self.follow(rows)
        wanted = [
            record
            for record, key in self._stored.items()
            if key.client == client and (grant is None or grant in key.grants) and number in (None, key.number)
        ]
        removed = 0
        if grant is None and number is None:
            removed = sum(key.client == client for key in self._lent)
            self._lent, taken = [key for key in self._lent if key.client != client], self._lent
            self._forget(taken)
        return removed + await self._delete(wanted)

    async def _delete(self, records: list[str]) -> int:
        """As many in a transaction as do not hold up others for long; calls go on in between."""
        removed = 0
        for start in range(0, len(records), _SLICE):
            some = records[start : start + _SLICE]
            known = {record: self._stored[record] for record in some if record in self._stored}
            gone = await self._vault.store.discard({record: key.generation for record, key in known.items()})
            for record in known.keys() - gone:
                gone |= await self._delete_changed(record, known[record])
            removed += len(gone)
            for record in known:
                self._drop(record)
        return removed

    async def _delete_changed(self, record: str, key: ClientKey) -> set[str]:
        """Delete a key that is no longer as we knew it: replaced elsewhere a moment ago, if it is there at all."""
        row = await self._vault.store.read(record)
        found = self._read(row) if row is not None else None
        if row is None or found is None or found.digest != key.digest:
            return set()
        return await self._vault.store.discard({record: row.generation})

    @contextmanager
    def lent(self, client: str, digest: str) -> Iterator[None]:
        """Count `digest` among the keys of `client` within the block."""
        key = ClientKey(client, 0, self._clock.now().wall, digest)
        self._lent.append(key)
        self.digests[digest] = client
        self.changed(digest)
        try:
            yield
        finally:
            # By identity: a caller that lost its connection may have come again before we noticed.
            self._lent = [other for other in self._lent if other is not key]
            self._forget([key])

    # -- seeing -------------------------------------------------------------------------------------------------------

    def all(self) -> list[ClientKey]:
        """Every key that counts, by client and number."""
        found = [*self._stored.values(), *self._lent]
        return sorted(found, key=lambda key: (key.client, key.number, key.created))

    def some(self, client: str, *, grant: str | None = None, after: int = -1, limit: int) -> list[ClientKey]:
        """The first `limit` keys of `client` with a number above `after`; with `grant` of those bound to it."""
        found = (
            key
            for key in (*self._stored.values(), *self._lent)
            if key.client == client and key.number > after and (grant is None or grant in key.grants)
        )
        return heapq.nsmallest(limit, found, key=lambda key: key.number)

    def first(self, limit: int) -> dict[str, list[ClientKey]]:
        """The first `limit` keys of each client, by number."""
        found: dict[str, list[ClientKey]] = {}
        for key in (*self._stored.values(), *self._lent):
            found.setdefault(key.client, []).append(key)
        return {client: heapq.nsmallest(limit, keys, key=lambda key: key.number) for client, keys in found.items()}

    def counts(self) -> dict[str, tuple[int, int]]:
        """Of each client that has any: how many keys, and how many of them are bound."""
        lent = Counter(key.client for key in self._lent)
        names = {client for client, _ in self._counts} | lent.keys()
        found = {
            name: (self._counts[name, False] + self._counts[name, True] + lent[name], self._counts[name, True])
            for name in names
        }
        return {name: counts for name, counts in found.items() if counts[0]}

    def next_ends(self) -> dict[str, float]:
        """Client → when the first of its keys ends of those that count and were not replaced."""
        return self._look_through()[0]

    def warnings(self) -> list[str]:
        """What a person should know of keys that end."""
        return self._look_through()[1]

    def _look_through(self) -> tuple[dict[str, float], list[str]]:
        """All keys with an end; where there are very many, only now and then: calls wait meanwhile."""
        now = self._clock.now().wall
        if len(self._ending) > _FEW and 0 <= now - self._looked_at < _FRESH:
            return self._found
        ends: dict[str, float] = {}
        for key in self._ending.values():
            if key.expires is not None and key.expires > now and key.replaced is None:
                ends[key.client] = min(key.expires, ends.get(key.client, key.expires))
        self._found = ends, list(expiry.warnings(self._ending.values(), self.last_use.of, now))
        self._looked_at = now
        return self._found

    # -- what is looked up --------------------------------------------------------------------------------------------

    def _take(self, record: str, key: ClientKey) -> None:
        if self._stored.get(record) == key:
            return
        self._drop(record)
        self._stored[record] = key
        self._counts[key.client, bool(key.grants)] += 1
        if key.grants:
            self.bindings[key.digest] = key.grants
        if key.expires is not None:
            self._ending[record] = key
            self.expiries[key.digest] = key.expires
        self.digests[key.digest] = key.client  # last: before it counts, all that limits it is known
        self.changed(key.digest)

    def _drop(self, record: str) -> None:
        key = self._stored.pop(record, None)
        if key is not None:
            self._ending.pop(record, None)
            self._counts[key.client, bool(key.grants)] -= 1
            self._forget([key])

    def _forget(self, keys: Iterable[ClientKey]) -> None:
        """These count no longer, but for those that are lent once more."""
        lent = {key.digest for key in self._lent}
        for key in keys:
            if key.digest not in lent:
                self.digests.pop(key.digest, None)
                self.bindings.pop(key.digest, None)
                self.expiries.pop(key.digest, None)
                self.changed(key.digest)
