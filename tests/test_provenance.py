"""A store that is not the one that was left here is told from one that is, and nothing of it is redeemed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxy.clock import Now
from proxy.provenance import RECORD, Provenance, quarantine
from proxy.store import StoreError
from proxy.store.disk import MemoryDisk
from proxy.store.files import machine
from proxy.store.memory import MemoryStore
from proxy.store.sealing import Sealer
from proxy.store.vault import Vault
from proxy.tokens.journal import Journal
from proxy.tokens.quarantine import Quarantine

KEY = bytes(range(32))
JOURNAL = Path("/state/journal")
WHEN = 1_700_000_000.0


class StillClock:
    """Always the same moment."""

    def now(self) -> Now:
        return Now(WHEN, 5.0)


@dataclass
class Site:
    """A store, a disk with a journal on it, and what looks at both."""

    store: MemoryStore = field(default_factory=MemoryStore)
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    journals: list[Journal] = field(default_factory=list)

    @property
    def vault(self) -> Vault:
        return Vault(self.store, Sealer(KEY, self.store.store_id))

    async def start(self) -> Provenance:
        """What a start finds, as a new process after a kill."""
        for journal in self.journals:
            await journal.close()
        self.journals = [await Journal.open(JOURNAL, Sealer(KEY, self.store.store_id), files=self.disk)]
        provenance = Provenance(self.vault, self.journals[0], StillClock())
        await provenance.check()
        return provenance

    async def work(self, commits: int) -> None:
        """So many commits, each of which the journal is told of."""
        for _ in range(commits):
            row = await self.store.read("client/bot/1")
            await self.store.swap("client/bot/1", expected=row.generation if row else 0, sealed=b"x")
        await self.journals[0].raise_commit(await self.store.changes())

    def set_back_to(self, earlier: MemoryStore) -> None:
        """Somebody put an older copy of the store in its place."""
        self.store = earlier


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A store that was started once, and is at home."""
    site = Site()
    await site.start()
    yield site
    for journal in site.journals:
        await journal.close()


async def test_a_store_at_home_is_not_doubted(site: Site) -> None:
    """However often it is opened, and however much was committed."""
    await site.work(5)

    assert Quarantine() == (await site.start()).quarantine
    assert Quarantine() == (await site.start()).quarantine


async def test_a_store_that_was_set_back_is_quarantined(site: Site) -> None:
    """Its commit number is below what the journal has seen; the reason says both numbers."""
    earlier = site.store.reopened()
    await site.work(5)
    commits = await site.store.changes()
    site.set_back_to(earlier)

    found = (await site.start()).quarantine

    assert (1, WHEN) == (found.epoch, found.since)
    assert f"memory was set back: it is at commit {commits - 5}, and the journal has seen {commits}" == found.reason


async def test_a_finding_is_made_once(site: Site) -> None:
    """The next start comes to no second one, so that what was adopted in between is not doubted again."""
    earlier = site.store.reopened()
    await site.work(5)
    site.set_back_to(earlier)
    first = (await site.start()).quarantine

    assert first == (await site.start()).quarantine
    assert 1 == (await site.start()).quarantine.epoch


async def test_another_finding_raises_the_epoch(site: Site) -> None:
    """What was adopted after the first one is doubted again after the second."""
    for epoch in (1, 2):
        earlier = site.store.reopened()
        await site.work(3)
        site.set_back_to(earlier)
        assert epoch == (await site.start()).quarantine.epoch


async def test_a_copied_file_is_quarantined(site: Site) -> None:
    """A store has another place than the one that it was left in."""
    site.store.place = "inode 4711"

    found = (await site.start()).quarantine

    reason = "the store was moved or copied: it is a copy of the file or database that it was made in"
    assert (1, reason) == (found.epoch, found.reason)
    assert found == (await site.start()).quarantine


async def test_a_store_without_its_journal_is_quarantined(site: Site) -> None:
    """A new journal knows nothing of tokens that were spent elsewhere."""
    site.disk = MemoryDisk()

    found = (await site.start()).quarantine

    reason = "the store was moved or copied: it came here without its custody journal, or with another one"
    assert (1, reason) == (found.epoch, found.reason)


async def test_servers_that_share_a_store_have_journals_of_their_own() -> None:
    """That is no copy; another database is."""
    site = Site(MemoryStore(shared=True))
    await site.start()
    site.disk = MemoryDisk()

    assert Quarantine() == (await site.start()).quarantine
    site.store.place = "another database"
    assert 1 == (await site.start()).quarantine.epoch
    await site.journals[0].close()


async def test_another_machine_is_told_from_ours(site: Site) -> None:
    """By what the record says of it; nothing is said where a machine has no id."""
    entry = await site.vault.get(RECORD)
    assert entry is not None
    place = entry.value["place"] | {"machine": "0123456789abcdef"}
    await site.vault.put(RECORD, expected=entry.generation, value=entry.value | {"place": place})

    found = (await site.start()).quarantine

    assert ("it was made on another machine" in found.reason) is bool(await asyncio.to_thread(machine))


async def test_a_peer_hears_of_a_finding(site: Site) -> None:
    """Reading the record again changes the one object that keepers look at."""
    provenance = await site.start()
    held = provenance.quarantine
    await quarantine(site.vault, "restored from a backup", WHEN)
    assert 0 == held.epoch

    await provenance.read_again()

    assert Quarantine(1, "restored from a backup", WHEN) == held


async def test_where_a_store_lives_outlasts_a_finding(site: Site) -> None:
    """A finding that says nothing of the place leaves it as it is."""
    await quarantine(site.vault, "restored from a backup", WHEN)

    assert 1 == (await site.start()).quarantine.epoch


async def test_a_store_that_fails_is_no_finding(site: Site) -> None:
    """Nothing is concluded from what can't be read."""
    provenance = await site.start()
    site.store.failure = StoreError("down")

    with pytest.raises(StoreError):
        await provenance.check()
    assert 0 == provenance.quarantine.epoch


async def test_a_kill_in_the_middle_comes_to_the_same_end(site: Site) -> None:
    """The finding is recorded before the journal is told; a journal that was not told finds it once more."""
    earlier = site.store.reopened()
    await site.work(5)
    site.set_back_to(earlier)
    site.disk.fail("pwrite", 5, times=99)
    with pytest.raises(Exception, match="cannot write the header"):
        await site.start()
    site.disk.heal()

    assert (await site.start()).quarantine.epoch >= 1
