"""Client keys: made once, shown once, kept as a digest. What a client may reach stands in the configuration.

A key may be bound: on the mounts of a grant it then stands for one person's own (`GRANT/PERSON`). An application has
one for each of its users, so there may be very many: they are read once, page by page, and followed from then on.

A lent key is in memory only: whoever asked for it keeps it alive, and it is gone with the process in any case.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from proxy.clock import Clock
from proxy.gate.clients import digest, new_key
from proxy.secret import Secret
from proxy.store import Damaged, Row, WrongKey, pages
from proxy.store.vault import Vault

PREFIX = "client/"
BOUND = "bound/"  # apart from the others: to number those, nobody has to read these


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One key of a client. `number` tells a client's keys apart, 0 is a lent one; `created` is Unix time.

    `grants` are the members that it is bound to, at most one of each grant; without any it is for everybody's.
    """

    client: str
    number: int
    created: float
    digest: str
    grants: tuple[str, ...] = ()

    @property
    def record(self) -> str:
        """Where it is stored."""
        return f"{BOUND if self.grants else PREFIX}{self.client}/{self.number}"

    @classmethod
    def of(cls, record: str, value: Mapping[str, Any]) -> "ClientKey":
        number = int(record.rpartition("/")[2])
        return cls(value["client"], number, value["created"], value["digest"], tuple(value.get("grants", ())))


class ClientKeys:
    """The keys in the store, as they were read last, and those that are lent.

    What waits for the store raises `StoreError` if it fails. `digests` (digest → client) and `bindings` (digest → the
    members that a bound key stands for) are changed in place: whoever looks keys up in them sees each change at once.
    """

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self.digests: dict[str, str] = {}
        self.bindings: dict[str, tuple[str, ...]] = {}
        self._vault = vault
        self._clock = clock
        self._stored: dict[str, ClientKey] = {}  # by record
        self._counts: Counter[tuple[str, bool]] = Counter()
        self._lent: list[ClientKey] = []
        self._loaded = False

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
        mine = [row for row in rows if row.name.startswith((PREFIX, BOUND))]
        opened = await asyncio.to_thread(self._open, mine) if mine else []
        unreadable = []
        for row, key in zip(mine, opened, strict=True):
            if key is None:
                unreadable.append(row.name)
                self._drop(row.name)
            else:
                self._take(row.name, key)
        for record in gone:
            self._drop(record)
        return unreadable

    def _open(self, rows: list[Row]) -> list[ClientKey | None]:
        return [self._read(row) for row in rows]

    def _read(self, row: Row) -> ClientKey | None:
        try:
            return ClientKey.of(row.name, self._vault.open(row).value)
        except (Damaged, WrongKey, LookupError, TypeError, ValueError):
            return None

    async def add(self, client: str, grants: Iterable[str] = ()) -> Secret:
        """Make a key for `client` and return it, for the only time. Older keys of the same client stay valid."""
        key = new_key(secrets.token_bytes)
        bound = tuple(grants)
        number = secrets.randbits(48) if bound else await self._next_number(client)
        while True:
            made = ClientKey(client, number, self._clock.now().wall, digest(key.reveal()), bound)
            value = {"client": client, "created": made.created, "digest": made.digest}
            value |= {"grants": list(bound)} if bound else {}
            if await self._vault.put(made.record, expected=0, value=value) is not None:
                self._take(made.record, made)
                return key
            number += 1  # another process took the number

    async def _next_number(self, client: str) -> int:
        rows = await self._vault.store.read_all(f"{PREFIX}{client}/")
        return 1 + max((int(row.name.rpartition("/")[2]) for row in rows), default=0)

    async def remove(self, client: str, grant: str | None = None) -> int:
        """Delete all keys of `client`, and take lent ones back; or only those that are bound to `grant`.

        Returns how many there were.
        """
        await self.load_once()
        wanted = [
            record
            for record, key in self._stored.items()
            if key.client == client and (grant is None or grant in key.grants)
        ]
        removed = 0
        if grant is None:
            removed = sum(key.client == client for key in self._lent)
            self._lent, taken = [key for key in self._lent if key.client != client], self._lent
            self._forget(taken)
        for record in wanted:
            # A key is written once, so this is its only generation.
            removed += await self._vault.put(record, expected=1, value=None) is not None
            self._drop(record)
        return removed

    @contextmanager
    def lent(self, client: str, digest: str) -> Iterator[None]:
        """Count `digest` among the keys of `client` within the block."""
        key = ClientKey(client, 0, self._clock.now().wall, digest)
        self._lent.append(key)
        self.digests[digest] = client
        try:
            yield
        finally:
            # By identity: a caller that lost its connection may have come again before we noticed.
            self._lent = [other for other in self._lent if other is not key]
            self._forget([key])

    def all(self) -> list[ClientKey]:
        """Every key that counts, by client and number."""
        found = [*self._stored.values(), *self._lent]
        return sorted(found, key=lambda key: (key.client, key.number, key.created))

    def counts(self) -> dict[str, tuple[int, int]]:
        """Of each client that has any: how many keys, and how many of them are bound."""
        lent = Counter(key.client for key in self._lent)
        names = {client for client, _ in self._counts} | lent.keys()
        found = {
            name: (self._counts[name, False] + self._counts[name, True] + lent[name], self._counts[name, True])
            for name in names
        }
        return {name: counts for name, counts in found.items() if counts[0]}

    def _take(self, record: str, key: ClientKey) -> None:
        if self._stored.get(record) == key:
            return
        self._drop(record)
        self._stored[record] = key
        self._counts[key.client, bool(key.grants)] += 1
        self.digests[key.digest] = key.client
        if key.grants:
            self.bindings[key.digest] = key.grants

    def _drop(self, record: str) -> None:
        key = self._stored.pop(record, None)
        if key is not None:
            self._counts[key.client, bool(key.grants)] -= 1
            self._forget([key])

    def _forget(self, keys: Iterable[ClientKey]) -> None:
        """These count no longer, but for those that are lent once more."""
        lent = {key.digest for key in self._lent}
        for key in keys:
            if key.digest not in lent:
                self.digests.pop(key.digest, None)
                self.bindings.pop(key.digest, None)
