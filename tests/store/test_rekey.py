"""Going over to a new master key: a kill at any point leaves a store that opens, with everything in it."""
# ruff: noqa: ASYNC240  the test's own file calls may block; the product's are watched by blockbuster

import asyncio
import errno
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from proxy.store import KeyUnavailable, StoreError, WrongKey
from proxy.store.disk import MemoryDisk
from proxy.store.keys import Source
from proxy.store.memory import MemoryStore
from proxy.store.rekey import rekey, unlock
from proxy.store.sealing import Sealer
from proxy.store.sqlite import SQLiteStore
from proxy.store.vault import Entry, Vault
from proxy.tokens.journal import Intent, Journal, JournalError, reseal

INTENT = Intent("questrade", 2, "lineage", "ab" * 32, 1, False, 0.0, "boot")
JOURNAL = Path("/state/journal")


def on_disk(disk: MemoryDisk) -> Callable[[Sealer, Sealer], Awaitable[None]]:
    return lambda old, new: _reseal(disk, old, new)


async def _reseal(disk: MemoryDisk, old: Sealer, new: Sealer) -> None:
    try:
        journal = await Journal.open(JOURNAL, old, files=disk)
        await journal.reseal(new)
    except WrongKey:
        journal = await Journal.open(JOURNAL, new, files=disk)
    await journal.close()


async def made(source: Source) -> None:
    """Make the key, as a command does: outside the event loop."""
    await asyncio.to_thread(source.create)


async def fill(store: MemoryStore | SQLiteStore, sealer: Sealer) -> None:
    vault = Vault(store, sealer)
    await vault.put("grant/q", expected=0, value={"n": 1})
    await vault.put("grant/q", expected=1, value={"n": 2})
    await vault.put("client/bot/1", expected=0, value={"digest": "d"})


async def check(store: MemoryStore | SQLiteStore, sealer: Sealer) -> None:
    expected = [("client/bot/1", Entry(1, {"digest": "d"})), ("grant/q", Entry(2, {"n": 2}))]
    assert expected == await Vault(store, sealer).entries("")


async def test_an_unkeyed_store_takes_the_key_at_hand(state_dir: Path) -> None:
    """The first unlocking sets the key id, the next one checks it."""
    store, source = MemoryStore(), Source("file:k", state_dir)
    await made(source)
    sealer = await unlock(store, source, reseal=on_disk(MemoryDisk()))

    assert sealer.key_id == store.key_id
    assert sealer.key_id == (await unlock(store, source, reseal=on_disk(MemoryDisk()))).key_id


async def test_another_key_does_not_unlock(state_dir: Path) -> None:
    """An empty store tells, too; the message names store and key ids, no key."""
    store = MemoryStore()
    for name in ("a", "b"):
        await made(Source(f"file:{name}", state_dir))
    sealer = await unlock(store, Source("file:a", state_dir), reseal=on_disk(MemoryDisk()))

    with pytest.raises(WrongKey, match=f"memory is sealed with the master key {sealer.key_id}; the key from file is"):
        await unlock(store, Source("file:b", state_dir), reseal=on_disk(MemoryDisk()))


async def test_a_broken_staged_key_does_not_hide_the_right_one(state_dir: Path) -> None:
    """A kill may leave half a `.new`; the key in use still opens, and a wrong one is still called wrong."""
    store, source = MemoryStore(), Source("file:k", state_dir)
    await made(source)
    await unlock(store, source, reseal=on_disk(MemoryDisk()))
    (state_dir / "k.new").touch(0o600)
    await unlock(store, source, reseal=on_disk(MemoryDisk()))

    (state_dir / "k").unlink()
    await made(source)
    with pytest.raises(WrongKey):
        await unlock(store, source, reseal=on_disk(MemoryDisk()))


async def test_a_missing_key_passes_through(state_dir: Path) -> None:
    """What the source says about itself is the message."""
    with pytest.raises(KeyUnavailable, match="is missing"):
        await unlock(MemoryStore(), Source("file:k", state_dir), reseal=on_disk(MemoryDisk()))


async def test_a_key_file_is_replaced_in_its_place(state_dir: Path) -> None:
    """Store and journal open with the new key in the same file, and with nothing else; no old key is left behind."""
    store, disk, source = MemoryStore(), MemoryDisk(), Source("file:k", state_dir)
    await made(source)
    old = await unlock(store, source, reseal=on_disk(disk))
    await fill(store, old)
    journal = await Journal.open(JOURNAL, old, files=disk)
    await journal.begin(INTENT)

    new = await rekey(store, source, source, journal)
    await journal.close()

    assert old.key_id != new.key_id
    assert new.key_id == (await unlock(store, source, reseal=on_disk(disk))).key_id
    await check(store, new)
    with pytest.raises(WrongKey):
        await Vault(store, old).get("grant/q")
    again = await Journal.open(JOURNAL, new, files=disk)
    assert [INTENT] == [item.intent for item in again.found()]
    assert ["k"] == [path.name for path in state_dir.iterdir()]


async def test_another_source_takes_over(state_dir: Path) -> None:
    """From a file to a passphrase and to an environment's key: the setting follows, the old one is refused."""
    store, disk = MemoryStore(), MemoryDisk()
    file = Source("file:k", state_dir)
    await made(file)
    old = await unlock(store, file, reseal=on_disk(disk))
    await fill(store, old)
    journal = await Journal.open(JOURNAL, old, files=disk)

    def asked() -> Source:
        return Source("passphrase", state_dir, state_dir, {"BEARERD_PASSPHRASE": "p"})

    await check(store, await rekey(store, file, asked(), journal))
    with pytest.raises(WrongKey):
        await unlock(store, file, reseal=on_disk(disk))
    variable = Source("env:K", state_dir, environ={"K": "07" * 32})
    last = await rekey(store, asked(), variable, journal)
    await journal.close()

    await check(store, last)
    await unlock(store, variable, reseal=on_disk(disk))


async def test_a_passphrase_is_changed_in_its_place(state_dir: Path) -> None:
    """Old and new passphrase are both asked for; afterwards only the new one opens."""
    store, disk = MemoryStore(), MemoryDisk()

    def asked(text: str) -> Source:
        return Source("passphrase", state_dir, state_dir, {"BEARERD_PASSPHRASE": text})

    await made(asked("old"))
    old = await unlock(store, asked("old"), reseal=on_disk(disk))
    await fill(store, old)
    journal = await Journal.open(JOURNAL, old, files=disk)
    await rekey(store, asked("old"), asked("new"), journal)
    await journal.close()

    await check(store, await unlock(store, asked("new"), reseal=on_disk(disk)))
    with pytest.raises(WrongKey):
        await unlock(store, asked("old"), reseal=on_disk(disk))


async def test_an_answer_in_the_journal_stops_a_rekey(state_dir: Path) -> None:
    """It has to reach the store first; nothing is changed."""
    store, disk, source = MemoryStore(), MemoryDisk(), Source("file:k", state_dir)
    await made(source)
    old = await unlock(store, source, reseal=on_disk(disk))
    journal = await Journal.open(JOURNAL, old, files=disk)
    journal.keep(await journal.begin(INTENT), 200, "", b"answer")

    with pytest.raises(StoreError, match="not in the store yet"):
        await rekey(store, source, source, journal)
    assert old.key_id == store.key_id
    assert ["k"] == [path.name for path in state_dir.iterdir()]


async def test_a_rekey_needs_the_stores_own_key(state_dir: Path) -> None:
    """A wrong current key, or the same key again, changes nothing."""
    store, disk = MemoryStore(), MemoryDisk()
    for name in ("a", "b"):
        await made(Source(f"file:{name}", state_dir))
    right, wrong = Source("file:a", state_dir), Source("file:b", state_dir)
    old = await unlock(store, right, reseal=on_disk(disk))
    journal = await Journal.open(JOURNAL, old, files=disk)

    with pytest.raises(WrongKey):
        await rekey(store, wrong, wrong, journal)
    with pytest.raises(StoreError, match="is the old one"):
        await rekey(store, right, Source(f"file:{state_dir}/a", state_dir), journal)
    assert old.key_id == store.key_id


async def test_a_disk_that_fails_in_the_middle_is_survived(state_dir: Path) -> None:
    """The store is under the new key, the journal is not: the next unlocking finishes the work."""
    store, disk, source = MemoryStore(), MemoryDisk(), Source("file:k", state_dir)
    await made(source)
    old = await unlock(store, source, reseal=on_disk(disk))
    await fill(store, old)
    journal = await Journal.open(JOURNAL, old, files=disk)
    await journal.begin(INTENT)
    disk.fail("datasync", errno.ENOSPC)
    with pytest.raises(JournalError):
        await rekey(store, source, source, journal)
    await journal.close()

    new = await unlock(store, source, reseal=on_disk(disk))
    await check(store, new)
    again = await Journal.open(JOURNAL, new, files=disk)
    assert [INTENT] == [item.intent for item in again.found()]
    assert ["k"] == [path.name for path in state_dir.iterdir()]


VICTIM = """
import asyncio, os, sys
from pathlib import Path
from proxy.store.keys import Source
from proxy.store.rekey import rekey, unlock
from proxy.store.sqlite import SQLiteStore
from proxy.tokens.journal import Journal, reseal

state, point = Path(sys.argv[1]), sys.argv[2]

def at(here):
    if here == point:
        os._exit(9)

class Key(Source):
    def stage(self):
        at("before stage")
        key = super().stage()
        at("after stage")
        return key

    def promote(self):
        at("before promote")
        super().promote()
        at("after promote")

class Records(SQLiteStore):
    async def rewrite(self, reseal, key_id, extra=None):
        def dying(row):
            at("within rewrite")
            return reseal(row)
        count = await super().rewrite(dying, key_id, extra)
        at("after rewrite")
        return count

    def _rewrite(self, reseal, key_id, extra):
        count = super()._rewrite(reseal, key_id, extra)
        at("before commit")
        return count

    async def swap(self, name, *, expected, sealed):
        at("before delete")
        return await super().swap(name, expected=expected, sealed=sealed)

class Held(Journal):
    async def reseal(self, sealer):
        await super().reseal(sealer)
        at("after journal")

async def main():
    store = await Records.open(state / "store.db")
    source = Key("file:k", state)
    sealer = await unlock(store, source, reseal=lambda old, new: reseal(state / "journal", old, new))
    journal = await Held.open(state / "journal", sealer)
    await rekey(store, source, source, journal)
    await journal.close()
    await store.close()
    at("end")

asyncio.run(main())
"""
POINTS = [
    "before stage", "after stage", "within rewrite", "before commit", "after rewrite", "after journal",
    "before promote", "after promote", "before delete", "end",
]  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_at_any_point_leaves_a_store_that_opens(state_dir: Path, point: str) -> None:
    """Same setting, same file: whatever was reached, the next unlocking finds the right key and finishes."""
    source = Source("file:k", state_dir)
    await made(source)
    journal_path = state_dir / "journal"

    async def unlocked() -> tuple[SQLiteStore, Sealer]:
        store = await SQLiteStore.open(state_dir / "store.db", journal=journal_path)
        return store, await unlock(store, source, reseal=lambda old, new: reseal(journal_path, old, new))

    store, old = await unlocked()
    await fill(store, old)
    journal = await Journal.open(journal_path, old)
    await journal.begin(INTENT)
    await journal.close()
    await store.close()

    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", VICTIM, str(state_dir), point], check=False)
    assert 9 == done.returncode

    store, sealer = await unlocked()
    await check(store, sealer)
    journal = await Journal.open(journal_path, sealer)
    assert [INTENT] == [item.intent for item in journal.found()]
    await journal.close()
    await store.close()
    assert (point in POINTS[:4]) == (old.key_id == sealer.key_id)
    assert (point == "after stage" or point in POINTS[2:4]) == (state_dir / "k.new").exists()


async def test_a_peers_journal_is_put_under_the_new_key_when_it_starts(state_dir: Path) -> None:
    """Of two servers that share a store one changes the key; the other's answer is still there afterwards."""
    store, source = MemoryStore(shared=True), Source("file:k", state_dir)
    await made(source)
    mine, theirs = MemoryDisk(), MemoryDisk()
    sealer = await unlock(store, source, reseal=on_disk(mine))
    peer = await Journal.open(JOURNAL, sealer, files=theirs)
    peer.keep(await peer.begin(INTENT), 200, "application/json", b"{}")
    await peer.close()
    for _ in range(2):  # the second change finds the key of the first one in the store
        journal = await Journal.open(JOURNAL, sealer, files=mine)
        await rekey(store, source, source, journal)
        await journal.close()
        sealer = await unlock(store, source, reseal=on_disk(theirs))

    found = await Journal.open(JOURNAL, sealer, files=theirs)
    assert [INTENT] == [item.intent for item in found.found()]
    await found.close()
