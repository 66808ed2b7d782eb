"""What `bearerd store status` knows."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Invocation
from proxy.cli.output import Style
from proxy.cli.storefacts import MIGRATE, exit_code, facts, migrated, render
from proxy.cli.storemoves import stopped
from proxy.config import Config
from proxy.custody import Custody, journal_path, open_store
from proxy.provenance import quarantine
from proxy.settings import Settings
from proxy.store import MOVED
from proxy.store.keys import Source
from proxy.tokens.journal import Intent
from tests.database import Server

INTENT = Intent("family", 2, "l", "hash", 1, login=False, wall=0.0, boot_id="")


@pytest.fixture
def config(settings: Settings) -> Config:
    return settings.config


@asynccontextmanager
async def served(invocation: Invocation, config: Config) -> AsyncIterator[Custody]:
    """Custody as a server has it, with one grant."""
    custody = await Custody.open(config, invocation.source(config))
    try:
        if await custody.store.read("grant/family") is None:
            await custody.vault.put("grant/family", expected=0, value={"lineage": "l", "refresh_token": None})
        yield custody
    finally:
        await custody.close()


async def text(invocation: Invocation, config: Config) -> str:
    """The facts as a person sees them."""
    return "\n".join(render(await facts(invocation, config), Style(colored=False)))


async def test_a_store_in_use_and_at_rest(invocation: Invocation, config: Config) -> None:
    """Kind, place, version, key, records, commit, quarantine, journal and lock: beside a server, and without one."""
    async with served(invocation, config) as custody:
        slot = await custody.journal.begin(INTENT)
        await custody.journal.begin(INTENT)
        custody.journal.keep(slot, 200, "application/json", b"{}")
        await custody.journal.raise_commit(await custody.store.changes())
        beside = await facts(invocation, config)
        pid = beside["lock"]["pid"]
        assert f"lock: process {pid}" in await text(invocation, config)
    after = await facts(invocation, config)

    assert beside["lock"]["held"]
    assert {"held": False, "pid": None} == after["lock"]
    assert beside | {"lock": after["lock"]} == after
    assert ("sqlite", config.store, "") == (after["kind"], after["location"], after["state"])
    assert {"custody": 1, "grant": 1} == after["rows"]
    assert {"epoch": 0, "reason": "", "since": 0.0, "grants": 0} == after["quarantine"]
    journal = after["journal"]
    assert (2, 1, after["commits"]) == (journal["in_use"], journal["answers"], journal["commit"])
    assert [] == after["problems"]
    assert Exit.OK == exit_code(after)
    shown = await text(invocation, config)
    assert "2 of 64 slots in use, 1 answers outstanding" in shown
    assert "lock: free" in shown
    assert "never found to be a copy" in shown


async def test_a_lock_that_a_dead_process_left_is_free(invocation: Invocation, config: Config) -> None:
    """And nobody takes it to find that out: a server might start at this moment. A process of that number may not."""
    async with served(invocation, config):
        pass
    lock = journal_path(config).with_name("journal.lock")
    for left in (b"999999999\n", b"", b"%d\n" % os.getpid()):
        await asyncio.to_thread(lock.write_bytes, left)
        assert {"held": False, "pid": None} == (await facts(invocation, config))["lock"]
    await asyncio.to_thread(lock.unlink)
    assert {"held": False, "pid": None} == (await facts(invocation, config))["lock"]


async def test_a_quarantine_is_told_with_what_helps(invocation: Invocation, config: Config) -> None:
    """Its number, its reason and the two commands."""
    async with served(invocation, config) as custody:
        await quarantine(custody.vault, "it was set back", 1_790_000_000.0)

    shown = await text(invocation, config)
    assert "no grant is quarantined any more; last finding" in shown
    assert "(epoch 1): it was set back" in shown

    async with served(invocation, config) as custody:
        held = {"lineage": "l", "refresh_token": "r", "epoch": 0}
        await custody.vault.put("grant/family", expected=1, value=held)
    found = await facts(invocation, config)
    assert 1 == found["quarantine"]["grants"]
    shown = "\n".join(render(found, Style(colored=False)))
    assert "1 grant quarantined since " in shown
    assert "(epoch 1): it was set back. To fix: bearerd login MOUNT, or bearerd adopt --all" in shown


async def test_another_key_is_a_problem_and_what_needs_none_is_shown(invocation: Invocation, config: Config) -> None:
    """5; records and commit number are in clear."""
    async with served(invocation, config):
        pass
    await asyncio.to_thread(Source("file:other.key", config.base).create)
    found = await facts(invocation, config.model_copy(update={"key": "file:other.key"}))

    assert (False, {"custody": 1, "grant": 1}) == (found["key_fits"], found["rows"])
    assert "quarantine" not in found
    assert Exit.STORE == exit_code(found)
    assert "the key at hand is another one" in "\n".join(render(found, Style(colored=False)))


async def test_a_key_that_is_missing(invocation: Invocation, config: Config) -> None:
    """1: nobody knows whether it fits."""
    async with served(invocation, config):
        pass
    found = await facts(invocation, config.model_copy(update={"key": "file:none.key"}))

    assert found["key_fits"] is None
    assert Exit.FAILURE == exit_code(found)


async def test_a_store_out_of_use(invocation: Invocation, config: Config) -> None:
    """1, with what to do."""
    async with served(invocation, config):
        pass
    store = await open_store(config)
    assert await store.turn("", MOVED + "sqlite:/new/store.db")
    await store.close()

    found = await facts(invocation, config)
    assert Exit.FAILURE == exit_code(found)
    assert "To fix: set `store: sqlite:/new/store.db`" in "\n".join(render(found, Style(colored=False)))


async def test_no_store_is_made(invocation: Invocation, config: Config) -> None:
    """A question about what is not there makes nothing."""
    with pytest.raises(Stop, match="there is no store at"):
        await facts(invocation, config)
    assert config.store_path is not None
    assert not await asyncio.to_thread(config.store_path.exists)


async def test_a_damaged_journal_is_a_problem(invocation: Invocation, config: Config) -> None:
    """The store's own facts are there all the same."""
    async with served(invocation, config):
        pass
    await asyncio.to_thread(journal_path(config).write_bytes, bytes(16384))
    found = await facts(invocation, config)

    assert "journal" not in found
    assert [str(journal_path(config))] == [problem.partition(":")[0] for problem, _ in found["problems"]]


async def test_a_database_before_and_after_its_tables(
    invocation: Invocation, config: Config, postgres: Server, tmp_path: Path
) -> None:
    """What is pending is named with the command; after that the same facts as of a file."""
    address = await asyncio.to_thread(postgres.create)
    shared = config.model_copy(update={"store": address, "state": tmp_path / "state"})
    found = await facts(invocation, shared)
    assert ["0001_tables"] == found["pending"]
    assert MIGRATE in "\n".join(render(found, Style(colored=False)))
    assert Exit.FAILURE == exit_code(found)

    assert ["0001_tables"] == await migrated(shared)
    assert [] == await migrated(shared)
    assert "holds nothing yet. To fix: bearerd init" in await text(invocation, shared)
    async with served(invocation, shared):
        pass
    found = await facts(invocation, shared)
    assert ("postgresql", [], {"custody": 1, "grant": 1}) == (found["kind"], found["pending"], found["rows"])
    assert Exit.OK == exit_code(found)


async def test_a_file_is_migrated_without_a_server_only(invocation: Invocation, config: Config) -> None:
    """It has its tables already, and a server that runs is named."""
    async with served(invocation, config):
        with pytest.raises(Stop, match="in use by process"):
            await migrated(config)
    assert [] == await migrated(config)
    async with stopped(journal_path(config)):
        with pytest.raises(Stop, match="in use by process"):
            await migrated(config)
