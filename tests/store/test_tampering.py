"""A rotten store, and values in the wrong place: refused with the reason, or it does not matter; never a wrong value.

A small store is spoilt one bit at a time. Fast: in each byte that means something, and in some of the others. In full:
in every byte, and each of the eight bits where it means something.
"""
# ruff: noqa: ASYNC240  the test's own file calls may block; the product's are watched by blockbuster

import asyncio
import os
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.store import Damaged, StoreError, WrongKey
from proxy.store.files import create_private
from proxy.store.sealing import Sealer
from proxy.store.sqlite import SQLiteStore
from proxy.store.vault import Entry, Vault
from tests.store.sqlitefiles import alter

KEY = bytes(range(32))
NAMES = ("grant/a", "grant/b", "client/gone", "mark/a")


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a reader learns from a store."""

    store_id: str
    key_id: str | None
    commits: int
    values: dict[str, Entry | None]
    listed: list[str]
    changed: list[str]
    gone: list[str]


async def read_everything(path: Path, *, own_journal: bool = True) -> Contents:
    """Open the store as a server does, beside its journal, and read it in every way there is."""
    store = await SQLiteStore.open(path, journal=path.with_name("journal") if own_journal else None)
    try:
        vault = Vault(store, Sealer(KEY, store.store_id))
        entries = {name: await vault.get(name) for name in NAMES}
        listed = [name for name, _ in await vault.entries("")]
        changed = await store.changed(0)
        return Contents(
            store.store_id,
            store.key_id,
            await store.changes(),
            entries,
            listed,
            [row.name for row in changed.rows],
            changed.gone,
        )
    finally:
        await store.close()


async def make(path: Path) -> Contents:
    """A closed store: a grant of two generations, one of one, a mark, and a client key that was deleted."""
    store = await SQLiteStore.open(path)
    sealer = Sealer(KEY, store.store_id)
    await store.adopt_key(sealer.key_id)
    vault = Vault(store, sealer)
    for name, generation in (("grant/a", 0), ("client/gone", 0), ("grant/b", 0), ("mark/a", 0), ("grant/a", 1)):
        await vault.put(name, expected=generation, value={"token": f"{name} {generation + 1}"})
    await vault.put("client/gone", expected=1, value=None)
    await store.close()
    os.close(create_private(path.with_name("journal")))
    return await read_everything(path)


def flips(data: bytes, bulk: Iterable[bytes], *, full: bool) -> Iterator[tuple[int, int]]:
    """Which bits to flip, as offset and mask: one of each byte that is neither zero nor in `bulk`, and of some of the
    others. In full all eight of those, and one of every other byte.
    """
    plain = bytearray(data)
    for value in bulk:
        for start in range(64, len(value), 16):  # its head is not left out; it may lie in several pages
            place = plain.find(value[start : start + 16])
            if place >= 0:
                plain[place : place + 16] = bytes(16)
    for offset, byte in enumerate(plain):
        if full and byte:
            yield from ((offset, 1 << bit) for bit in range(8))
        elif full or byte or offset % 101 == 0:
            yield offset, 1 << offset % 8


def spoilt(data: bytes, offset: int, mask: int) -> bytes:
    return data[:offset] + bytes((data[offset] ^ mask,)) + data[offset + 1 :]


def sealed_values(path: Path) -> list[bytes]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT sealed, previous FROM records").fetchall()
    connection.close()
    return [value for row in rows for value in row if value is not None]


async def attempt(path: Path) -> Contents | StoreError:
    """What a start finds, or why it refuses."""
    try:
        return await read_everything(path)
    except StoreError as fault:
        return fault


async def flip_the_store(path: Path, *, full: bool) -> Counter[str]:
    """What came of each flip."""
    whole = await make(path)
    data = path.read_bytes()
    counts: Counter[str] = Counter()
    for offset, mask in flips(data, sealed_values(path), full=full):
        rotten = spoilt(data, offset, mask)
        path.write_bytes(rotten)
        found = await attempt(path)
        counts["tried"] += 1
        if isinstance(found, StoreError):
            assert str(found).startswith(f"{path}") and str(found).isprintable(), (offset, mask)  # noqa: PT018
            assert rotten == path.read_bytes(), f"written to after {found} {offset} {mask}"
            counts[type(found).__name__] += 1
        else:
            assert whole == found, (offset, mask)
            counts["harmless"] += 1
    return counts


async def test_a_flipped_bit_of_the_store_is_refused_or_harmless(state_dir: Path) -> None:
    """Never a wrong value, a missing one, another exception, or a byte written to what was refused."""
    counts = await flip_the_store(state_dir / "state" / "store.db", full=False)
    print(f"flips of the store: {dict(counts)}")

    assert counts["tried"] > 1500
    assert counts["Damaged"] > 1000
    assert counts["harmless"] > 100


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_every_byte_of_the_store(state_dir: Path) -> None:
    """In full."""
    counts = await flip_the_store(state_dir / "state" / "store.db", full=True)
    print(f"flips of the store: {dict(counts)}")

    assert counts["tried"] == counts.total() / 2
    assert counts["tried"] > (state_dir / "state" / "store.db").stat().st_size + 5000


# -- the write-ahead log that a killed process leaves -----------------------------------------------------------------


async def left_by_a_kill(path: Path) -> list[Contents]:
    """A store whose last commits are in its write-ahead log only; the states that it went through."""
    await make(path)
    store = await SQLiteStore.open(path)
    vault = Vault(store, Sealer(KEY, store.store_id))
    history = []
    for generation in (2, 3):
        await take_files(path, path.parent.with_name("moment"))
        history.append(await read_everything(path.parent.with_name("moment") / path.name))
        await vault.put("grant/a", expected=generation, value={"token": f"grant/a {generation + 1}"})
    await take_files(path, path.parent.with_name("killed"))
    await store.close()
    await take_files(path, path.parent.with_name("moment"))
    return [*history, await read_everything(path.parent.with_name("moment") / path.name)]


async def take_files(path: Path, to: Path) -> None:
    await asyncio.to_thread(shutil.rmtree, to, ignore_errors=True)
    await asyncio.to_thread(shutil.copytree, path.parent, to)


async def flip_the_log(state_dir: Path, offsets: Callable[[int], Iterable[int]]) -> Counter[str]:
    """What came of each flip in the log."""
    history = await left_by_a_kill(state_dir / "state" / "store.db")
    killed, path = state_dir / "killed", state_dir / "again" / "store.db"
    data = {file.name: file.read_bytes() for file in killed.iterdir() if file.name != "store.db-shm"}
    log = data["store.db-wal"]
    path.parent.mkdir(0o700)
    counts: Counter[str] = Counter()
    for offset in offsets(len(log)):
        data["store.db-wal"] = spoilt(log, offset, 1 << offset % 8)
        for file in path.parent.iterdir():
            file.unlink()
        for name, content in data.items():
            os.close(create_private(path.with_name(name)))
            path.with_name(name).write_bytes(content)
        counts["tried"] += 1
        found = await attempt(path)
        if isinstance(found, StoreError):
            assert str(found).startswith(str(path)), offset
            counts["refused"] += 1
        else:
            assert found in history, offset
            counts["harmless" if found == history[-1] else f"{history[-1].commits - found.commits} commits back"] += 1
    return counts


async def test_a_flipped_bit_of_the_log_never_shows_an_older_store_as_the_newest(state_dir: Path) -> None:
    """The store is as it was at some commit, and says by its number at which: the journal has seen a higher one."""
    counts = await flip_the_log(state_dir, lambda size: [*range(56), *range(56, size, 211)])
    print(f"flips of the write-ahead log: {dict(counts)}")

    assert {"1 commits back", "2 commits back"} < set(counts)


async def test_a_log_is_not_written_into_a_store_that_is_refused(state_dir: Path) -> None:
    """Rotten pages that the log does not replace, after a kill: file and log stay as they were, for a person to see."""
    await left_by_a_kill(state_dir / "state" / "store.db")
    killed, path = state_dir / "killed", state_dir / "again" / "store.db"
    data = (killed / path.name).read_bytes()
    refused = 0
    for offset in (*range(0, 100, 7), *range(100, 4096, 151), *range(4096, len(data), 1021)):
        await take_files(killed / path.name, path.parent)
        path.write_bytes(spoilt(data, offset, 1 << offset % 8))
        before = [path.read_bytes(), path.with_name("store.db-wal").read_bytes()]
        try:
            await (await SQLiteStore.open(path)).close()
        except StoreError:
            refused += 1
            assert before == [path.read_bytes(), path.with_name("store.db-wal").read_bytes()]

    assert refused > 10


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_every_third_byte_of_the_log(state_dir: Path) -> None:
    """All eight bits in turns."""
    counts = await flip_the_log(state_dir, lambda size: range(0, size, 3))
    print(f"flips of the write-ahead log: {dict(counts)}")

    assert counts["tried"] > 15_000


# -- rows in the wrong place ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "kind", "record"),
    [
        ("UPDATE records SET sealed = (SELECT sealed FROM records WHERE name = 'grant/b')", Damaged, "grant/a"),
        ("UPDATE records SET sealed = previous WHERE name = 'grant/a'", Damaged, "grant/a"),
        ("UPDATE records SET generation = 1 WHERE name = 'grant/a'", Damaged, "grant/a"),
        ("UPDATE records SET generation = 3 WHERE name = 'grant/a'", Damaged, "grant/a"),
        ("UPDATE records SET name = 'grant/c' WHERE name = 'grant/a'", Damaged, "grant/c"),
        ("INSERT INTO records SELECT 'grant/c', 1, 1, sealed, NULL FROM records LIMIT 1", Damaged, "grant/c"),
        (
            "UPDATE records SET sealed = CAST(x'01' || substr(sealed, 2, 60) AS BLOB) WHERE name = 'mark/a'",
            Damaged,
            "mark/a",
        ),
        (
            "UPDATE records SET sealed = CAST(x'02' || substr(sealed, 2) AS BLOB) WHERE name = 'mark/a'",
            Damaged,
            "mark/a",
        ),
        (
            "UPDATE records SET sealed = CAST(x'01ff' || substr(sealed, 3) AS BLOB) WHERE name = 'mark/a'",
            WrongKey,
            "mark/a",
        ),
    ],
    ids=["other row", "older value", "older number", "newer number", "renamed", "copied", "cut", "format", "key"],
)
async def test_a_value_in_another_place_is_refused(
    state_dir: Path, statement: str, kind: type[StoreError], record: str
) -> None:
    """It was sealed for its name and its generation; the message names store and record."""
    path = state_dir / "state" / "store.db"
    await make(path)
    await alter(path, statement)

    with pytest.raises(kind, match=f"^{re.escape(str(path))}: record '{record}'"):
        await read_everything(path)


async def test_another_stores_row_is_refused(state_dir: Path) -> None:
    """Sealed with the same key, under the same name and generation."""
    path, other = state_dir / "state" / "store.db", state_dir / "other" / "store.db"
    await make(path)
    await make(other)
    await alter(
        path,
        f"ATTACH '{other}' AS other",
        "UPDATE records SET sealed = (SELECT sealed FROM other.records WHERE name = 'grant/b') WHERE name = 'grant/b'",
    )

    with pytest.raises(Damaged, match="record 'grant/b' was altered, or belongs to another place"):
        await read_everything(path)
