"""Backups that come back and stores that move, with their journals, locks and keys."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Invocation
from proxy.cli.storemoves import back_up, cancel, copy, restore, stopped, there
from proxy.config import Config
from proxy.custody import Custody, journal_path, open_store
from proxy.settings import Settings
from proxy.store import COPYING, MOVING, Newer, OutOfUse, StoreError, WrongKey
from proxy.store.keys import Source
from proxy.tokens.journal import Intent

GRANT = {"lineage": "l", "token_hash": "", "issuer": "questrade/live"}
INTENT = Intent("family", 2, "l", "hash", 1, login=False, wall=0.0, boot_id="")


@pytest.fixture
def config(settings: Settings) -> Config:
    return settings.config


@asynccontextmanager
async def custody(invocation: Invocation, config: Config) -> AsyncIterator[Custody]:
    """Custody as a server has it."""
    found = await Custody.open(config, invocation.source(config))
    try:
        yield found
    finally:
        await found.close()


async def filled(invocation: Invocation, config: Config, records: int = 2) -> dict[str, int]:
    """A store with so many records beside its own; their names and generations."""
    async with custody(invocation, config) as found:
        for number in range(records):
            assert await found.vault.put(f"grant/g{number}", expected=0, value=GRANT)
        assert await found.vault.put("grant/g0", expected=1, value=GRANT)
        return await generations(found)


async def generations(found: Custody) -> dict[str, int]:
    """Every record but the store's own and the audit trail's."""
    rows = await found.store.read_all("")
    return {row.name: row.generation for row in rows if row.name != "custody" and not row.name.startswith("audit/")}


def lose(config: Config, *, journal: bool) -> None:
    """The store is gone, with its journal or without."""
    assert config.store_path is not None
    for path in [config.store_path, *([journal_path(config)] if journal else [])]:
        path.unlink()


@pytest.mark.parametrize("journal", [True, False], ids=["journal lost", "journal kept"])
async def test_what_was_backed_up_comes_back_quarantined(
    invocation: Invocation, config: Config, tmp_path: Path, journal: bool
) -> None:
    """With its generations; one finding, which says when the backup was made, and each start keeps to it."""
    before = await filled(invocation, config)
    done = await back_up(invocation, config, tmp_path / "file", replace=False)
    async with custody(invocation, config) as found:
        await found.journal.raise_commit(99)  # the store went on after the backup
    await asyncio.to_thread(lose, config, journal=journal)

    assert done == await restore(invocation, config, tmp_path / "file")
    for _ in range(2):
        async with custody(invocation, config) as found:
            assert before == await generations(found)
            assert done.header.store_id == found.store.store_id
            assert 1 == found.quarantine.epoch
            assert "brought back from a backup of" in found.quarantine.reason


async def test_what_a_journal_kept_is_newer_than_the_backup(
    invocation: Invocation, config: Config, tmp_path: Path
) -> None:
    """An answer that never reached the store is still there after a restore."""
    await filled(invocation, config)
    await back_up(invocation, config, tmp_path / "file", replace=False)
    async with custody(invocation, config) as found:
        slot = await found.journal.begin(INTENT)
        found.journal.keep(slot, 200, "application/json", b'{"refresh_token": "new"}')
        await found.journal.sync(slot)
    await asyncio.to_thread(lose, config, journal=False)
    await restore(invocation, config, tmp_path / "file")

    async with custody(invocation, config) as found:
        assert [b'{"refresh_token": "new"}'] == [item.answer.body for item in found.journal.found() if item.answer]


async def test_the_journal_of_another_store_must_go_first(
    invocation: Invocation, config: Config, tmp_path: Path
) -> None:
    """With the command that puts it aside; nothing is made."""
    await filled(invocation, config)
    await back_up(invocation, config, tmp_path / "file", replace=False)
    await asyncio.to_thread(lose, config, journal=True)
    await filled(invocation, config)
    await asyncio.to_thread(lose, config, journal=False)

    with pytest.raises(Stop, match="journal of another store") as caught:
        await restore(invocation, config, tmp_path / "file")
    path = journal_path(config)
    assert caught.value.fix == f"mv {path} {path}.aside"
    assert config.store_path is not None
    assert not await asyncio.to_thread(config.store_path.exists)


async def test_the_journal_of_a_newer_bearerd_stays(invocation: Invocation, config: Config, tmp_path: Path) -> None:
    """It may hold the only copy of a token: nobody is told to put it aside."""
    await filled(invocation, config)
    await back_up(invocation, config, tmp_path / "file", replace=False)
    await asyncio.to_thread(lose, config, journal=False)
    path = journal_path(config)
    data = await asyncio.to_thread(path.read_bytes)
    await asyncio.to_thread(path.write_bytes, data.replace(b"BRDJRNL1", b"BRDJRNL2"))

    with pytest.raises(Newer, match="written by a newer bearerd") as caught:
        await restore(invocation, config, tmp_path / "file")
    assert " mv " not in f"{caught.value} {caught.value.fix}"


async def test_a_store_that_is_there_is_not_overwritten(invocation: Invocation, config: Config, tmp_path: Path) -> None:
    """The message says how to put it aside."""
    before = await filled(invocation, config)
    await back_up(invocation, config, tmp_path / "file", replace=False)

    with pytest.raises(Stop, match="is not empty; nothing was restored") as caught:
        await restore(invocation, config, tmp_path / "file")
    assert caught.value.fix is not None
    assert re.match(r"mkdir -m 700 .*before-restore && mv .*store\.db\* ", caught.value.fix)
    async with custody(invocation, config) as found:
        assert before == await generations(found)
        assert not found.quarantine.epoch


async def test_the_wrong_key_makes_nothing(invocation: Invocation, config: Config, tmp_path: Path) -> None:
    """It is named which key the backup needs."""
    await filled(invocation, config)
    done = await back_up(invocation, config, tmp_path / "file", replace=False)
    await asyncio.to_thread(lose, config, journal=True)
    await asyncio.to_thread(Source("file:other.key", config.base).create)

    with pytest.raises(WrongKey, match=f"needs the master key {done.header.key_id}"):
        await restore(invocation, config.model_copy(update={"key": "file:other.key"}), tmp_path / "file")
    assert config.store_path is not None
    assert not await asyncio.to_thread(config.store_path.exists)


@pytest.mark.parametrize("what", ["restore", "copy", "cancel"])
async def test_a_server_that_runs_is_named(invocation: Invocation, config: Config, tmp_path: Path, what: str) -> None:
    """Nothing is changed under it (5); a backup it does not mind."""
    await filled(invocation, config)
    async with custody(invocation, config):
        await back_up(invocation, config, tmp_path / "file", replace=False)
        todo: Mapping[str, Callable[[], Awaitable[object]]] = {
            "restore": lambda: restore(invocation, config, tmp_path / "file"),
            "copy": lambda: copy(invocation, config, f"sqlite:{tmp_path}/new/store.db", None),
            "cancel": lambda: cancel(invocation, config),
        }
        with pytest.raises(Stop, match="the store is in use by process") as caught:
            await todo[what]()
        assert Exit.STORE == caught.value.code


async def test_a_moved_store_is_served_elsewhere_and_not_here(
    invocation: Invocation, config: Config, tmp_path: Path
) -> None:
    """It is no copy there: nothing is quarantined. Here nobody can open it any more."""
    before = await filled(invocation, config)
    to = f"sqlite:{tmp_path}/new/store.db"
    done = await copy(invocation, config, to, None)

    assert len(before) + 1 == done.rows
    async with custody(invocation, config.model_copy(update={"store": to})) as found:
        assert before == await generations(found)
        assert 0 == found.quarantine.epoch
        assert done.store_id == found.store.store_id
    with pytest.raises(OutOfUse, match=f"has moved to {to}"):
        async with custody(invocation, config):
            pass


async def test_a_half_copied_store_is_not_served(invocation: Invocation, config: Config, tmp_path: Path) -> None:
    """Neither end is; cancelled, the old one is served again, as if nothing had been."""
    before = await filled(invocation, config)
    to = f"sqlite:{tmp_path}/new/store.db"
    target = config.model_copy(update={"store": to})
    async with there(config) as source:
        store = await open_store(target)
        assert await source.turn("", MOVING + to)
        assert await store.fill(store_id=source.store_id, key_id=str(source.key_id), commits=1, state=COPYING)
        await store.close()

    for half, words in ((config, "is being moved to"), (target, "a copy into")):
        with pytest.raises(OutOfUse, match=words):
            async with custody(invocation, half):
                pass
    assert await cancel(invocation, config)
    async with custody(invocation, config) as found:
        assert before == await generations(found)
        assert not found.quarantine.epoch


async def test_an_answer_that_is_outstanding_comes_first(
    invocation: Invocation, config: Config, tmp_path: Path
) -> None:
    """It would be left behind: bearerd must take it over before the store moves."""
    await filled(invocation, config)
    async with custody(invocation, config) as found:
        slot = await found.journal.begin(INTENT)
        found.journal.keep(slot, 200, "application/json", b"{}")
        await found.journal.sync(slot)

    with pytest.raises(Stop, match="an answer that is not in the store yet") as caught:
        await copy(invocation, config, f"sqlite:{tmp_path}/new/store.db", None)
    assert "start bearerd once" in str(caught.value.fix)
    assert not await asyncio.to_thread((tmp_path / "new").exists)


async def test_a_store_does_not_move_to_itself(invocation: Invocation, config: Config) -> None:
    """Neither under its own name nor under another one."""
    before = await filled(invocation, config)
    with pytest.raises(Stop, match="is where the store is already"):
        await copy(invocation, config, config.store, None)
    path = config.store_path
    assert path is not None
    with pytest.raises(StoreError, match="is not empty"):
        await copy(invocation, config, f"sqlite:{path.parent}/../{path.parent.name}/{path.name}", None)
    async with custody(invocation, config) as found:
        assert before == await generations(found)


@pytest.mark.parametrize("what", ["back up", "copy"])
async def test_no_store_is_made_by_mistake(invocation: Invocation, config: Config, tmp_path: Path, what: str) -> None:
    """What is not there can neither be backed up nor moved, and stays missing."""
    todo: Mapping[str, Callable[[], Awaitable[object]]] = {
        "back up": lambda: back_up(invocation, config, tmp_path / "file", replace=False),
        "copy": lambda: copy(invocation, config, f"sqlite:{tmp_path}/new/store.db", None),
    }
    with pytest.raises(Stop, match="there is no store at"):
        await todo[what]()
    assert config.store_path is not None
    assert not await asyncio.to_thread(config.store_path.exists)


async def test_the_lock_is_given_back(invocation: Invocation, config: Config) -> None:
    """After the block, with and without a journal."""
    await filled(invocation, config)
    for _ in range(2):
        async with stopped(journal_path(config)) as journal:
            assert journal is None
    async with custody(invocation, config):
        pass


async def test_into_a_database_and_back(invocation: Invocation, config: Config, tmp_path: Path, database: str) -> None:
    """Generations and commit number stay, and a backup of the database comes back, into a new one too."""
    before = await filled(invocation, config, 20)
    shared = config.model_copy(update={"store": database, "state": config.state_dir})
    moved = await copy(invocation, config, database, None)
    async with custody(invocation, shared) as found:
        assert found.store.shared
        assert before == await generations(found)
        assert 0 == found.quarantine.epoch
    back = f"sqlite:{tmp_path}/new/store.db"
    saved = await back_up(invocation, shared, tmp_path / "file", replace=False)
    again = await copy(invocation, shared, back, None)

    assert (moved.store_id, moved.rows) == (again.store_id, again.rows) == (saved.header.store_id, saved.rows)
    with pytest.raises(OutOfUse, match="has moved to sqlite"):
        async with custody(invocation, shared):
            pass
    async with custody(invocation, config.model_copy(update={"store": back})) as found:
        assert before == await generations(found)
        assert 0 == found.quarantine.epoch


async def test_a_backup_goes_into_an_empty_database(
    invocation: Invocation, config: Config, tmp_path: Path, database: str
) -> None:
    """And not into one that has something in it."""
    before = await filled(invocation, config)
    await back_up(invocation, config, tmp_path / "file", replace=False)
    shared = config.model_copy(update={"store": database, "state": tmp_path / "state"})
    await restore(invocation, shared, tmp_path / "file")

    async with custody(invocation, shared) as found:
        assert before == await generations(found)
        assert 1 == found.quarantine.epoch
    with pytest.raises(Stop, match="is not empty"):
        await restore(invocation, shared, tmp_path / "file")
