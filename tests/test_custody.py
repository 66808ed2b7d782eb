"""The state directory: opened as a whole or not at all, by one process at a time."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.config import Config
from proxy.config import load as load_config
from proxy.custody import Custody, journal_path, socket_path
from proxy.secret import Secret
from proxy.store import Damaged, Held, KeyUnavailable, Lease, StoreError, StoreLocked, UnsafeFile, WrongKey
from proxy.store.disk import MemoryDisk
from proxy.store.keys import Source
from proxy.store.rekey import rekey
from proxy.tokens.book import Book
from proxy.tokens.grant import Grant
from proxy.tokens.journal import Intent, JournalError
from tests.database import GUARDED, USER, Server

GRANT = Grant("questrade", 1, "login-1", "questrade/live", Secret("canary-refresh"), Secret("canary-access"))
INTENT = Intent("questrade", 1, "login-1", GRANT.token_hash, 1, False, 1.0, "")


@dataclass
class Place:
    """A state directory, and the key to it."""

    directory: Path
    config: Config

    def source(self, name: str = "key") -> Source:
        return Source(f"file:{self.directory / name}", self.directory, self.directory)

    async def open(self) -> Custody:
        return await Custody.open(self.config, self.source())


@pytest.fixture
def place(state_dir: Path) -> Place:
    file = state_dir / "config.yaml"
    file.write_text(
        "version: 1\n"
        f"store: sqlite:{state_dir}/store.db\n"
        f"key: file:{state_dir}/key\n"
        "clients: none\n"
        "mounts: {questrade: {broker: questrade, environment: live, scopes: [read_acc]}}\n"
    )
    loaded = load_config(file, {})
    assert loaded.config is not None, loaded.problems
    place = Place(state_dir, loaded.config)
    for name in ("key", "other"):
        place.source(name).create()
    return place


async def fill(custody: Custody) -> None:
    """A grant in the store, and an answer in the journal."""
    await Book("questrade", custody.vault).write(GRANT)
    slot = await custody.journal.begin(INTENT)
    custody.journal.keep(slot, 200, "application/json", b'{"refresh_token": "canary-next"}')
    await custody.journal.sync(slot)


async def test_without_a_key_nothing_is_made(place: Place) -> None:
    """A first start that finds no key leaves no store behind, which no later key would fit."""
    place.source().place.unlink()  # type: ignore[union-attr]

    with pytest.raises(KeyUnavailable):
        await place.open()
    assert not (place.directory / "store.db").exists()


async def test_what_was_kept_is_there_when_it_is_opened_again(place: Place) -> None:
    """Store and journal, under one key; nothing in the directory shows a token."""
    custody = await place.open()
    await fill(custody)
    await custody.close()
    again = await place.open()

    assert GRANT == await Book("questrade", again.vault).read()
    assert [INTENT] == [item.intent for item in again.journal.found()]
    await again.close()
    assert [] == [file.name for file in place.directory.iterdir() if b"canary" in file.read_bytes()]


async def test_journal_and_socket_lie_beside_the_store(place: Place) -> None:
    """With the modes of secrets."""
    custody = await place.open()
    await custody.close()

    assert journal_path(place.config) == place.directory / "journal"
    assert socket_path(place.config) == place.directory / "admin.sock"
    assert {0o600} == {(place.directory / name).stat().st_mode & 0o777 for name in ("store.db", "journal")}


async def test_a_second_opening_is_refused_until_the_first_is_closed(place: Place) -> None:
    """F14; and a refused one leaves nothing open."""
    first = await place.open()
    with pytest.raises(StoreLocked) as caught:
        await place.open()
    assert None is not caught.value.holder_pid

    await first.close()
    await (await place.open()).close()


async def test_a_wrong_key_is_told_as_such_and_changes_nothing(place: Place) -> None:
    """Afterwards the right one opens."""
    custody = await place.open()
    await fill(custody)
    await custody.close()
    with pytest.raises(WrongKey):
        await Custody.open(place.config, place.source("other"))

    again = await place.open()
    assert 1 == again.journal.answered
    await again.close()


async def test_a_damaged_journal_is_never_replaced_by_an_empty_one(place: Place) -> None:
    """A person must look; the file stays as it is."""
    await (await place.open()).close()
    path = journal_path(place.config)
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(Damaged):
        await place.open()

    assert {0} == set(path.read_bytes())


async def test_a_journal_that_others_can_read_is_refused(place: Place) -> None:
    """With the command that puts it right."""
    await (await place.open()).close()
    journal_path(place.config).chmod(0o644)
    with pytest.raises(UnsafeFile, match="chmod 600"):
        await place.open()


async def test_a_disk_that_takes_no_journal_closes_the_store_again(place: Place) -> None:
    """The error names the file, and the next try finds nothing locked."""
    disk = MemoryDisk()
    disk.fail("create", 28)
    with pytest.raises(JournalError, match="journal"):
        await Custody.open(place.config, place.source(), files=disk)

    await (await place.open()).close()


async def test_a_change_of_keys_that_was_cut_off_is_finished_at_the_next_opening(place: Place) -> None:
    """The store is under the new key already, the journal still under the old one."""

    class CutOff:
        answered = 0

        async def reseal(self, _sealer: object) -> None:
            raise StoreError("killed here")

    custody = await place.open()
    await Book("questrade", custody.vault).write(GRANT)
    await custody.journal.begin(INTENT)
    with pytest.raises(StoreError, match="killed here"):
        await rekey(custody.store, place.source(), place.source(), CutOff())
    await custody.close()

    again = await place.open()

    assert GRANT == await Book("questrade", again.vault).read()
    assert [INTENT] == [item.intent for item in again.journal.found()]
    await again.close()
    assert not (place.directory / "key.new").exists()


@pytest.fixture
def team(place: Place, database: str) -> Place:
    """A server whose store is a database."""
    return at_database(place, database, "own")


def at_database(place: Place, database: str, state: str) -> Place:
    text = (place.directory / "config.yaml").read_text()
    file = place.directory / f"{state}.yaml"
    file.write_text(text.replace(f"sqlite:{place.directory}/store.db", database) + f"state: {state}\n")
    return Place(place.directory, load_config(file, {}).require())


async def test_servers_with_a_database_have_a_state_directory_each(team: Place, database: str) -> None:
    """What one commits, the other reads; each has its own journal; neither is taken for a copy."""
    first = await team.open()
    await fill(first)
    second = await (await asyncio.to_thread(at_database, team, database, "second")).open()

    assert GRANT == await Book("questrade", second.vault).read()
    assert (1, 0) == (first.journal.answered, second.journal.answered)
    assert (0, 0) == (first.quarantine.epoch, second.quarantine.epoch)
    assert {0o700} == {(team.directory / name).stat().st_mode & 0o777 for name in ("own", "second")}
    await second.close()
    await first.close()


async def test_who_starts_again_gives_back_what_it_died_with(team: Place, database: str) -> None:
    """A lease of a process that was killed keeps others waiting only until that server is back."""
    first = await team.open()
    second = await (await asyncio.to_thread(at_database, team, database, "second")).open()
    assert isinstance(await first.store.lease("grant/questrade", first.journal.holder, 60), Lease)
    assert isinstance(await second.store.lease("grant/questrade", second.journal.holder, 60), Held)
    await first.close()  # a kill leaves no more behind
    assert isinstance(await second.store.lease("grant/questrade", second.journal.holder, 60), Held)

    first = await team.open()
    assert isinstance(await second.store.lease("grant/questrade", second.journal.holder, 60), Lease)
    await second.close()
    await first.close()


async def test_a_state_directory_is_one_servers_with_a_database_too(team: Place) -> None:
    """F14: the second is told who holds it."""
    first = await team.open()
    with pytest.raises(StoreLocked) as caught:
        await team.open()
    assert None is not caught.value.holder_pid
    await first.close()


async def test_a_copied_database_is_quarantined(team: Place, database: str, postgres: Server) -> None:
    """Made from the other as its template, it holds the same store under another number."""
    await (await team.open()).close()
    copy = await asyncio.to_thread(postgres.create)
    name = copy.rpartition("/")[2]
    await asyncio.to_thread(postgres.query, f"DROP DATABASE {name}")
    await asyncio.to_thread(
        postgres.query, f"CREATE DATABASE {name} TEMPLATE {database.rpartition('/')[2]} OWNER {USER}"
    )

    custody = await (await asyncio.to_thread(at_database, team, copy, "own")).open()

    assert 1 == custody.quarantine.epoch
    assert "it is a copy of the file or database" in custody.quarantine.reason
    await custody.close()


async def test_a_password_file_is_read(place: Place, postgres: Server) -> None:
    """As the setting names it; a wrong password is told without it, and so is a file that cannot be read."""
    file = place.directory / "db.password"
    file.write_text("canary-password\n")
    file.chmod(0o600)
    dsn = postgres.dsn("postgres", user=GUARDED)
    setting = f"{dsn}\nstore_password_file: {file}"
    team = await asyncio.to_thread(at_database, place, setting, "own")
    with pytest.raises(StoreError, match="password") as caught:
        await team.open()
    assert "canary" not in str(caught.value)

    file.unlink()
    with pytest.raises(StoreError, match=r"_password_file .*db\.password cannot be read \(No such file"):
        await team.open()
