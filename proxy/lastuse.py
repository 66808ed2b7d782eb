"""When each client key was last used: kept in memory, written to the store now and then, never on a call's way.

Keys are gathered in 256 records by the beginning of their digest, so that what is written does not grow with the number
of calls, and of many keys only the records of those are written that were used. Several servers write to the same
records: of two times the later one counts.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from proxy import logs
from proxy.gate.clients import Uses
from proxy.store import Damaged, Row, StoreError, WrongKey, pages
from proxy.store.vault import Entry, Vault

PREFIX = "used/"
PAUSE = 60.0  # seconds between two writings
PATIENCE = 2.0  # seconds for the last one
_BUCKET = 2  # hexadecimal digits of a digest that name its record
_SHORT = 16  # and that stand for it there: 64 bits tell the keys of one installation apart
_CLIENTS = "-"  # the record of clients
_ATTEMPTS = 5  # at one record that other servers write to at the same moment
_TOGETHER = 16  # records that are written at a time

log = logs.get("clients")


class LastUse:
    """`uses` is where the gate takes its notes. `known` is digest → client of all keys there are, changed in place.

    What waits for the store raises `StoreError` if it fails.
    """

    def __init__(self, vault: Vault, known: Mapping[str, str]) -> None:
        self.uses = Uses()
        self._vault = vault
        self._known = known
        self._stored: dict[str, int] = {}  # short digest, or client → Unix time, of all servers

    def of(self, digest: str) -> float | None:
        """When a key was last used, here or elsewhere; Unix time, None if never or before that was kept."""
        here, there = self.uses.keys.get(digest), self._stored.get(digest[:_SHORT])
        return max(filter(None, (here, there)), default=None)

    def of_client(self, name: str) -> float | None:
        """When one of a client's keys was last used; as `of`."""
        here, there = self.uses.clients.get(name), self._stored.get(_of_client(name))
        return max(filter(None, (here, there)), default=None)

    async def load(self) -> None:
        """Read what the store has."""
        async for rows in pages(self._vault.store, PREFIX):
            await self.follow(rows)

    async def follow(self, rows: Iterable[Row]) -> None:
        """Take over what another server has written; other records are passed over, unreadable ones too."""
        mine = [row for row in rows if row.name.startswith(PREFIX)]
        for times in await asyncio.to_thread(self._open, mine) if mine else ():
            for short, moment in times.items():
                self._stored[short] = max(moment, self._stored.get(short, 0))

    async def run(self, pause: float = PAUSE) -> None:
        """Write every `pause` seconds if there is something to write, for as long as the server runs."""
        while True:
            await asyncio.sleep(pause)
            await self.write_down()

    async def finish(self) -> None:
        """Write for the last time, if the store takes it soon: an end is not to wait for this."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self.write_down()

    async def write_down(self) -> None:
        """Write what was noted since the last time. What the store does not take is kept for the next time."""
        if not self.uses.keys:
            return
        noted, self.uses.keys = self.uses.keys, {}
        batches, known = await asyncio.to_thread(self._batches, noted)
        buckets = list(batches)
        try:
            while buckets:
                some, buckets = buckets[:_TOGETHER], buckets[_TOGETHER:]
                await asyncio.gather(*(self._write(bucket, batches[bucket], known) for bucket in some))
        except StoreError as error:
            log.warning("when keys were last used could not be written yet", reason=str(error))
            self.uses.keys = noted | self.uses.keys  # later notes win

    async def _write(self, bucket: str, noted: Mapping[str, int], known: set[str]) -> None:
        for _ in range(_ATTEMPTS):
            entry = await self._entry(PREFIX + bucket)
            there = {short: moment for short, moment in _times(entry).items() if short in known}
            times = there | {short: max(moment, there.get(short, 0)) for short, moment in noted.items()}
            expected = entry.generation if entry is not None else 0
            if await self._vault.put(PREFIX + bucket, expected=expected, value={"at": times}) is not None:
                self._stored |= times
                return
        self._stored |= noted  # the others are quicker; it is told here, and written with the next use

    async def _entry(self, record: str) -> Entry | None:
        """The record as it is now. One that cannot be opened is written anew: nothing hangs on what it held."""
        row = await self._vault.store.read(record)
        if row is None:
            return None
        try:
            return self._vault.open(row)
        except (Damaged, WrongKey):
            return Entry(row.generation, {})

    def _batches(self, noted: Mapping[str, float]) -> tuple[dict[str, dict[str, int]], set[str]]:
        """Bucket → short digest → time, without keys that are gone; and the short digests of all keys there are."""
        found: dict[str, dict[str, int]] = {}
        for digest, moment in noted.items():
            if digest in self._known:
                found.setdefault(digest[:_BUCKET], {})[digest[:_SHORT]] = int(moment)
        names = set(self._known.values())
        used = ((name, moment) for name, moment in tuple(self.uses.clients.items()) if name in names)
        found[_CLIENTS] = {_of_client(name): int(moment) for name, moment in used}
        return found, {_of_client(name) for name in names} | {digest[:_SHORT] for digest in tuple(self._known)}

    def _open(self, rows: list[Row]) -> list[dict[str, int]]:
        found = []
        for row in rows:
            try:
                found.append(_times(self._vault.open(row)))
            except (Damaged, WrongKey):
                log.warning("a record of when keys were last used cannot be read", record=row.name)
        return found


def _times(entry: Entry | None) -> dict[str, int]:
    times: Any = entry.value.get("at") if entry is not None else None
    if not isinstance(times, dict):
        return {}
    return {short: moment for short, moment in times.items() if isinstance(moment, int)}


def _of_client(name: str) -> str:
    return f"@{name}"  # no digest has that
