"""Stores to back up, and their backups read again."""

import asyncio
from pathlib import Path

from proxy.store.backup import Backup, Summary, restore
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer

KEY, OTHER_KEY = bytes(32), bytes(range(32))
MADE = 1_790_000_000.0


async def filled(rows: int = 3, key: bytes = KEY) -> tuple[MemoryStore, Sealer]:
    """A store with so many rows, the first of which is at generation 2."""
    store = MemoryStore()
    sealer = Sealer(key, store.store_id)
    await store.adopt_key(sealer.key_id)
    for number in range(rows):
        await write(store, sealer, f"grant/g{number:04}", 0)
    await write(store, sealer, "grant/g0000", 1)
    return store, sealer


async def write(store: MemoryStore, sealer: Sealer, name: str, expected: int) -> None:
    """The next generation of a record."""
    value = b'{"token": "%s %d"}' % (name.encode(), expected + 1)
    assert await store.swap(name, expected=expected, sealed=sealer.seal(name, expected + 1, value)) == expected + 1


async def values(store: MemoryStore, sealer: Sealer) -> dict[str, tuple[int, bytes]]:
    """Everything in clear, by name."""
    rows = await store.read_all("")
    return {row.name: (row.generation, sealer.unseal(row.name, row.generation, row.sealed)) for row in rows}


async def brought_back(file: Path, store: MemoryStore, key: bytes = KEY) -> Summary | None:
    """The restore of `file` into `store`."""
    with await asyncio.to_thread(Backup, file) as backup:
        sealer = backup.sealer([key], "file:key")
        summary = await asyncio.to_thread(backup.check, sealer)
        done = await restore(backup, summary, sealer, store, lambda: asyncio.sleep(0))
        return summary if done else None


def check(data: bytes, file: Path) -> Summary:
    """What a reader with the key says of a file with these bytes."""
    file.write_bytes(data)
    with Backup(file) as backup:
        return backup.check(backup.sealer([KEY], "file:key"))


def parts(data: bytes) -> list[int]:
    """Where a backup may be cut without a half part: behind its first line, and behind each chunk."""
    places = [data.index(b"\n") + 1]
    while places[-1] < len(data):
        start = places[-1] + 4
        places.append(start + int.from_bytes(data[places[-1] : start]))
    return places
