"""What bearerd writes and speaks has versions: older files are taken over, newer ones refused and left as they are.

`tests/formats/` holds state directories that earlier programs have written themselves (see `make.py` there). Newer ones
there are none yet: they are made by raising a number, or by a field more.
"""

import asyncio
import contextlib
import re
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy import admin
from proxy.audit import trailfile
from proxy.cli.exits import Exit, explain
from proxy.cli.invocation import Invocation
from proxy.cli.storefacts import MIGRATE, facts, migrated
from proxy.clientkeys import ClientKeys
from proxy.clock import SystemClock
from proxy.config import load
from proxy.config.load import VERSION
from proxy.custody import Custody
from proxy.halts import _FORMAT as HALTS
from proxy.halts import Halts
from proxy.settings import read
from proxy.store import Newer, StoreLocked, backup, keys, migrations, sealing, sqliteschema
from proxy.store.backup import Backup, back_up
from proxy.store.files import SYSTEM_FILES
from proxy.store.keys import Source
from proxy.store.sealing import Sealer
from proxy.store.sqlite import SQLiteStore
from proxy.store.vault import Vault
from proxy.tokens import regions
from proxy.tokens.book import Book
from proxy.tokens.grant import token_hash
from proxy.workers import link
from tests.formats import make

ROOT = Path(__file__).resolve().parent.parent
FORMATS = ROOT / "tests/formats"
LEFT = ["schema-1", "schema-2"]
Change = Callable[[Path], None]


def unpacked(name: str, home: Path) -> Path:
    """`home`, with what an earlier program left."""
    with tarfile.open(FORMATS / f"{name}.tar.gz") as archive:
        archive.extractall(home, filter="data")
    for path in home.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return home


async def opened(home: Path) -> Custody:
    config = (await asyncio.to_thread(load, home / "config.yaml", {"HOME": str(home)})).require()
    return await Custody.open(config, Source(config.key, home, config.state_dir))


def contents(home: Path) -> dict[str, bytes]:
    """Every file, but for the lock, in which the process stands."""
    files = (path for path in home.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in files}


def rows(path: Path) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT name, generation, sealed, previous FROM records ORDER BY name").fetchall()


# -- older ones -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEFT)
async def test_what_an_earlier_program_left_is_taken_over(name: str, state_dir: Path) -> None:
    """Grant, client key and the answer that its server did not live to commit: by the program that reads this."""
    home = unpacked(name, state_dir)
    custody = await opened(home)
    try:
        grant = await Book("questrade", custody.vault).read()
        clients = ClientKeys(custody.vault, SystemClock())
        unreadable = await clients.load()
        (found,) = custody.journal.found()
        about = await custody.store.about()  # type: ignore[attr-defined]
        await custody.trail.open()
    finally:
        await custody.close()

    assert make.GRANT.refresh_token is not None
    assert make.GRANT == grant
    assert ([], {"notebook": (1, 0)}) == (unreadable, clients.counts())
    assert found.answer is not None
    assert (make.ANSWER, token_hash(make.GRANT.refresh_token)) == (found.answer.body, found.intent.token_hash)
    assert sqliteschema.SCHEMA == about.schema


async def test_a_store_that_is_brought_up_to_date_leaves_a_copy_for_the_way_back(state_dir: Path) -> None:
    """The copy holds what the old program wrote, row by row: in its place, the old program goes on."""
    home = unpacked("schema-1", state_dir)
    before = rows(home / "state/store.db")
    await (await opened(home)).close()

    copy = home / "state/store.db.v1"
    assert before == await asyncio.to_thread(rows, copy)
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        assert [(1,)] == connection.execute("SELECT schema FROM meta").fetchall()
    assert 0o600 == copy.stat().st_mode & 0o777


async def test_an_older_store_is_left_alone_as_long_as_its_server_runs(state_dir: Path) -> None:
    """A look changes nothing, and says what is to be done; neither a second server nor a command gets at the tables."""
    home = unpacked("schema-1", state_dir)
    config = (await asyncio.to_thread(load, home / "config.yaml", {"HOME": str(home)})).require()
    lock = await asyncio.to_thread(SYSTEM_FILES.lock, home / "state/journal.lock")
    try:
        before = contents(home)
        found = await facts(Invocation(), config)
        with pytest.raises(StoreLocked, match="in use by process"):
            await opened(home)
        with pytest.raises(StoreLocked, match="in use by process"):
            await migrated(config)
        assert before == {name: data for name, data in contents(home).items() if not name.endswith(("-shm", "-wal"))}
    finally:
        SYSTEM_FILES.close(lock)

    assert [("migrations are pending: schema 2", MIGRATE)] == found["problems"]
    assert ["schema 2"] == await migrated(config)
    assert [] == await migrated(config)


# -- newer ones -------------------------------------------------------------------------------------------------------


def newer_store(home: Path) -> None:
    with contextlib.closing(sqlite3.connect(home / "state/store.db")) as connection, connection:
        connection.execute("ALTER TABLE meta ADD COLUMN more TEXT")
        connection.execute("UPDATE meta SET schema = 3")


def newer_journal(home: Path) -> None:
    path = home / "state/journal"
    path.write_bytes(path.read_bytes().replace(b"BRDJRNL1", b"BRDJRNL2"))


def half_newer_journal(home: Path) -> None:
    """A newer program was killed when it had written its first header, and the answer beside it is in its form."""
    path = home / "state/journal"
    path.write_bytes(path.read_bytes().replace(b"BRDJRNL1", b"BRDJRNL2", 1))


def newer_intent(home: Path) -> None:
    """Sealed in a form that this program does not know: it may be of a token that was spent."""
    path, data = home / "state/journal", bytearray((home / "state/journal").read_bytes())
    data[16384] = 2
    path.write_bytes(data)


def newer_slot(home: Path) -> None:
    """An intent that says more than this program knows."""
    path, data = home / "state/journal", bytearray((home / "state/journal").read_bytes())
    with contextlib.closing(sqlite3.connect(home / "state/store.db")) as connection:
        ((store_id,),) = connection.execute("SELECT store_id FROM meta").fetchall()
    sealer = Sealer(Source("file:master.key", home).load(), store_id)
    use, value = regions.unseal_intent(sealer, 0, bytes(data[16384 : 16384 + regions.INTENT])) or (0, {})
    data[16384 : 16384 + regions.INTENT] = regions.seal_intent(sealer, 0, use, value | {"more": 1})
    path.write_bytes(data)


def newer_record(home: Path) -> None:
    """The record about the store itself, which is read first."""
    with contextlib.closing(sqlite3.connect(home / "state/store.db")) as connection, connection:
        ((sealed,),) = connection.execute("SELECT sealed FROM records WHERE name = 'custody'").fetchall()
        connection.execute("UPDATE records SET sealed = ? WHERE name = 'custody'", (b"\x02" + sealed[1:],))


def newer_trail(home: Path) -> None:
    (path,) = (home / "state/audit").rglob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"kind":"opened"', b'"kind":"opened","format":2', 1))


async def started(home: Path) -> None:
    """A start, up to the trail."""
    custody = await opened(home)
    try:
        await custody.trail.open()
    finally:
        await custody.close()


NEWER: dict[str, tuple[Change, str]] = {
    "store": (newer_store, r"store\.db was written by a newer bearerd \(schema 3; this one knows 2\)"),
    "journal": (newer_journal, r"journal was written by a newer bearerd \(format 2; this one knows 1\)"),
    "half a journal": (half_newer_journal, r"journal was written by a newer bearerd \(format 2; this one knows 1\)"),
    "intent": (
        newer_intent,
        r"journal: record 'intent/0' was sealed by a newer bearerd \(format 2; this one knows 1\)",
    ),
    "slot": (newer_slot, r"journal was written by a newer bearerd: a slot says more than this one knows"),
    "record": (newer_record, r"record 'custody' was sealed by a newer bearerd \(format 2; this one knows 1\)"),
    "trail": (newer_trail, r"\.jsonl was written by a newer bearerd \(format 2; this one knows 1\)"),
}


@pytest.mark.parametrize("what", NEWER)
async def test_what_a_newer_program_wrote_is_refused_and_left_alone(what: str, state_dir: Path) -> None:
    """The message names the file and both formats, says what helps, and not a byte is other than before."""
    change, message = NEWER[what]
    home = unpacked("schema-2", state_dir)
    await asyncio.to_thread(change, home)
    before = contents(home)

    with pytest.raises(Newer, match=message) as caught:
        await started(home)

    code, text, fix = explain(caught.value)
    assert (Exit.FAILURE, str(home)) == (code, re.findall(re.escape(str(home)), text)[0])
    assert "use the bearerd that wrote it; how to go back to an older one: docs/upgrading.md" == fix
    after = contents(home)
    looked = [name for name in before if what != "trail" or "audit" in name]  # the store was opened on the way there
    assert [] == [name for name in looked if not name.endswith(("-shm", "-wal")) and after[name] != before[name]]


async def test_a_newer_backup_is_refused(tmp_path: Path) -> None:
    """By its first line; so is none that is no number."""
    store = await SQLiteStore.open(tmp_path / "state/store.db")
    sealer = Sealer(bytes(32), store.store_id)
    await back_up(store, sealer, tmp_path / "b", 1.0)
    await store.close()
    data = (tmp_path / "b").read_bytes()
    (tmp_path / "b").write_bytes(data.replace(b'"bearerd-backup": 1', b'"bearerd-backup": 2'))

    with pytest.raises(Newer, match=r"b was written by a newer bearerd \(format 2; this one knows 1\)"):
        await asyncio.to_thread(Backup, tmp_path / "b")


def test_newer_parameters_of_a_passphrase_are_refused(state_dir: Path) -> None:
    """What they ask for is not known; the file stays."""
    path = state_dir / "passphrase.json"
    path.touch(0o600)
    path.write_text('{"version": 2, "kdf": "balloon"}')

    with pytest.raises(Newer, match=r"passphrase\.json was written by a newer bearerd \(format 2; this one knows 1\)"):
        Source("passphrase", state_dir, state_dir, {"BEARERD_PASSPHRASE": "x"}).load()
    assert '{"version": 2, "kdf": "balloon"}' == path.read_text()


async def with_field(home: Path, name: str, value: dict[str, object] | None = None) -> Vault:
    """A vault in which the record `name` says one thing more."""
    store = await SQLiteStore.open(home / "state/store.db")
    vault = Vault(store, Sealer(bytes(32), store.store_id))
    await vault.put(name, expected=0, value={**(value or make.GRANT.to_record()), "more": 1})
    return vault


async def test_a_grant_that_says_more_is_not_used_and_not_written_over(tmp_path: Path) -> None:
    """The next generation would lack what this program does not know."""
    vault = await with_field(tmp_path, "grant/questrade")

    with pytest.raises(Newer, match="grant questrade was written by a newer bearerd: this one does not know its more"):
        await Book("questrade", vault).read()
    await vault.store.close()


async def test_a_client_key_that_says_more_does_not_count(tmp_path: Path) -> None:
    """It may be a limit."""
    value = {"client": "bot", "created": 1.0, "digest": "d"}
    vault = await with_field(tmp_path, "client/bot/1", value)
    clients = ClientKeys(vault, SystemClock())

    assert ["client/bot/1"] == await clients.load()
    assert {} == clients.digests
    await vault.store.close()


async def test_halts_of_a_newer_form_halt_everything(tmp_path: Path) -> None:
    """What they say is not known, so that no order passes; the message names both forms."""
    vault = await with_field(tmp_path, "halts", {"format": 2, "halts": []})
    halts = Halts(vault, SystemClock())

    await halts.load()

    assert "record 'halts' makes no sense: a newer bearerd has written it (format 2; this one knows 1)" in halts.fault
    await vault.store.close()


def test_a_newer_configuration_has_one_problem(tmp_path: Path) -> None:
    """What else is new in it would only be called wrong; a running server can still be asked, to halt say."""
    path = tmp_path / "config.yaml"
    path.write_text("version: 2\nlisten: 127.0.0.1:8080\nmounts: {new: {shape: [1]}}\nfresh: {key: 1}\n")
    found = load(path, {"HOME": str(tmp_path)})

    (problem,) = found.problems
    assert re.fullmatch(r".*config\.yaml:1:10: error: version: is 2, and bearerd \S+ reads 1: .*", str(problem))
    assert "docs/upgrading.md" in str(problem)
    assert (None, True) == (found.config, found.draft is not None)
    with pytest.raises(Exception, match="is 2, and bearerd") as caught:
        read(path, {"HOME": str(tmp_path)})
    assert 1 == len(str(caught.value).splitlines())


# -- what is written about it -----------------------------------------------------------------------------------------


def test_the_documents_table_is_true() -> None:
    """docs/upgrading.md names every format with its number."""
    text = (ROOT / "docs/upgrading.md").read_text("utf-8")
    found = re.findall(r"^\| \*\*(.+?)\*\* \|[^|]*\| (\d+) \|", text, re.MULTILINE)
    told = {name: int(number) for name, number in found}

    assert {
        "configuration": VERSION,
        "SQLite store": sqliteschema.SCHEMA,
        "PostgreSQL store": migrations.schema(),
        "sealed record": sealing.FORMAT,
        "halts": HALTS,
        "custody journal": regions.FORMAT,
        "audit trail": trailfile.FORMAT,
        "backup": backup.FORMAT,
        "passphrase": keys._PARAMETERS,
        "told alerts": 1,
        "admin socket": admin.PROTOCOL,
        "link between processes": link.VERSION,
        "`--json`": 1,
    } == told
